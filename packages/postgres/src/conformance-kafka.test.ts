import { conformance } from "@waybill/conformance";

conformance(new URL("./conformance-kafka.target.ts", import.meta.url), { only: "E0" });

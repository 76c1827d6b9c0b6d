import { conformance } from "@waybill/conformance";

conformance(new URL("./conformance-rabbitmq.target.ts", import.meta.url), { only: "E0" });

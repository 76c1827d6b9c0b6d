import { conformance } from "@waybill/conformance";

conformance(new URL("./conformance-memory.target.ts", import.meta.url), { only: "E0" });

import { conformance } from "@waybill/conformance";

conformance(new URL("./conformance.log.target.ts", import.meta.url));

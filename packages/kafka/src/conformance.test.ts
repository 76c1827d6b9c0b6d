import { conformance } from "@waybill/conformance";

conformance(new URL("./conformance.target.ts", import.meta.url));

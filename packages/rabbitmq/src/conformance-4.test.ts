import { conformance } from "@waybill/conformance";

conformance(new URL("./conformance-4.target.ts", import.meta.url));

import { conformance } from "@waybill/conformance";

conformance(new URL("./conformance-classic.target.ts", import.meta.url));

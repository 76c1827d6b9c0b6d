import { conformance } from "@waybill/conformance";

conformance(new URL("./conformance.push.target.ts", import.meta.url));

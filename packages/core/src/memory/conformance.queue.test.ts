import { conformance } from "@waybill/conformance";

conformance(new URL("./conformance.queue.target.ts", import.meta.url));

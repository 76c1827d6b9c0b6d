import { conformance } from "@waybill/conformance";

// Those with processes of their own hung once in four runs, not yet explained: `npm run conformance` runs them.
conformance(new URL("./conformance-classic.target.ts", import.meta.url), { together: false });

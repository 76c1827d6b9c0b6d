export { openTransport, schemes } from "./open.ts";

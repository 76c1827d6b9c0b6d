export { openTransport, schemes } from "./open.ts";
export { fileOf } from "./file.ts";

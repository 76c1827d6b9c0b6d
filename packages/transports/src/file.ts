import { filePath, parseAddress } from "./address.ts";

/** The path of the file that the transport of this URL is; undefined: it is no file. Throws `CONFIG`. */
export function fileOf(url: string): string | undefined {
  const address = parseAddress(url);
  return address.scheme === "embedded" ? filePath(address) : undefined;
}

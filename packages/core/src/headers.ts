import { WaybillError } from "./errors.ts";

/** Throws `NAME` unless it is a lower-case token that is not kept for Waybill. */
export function checkHeaderName(name: string): void {
  if (!/^[a-z0-9][a-z0-9_-]{0,127}$/.test(name))
    throw new WaybillError("NAME", "a header name: expected up to 128 of a-z, 0-9, '-' and '_'");
  if (name.startsWith("waybill-"))
    throw new WaybillError("NAME", `header "${name}": names that start with "waybill-" are kept for Waybill`);
}

/** Throws `NAME` unless it is one line of well-formed text. */
export function checkHeaderValue(name: string, value: unknown): asserts value is string {
  if (typeof value !== "string" || /[\r\n\0]/.test(value) || !value.isWellFormed()) {
    throw new WaybillError("NAME", `header "${name}": expected one line of text`);
  }
}

import { Buffer } from "node:buffer";
import type { z } from "zod";
import { NewOrder } from "./contracts.ts";

/** One line of the input: an order, or why it is none. Lines count from 1; empty ones are skipped. */
export type InputLine =
  | { readonly line: number; readonly ok: true; readonly order: NewOrder }
  | { readonly line: number; readonly ok: false; readonly reason: string };

const maxLineBytes = 16_384;
const newline = 0x0a;

/** Reads orders, one JSON object a line. Memory is bounded by one chunk and one line, however long the input and its lines are. */
export async function* readOrders(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<InputLine> {
  let line = 0;
  let parts: Uint8Array[] = [];
  let bytes = 0;
  const keep = (part: Uint8Array): void => {
    bytes += part.length;
    if (bytes <= maxLineBytes) parts.push(part);
    else parts = [];
  };
  const finish = (): InputLine | undefined => {
    line += 1;
    const read = bytes > maxLineBytes ? refused(line, `longer than ${maxLineBytes} bytes`) : parseLine(line, Buffer.concat(parts));
    parts = [];
    bytes = 0;
    return read;
  };
  for await (const chunk of chunks) {
    let from = 0;
    for (let at = chunk.indexOf(newline); at >= 0; at = chunk.indexOf(newline, from)) {
      keep(chunk.subarray(from, at));
      from = at + 1;
      const read = finish();
      if (read !== undefined) yield read;
    }
    if (from < chunk.length) keep(chunk.subarray(from));
  }
  if (bytes > 0) {
    const read = finish();
    if (read !== undefined) yield read;
  }
}

const utf8 = new TextDecoder("utf-8", { fatal: true });

function parseLine(line: number, bytes: Uint8Array): InputLine | undefined {
  let text: string;
  try {
    text = utf8.decode(bytes).trim();
  } catch {
    return refused(line, "not UTF-8");
  }
  if (text === "") return undefined;
  const parsed = parseOrder(text);
  return parsed.ok ? { line, ok: true, order: parsed.order } : refused(line, parsed.reason);
}

/** An order from JSON, or one readable reason; the reason never repeats the input. */
export function parseOrder(
  text: string,
): { readonly ok: true; readonly order: NewOrder } | { readonly ok: false; readonly reason: string } {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return { ok: false, reason: "not JSON" };
  }
  const checked = NewOrder.safeParse(value);
  return checked.success ? { ok: true, order: checked.data } : { ok: false, reason: reasonOf(checked.error) };
}

function reasonOf(error: z.ZodError): string {
  return error.issues
    .slice(0, 5)
    .map((issue) => {
      if (issue.code === "unrecognized_keys") return "fields that an order does not have";
      return issue.path.length === 0 ? issue.message : `${issue.path.join(".")}: ${issue.message}`;
    })
    .join("; ");
}

function refused(line: number, reason: string): InputLine {
  return { line, ok: false, reason };
}

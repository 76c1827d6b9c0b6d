import { WaybillError } from "../errors.ts";
import type { Codec } from "./codec.ts";
import { strictProblem } from "./json-strict.ts";

export interface JsonOptions {
  /** How deep arrays and objects may nest, both ways. Default 128. */
  readonly maxDepth?: number;
  /**
   * Refuses what JSON would change without a word. Published: `NaN`, `Infinity`, `-0`, and in arrays `undefined`, functions and symbols.
   * Consumed: a key twice in one object, an integer above 2^53 - 1, a number above 1.8e308. Default false: `null`, 0, the last one wins, rounded.
   */
  readonly strict?: boolean;
}

/**
 * `application/json`, as bytes of UTF-8. A byte order mark at the start is skipped.
 *
 * Refused at publish with `VALIDATION` and when consumed with `DECODE`, so that nothing is published which cannot be consumed: nesting
 * deeper than `maxDepth`, a key `__proto__`, and `prototype` inside `constructor` (a merge of such a body into another object would
 * change the prototype of all objects). At publish also: cycles, BigInt, lone surrogates (they have no UTF-8), what has no JSON form.
 * When consumed: bytes that are no UTF-8.
 */
export function jsonCodec(options: JsonOptions = {}): Codec {
  const { maxDepth = 128, strict = false } = options;
  return {
    contentType: "application/json",
    encode(value) {
      const text = stringify(value, strict);
      if (nestsDeeper(text, maxDepth)) throw invalid(`nests deeper than ${maxDepth}`);
      if (mayHoldLoneSurrogate(text) && loneSurrogate.test(text)) throw invalid("holds half of a surrogate pair, which has no UTF-8");
      if (mayHoldPrototypeKey(text) && holdsPrototypeKey(JSON.parse(text))) throw invalid("has a key that reaches for a prototype");
      return Buffer.from(text, "utf8");
    },
    decode(bytes) {
      const text = textOf(bytes);
      if (nestsDeeper(text, maxDepth)) throw unreadable(`JSON nests deeper than ${maxDepth}`);
      const value = parse(text);
      if (mayHoldPrototypeKey(text) && holdsPrototypeKey(value)) throw unreadable("JSON has a key that reaches for a prototype");
      const problem = strict ? strictProblem(text) : undefined;
      if (problem !== undefined) throw unreadable(problem);
      return value;
    },
  };
}

export const json: Codec = jsonCodec();

function stringify(value: unknown, strict: boolean): string {
  let text: string | undefined;
  try {
    text = strict ? JSON.stringify(value, refuseSilentChange) : JSON.stringify(value);
  } catch (error) {
    if (error instanceof WaybillError) throw error;
    if (error instanceof RangeError) throw invalid("nests too deep or is too long for JSON");
    // A TypeError of JSON.stringify tells keys of the body; one of a toJSON method cannot be told from it.
    throw invalid("cannot be written as JSON: it has a cycle or a BigInt, or a toJSON method threw");
  }
  if (text === undefined) throw invalid(`has no JSON form: it is ${value === undefined ? "undefined" : `a ${typeof value}`}`);
  return text;
}

function refuseSilentChange(this: unknown, key: string, value: unknown): unknown {
  if (typeof value === "number" && (!Number.isFinite(value) || Object.is(value, -0))) {
    throw invalid(`holds ${Object.is(value, -0) ? "-0" : String(value)}, which JSON cannot hold`);
  }
  if (Array.isArray(this) && (value === undefined || typeof value === "function" || typeof value === "symbol")) {
    throw invalid(
      `holds an array with ${value === undefined ? "undefined" : `a ${typeof value}`} at ${key}, which JSON would turn into null`,
    );
  }
  return value;
}

const utf8 = new TextDecoder("utf-8", { fatal: true });

function textOf(bytes: Uint8Array): string {
  try {
    return utf8.decode(bytes);
  } catch {
    throw unreadable("the body is not valid UTF-8");
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // The SyntaxError quotes the body.
    throw unreadable("the body is not valid JSON");
  }
}

/** Right for valid JSON, and `JSON.parse`, which does not recurse, refuses the rest. Under 2 ns per character. */
function nestsDeeper(text: string, maxDepth: number): boolean {
  // Each level needs two characters.
  if (text.length < 2 * (maxDepth + 1)) return false;
  let depth = 0;
  for (let at = 0; at < text.length; at++) {
    const char = text.charCodeAt(at);
    if (char === 34 /* " */) {
      at = closingQuote(text, at + 1);
      if (at === -1) return false;
    } else if (char === 123 /* { */ || char === 91 /* [ */) {
      depth += 1;
      if (depth > maxDepth) return true;
    } else if (char === 125 || char === 93) {
      depth -= 1;
    }
  }
  return false;
}

/** Where the string ends whose first character is at `from`: at the first quote with an even number of backslashes before it. */
function closingQuote(text: string, from: number): number {
  let end = text.indexOf('"', from);
  while (end !== -1) {
    let before = end;
    while (before > from && text.charCodeAt(before - 1) === 92 /* \ */) before -= 1;
    if ((end - before) % 2 === 0) break;
    end = text.indexOf('"', end + 1);
  }
  return end;
}

/** `JSON.stringify` writes lone surrogates, and only those, as `\ud…`; the text `\\ud8…` is an escaped backslash. */
function mayHoldLoneSurrogate(text: string): boolean {
  return text.includes("\\ud");
}
const loneSurrogate = /(?:^|[^\\])(?:\\\\)*\\ud[89a-f]/;

const escapedLetter = /\\u00[567]/i;

/** Searches the text, which is ten times as fast as visiting every key; letters of a key may be written as escapes. */
function mayHoldPrototypeKey(text: string): boolean {
  if (text.includes("__proto__") || (text.includes("prototype") && text.includes("constructor"))) return true;
  return text.includes("\\u") && escapedLetter.test(text);
}

/** Visits what was parsed: `__proto__` as a value or within a text is harmless. */
function holdsPrototypeKey(value: unknown): boolean {
  const open: unknown[] = [value];
  while (open.length > 0) {
    const next = open.pop();
    if (typeof next !== "object" || next === null) continue;
    for (const [key, part] of Object.entries(next as Record<string, unknown>)) {
      if (key === "__proto__") return true;
      if (typeof part !== "object" || part === null) continue;
      if (key === "constructor" && Object.hasOwn(part, "prototype")) return true;
      open.push(part);
    }
  }
  return false;
}

function invalid(why: string): WaybillError {
  return new WaybillError("VALIDATION", `the body ${why}`);
}

function unreadable(why: string): WaybillError {
  return new WaybillError("DECODE", why);
}

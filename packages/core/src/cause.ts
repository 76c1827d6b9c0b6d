import { errorCodes } from "./errors.ts";
import { safeText } from "./log.ts";

/** What a dead letter, a status or a log line tells of a failure. */
export interface Failure {
  /** A code of `WaybillError`, else `HANDLER`. */
  readonly code: string;
  /** One line of at most 512 characters, credentials masked. Never a stack. */
  readonly text: string;
}

const maxChars = 512;
/** What is read of a message at most: masking must see more than is kept, and less than an attacker may write. */
const readChars = 4_096;
const maxCauses = 3;

/**
 * Code and text of whatever was thrown: errors, `undefined`, symbols, frozen objects, proxies that throw. Never throws.
 * Of an error it takes class name, message, the code of Node's errors, and the same of up to three causes. A `SyntaxError` quotes
 * what it could not read, so of it only the name is told; of an object that is no error, nothing.
 */
export function describeFailure(thrown: unknown): Failure {
  return { code: codeOf(thrown), text: safeText(maskSecrets(textOf(thrown)), maxChars) };
}

/** The same cleaning for a text: credentials masked, control characters escaped, one line of at most 512 characters. */
export function describeText(text: string): string {
  return safeText(maskSecrets(cut(text)), maxChars);
}

function codeOf(thrown: unknown): string {
  const code = read(thrown, "code");
  return typeof code === "string" && read(thrown, "name") === "WaybillError" && Object.hasOwn(errorCodes, code) ? code : "HANDLER";
}

function textOf(thrown: unknown): string {
  let text = "";
  let next: unknown = thrown;
  for (let depth = 0; depth <= maxCauses; depth++) {
    text += depth === 0 ? textOfOne(next) : `; cause: ${textOfOne(next)}`;
    next = read(next, "cause");
    if (next === undefined || next === null || text.length >= readChars) break;
  }
  return cut(text);
}

function textOfOne(thrown: unknown): string {
  switch (typeof thrown) {
    case "string":
      return cut(thrown);
    case "object":
    case "function":
      break;
    case "symbol":
      return cut(String(thrown));
    default:
      return `${String(thrown)} was thrown`;
  }
  if (thrown === null) return "null was thrown";
  const name = read(thrown, "name");
  const message = read(thrown, "message");
  if (typeof message !== "string") return typeof thrown === "function" ? "a function was thrown" : "an object that is no error was thrown";
  const label = typeof name === "string" && name !== "" && name !== "WaybillError" ? name.slice(0, 64) : "";
  if (label === "SyntaxError") return label;
  const code = read(thrown, "code");
  const mark = label !== "" && typeof code === "string" && /^[A-Z][A-Z0-9_]{0,63}$/.test(code) ? ` (${code})` : "";
  const body = withoutStack(cut(message));
  if (body === "") return (label === "" ? "Error" : label) + mark;
  return label === "" || label === "Error" ? body + mark : `${label}: ${body}${mark}`;
}

/** A property of anything; undefined where reading it throws. */
function read(from: unknown, key: string): unknown {
  if ((typeof from !== "object" && typeof from !== "function") || from === null) return undefined;
  try {
    return (from as Record<string, unknown>)[key];
  } catch {
    return undefined;
  }
}

/** Some errors carry the stack of another process in their message. */
function withoutStack(text: string): string {
  const at = text.search(/\n\s{0,16}at /);
  return at === -1 ? text : text.slice(0, at);
}

function cut(text: string): string {
  return text.length > readChars ? text.slice(0, readChars) : text;
}

const quotedSecret =
  /((?:passw(?:or)?d|passphrase|pwd|secret|token|api[-_]?key|access[-_]?key|private[-_]?key|credentials?|authorization|signature|sasl|nkey|seed)[\w-]{0,32}["']?\s{0,4}[=:]\s{0,4})("[^"]*"?|'[^']*'?|[^\s"'&;,)}\]]+)/gi;
const scheme = /\b(basic|bearer|digest|negotiate)\s{1,4}[\w+/.~=-]{4,}/gi;
const jsonWebToken = /\beyJ[\w-]{8,}(?:\.[\w-]*){1,4}/g;
/** A seed of NATS: `S`, the kind, base 32. */
const nkeySeed = /\bS[ACNOUX][A-Z2-7]{30,}/g;
const pem = /-----BEGIN [A-Z0-9 ]{0,40}-----[^]*?(?:-----END [A-Z0-9 ]{0,40}-----|$)/g;

/**
 * `***` in place of what looks like a credential: the user part of URLs (also percent-encoded or broken ones), `password=…` and its
 * like, authorization headers, JSON web tokens, NATS seeds, PEM blocks. Time linear in the length of the text.
 */
export function maskSecrets(text: string): string {
  return maskUrls(text)
    .replace(pem, "***")
    .replace(scheme, "$1 ***")
    .replace(quotedSecret, "$1***")
    .replace(jsonWebToken, "***")
    .replace(nkeySeed, "***");
}

/** From `://` up to the last `@` of the word, since a password that nobody encoded may hold `/`, `?` and `@` itself. */
function maskUrls(text: string): string {
  if (!/:\/\/|%3a%2f%2f/i.test(text)) return text;
  const words = text.split(/(\s+)/);
  for (const [index, word] of words.entries()) {
    const start = /:\/\/|%3a%2f%2f/i.exec(word);
    if (start === null) continue;
    const from = start.index + start[0].length;
    const at = Math.max(word.lastIndexOf("@"), word.lastIndexOf("%40"));
    if (at >= from) words[index] = `${word.slice(0, from)}***${word.slice(at)}`;
    else if (hasOpenUser(word.slice(from))) words[index] = `${word.slice(0, from)}***${spoil(words, index + 1)}`;
  }
  return words.join("");
}

/** `user:pass` with no `@`: cut off, or followed by a space. What follows the colon of a real host is digits. */
function hasOpenUser(rest: string): boolean {
  const end = rest.search(/[/?#]/);
  const authority = end === -1 ? rest : rest.slice(0, end);
  if (authority.startsWith("[")) return false;
  const colon = authority.search(/:|%3a/i);
  return colon !== -1 && !/^(?::|%3a)\d{0,5}[^\w%]*$/i.test(authority.slice(colon));
}

/** Takes away the words up to the one that ends the user part, if it is near. */
function spoil(words: string[], from: number): string {
  for (let index = from; index < Math.min(words.length, from + 16); index++) {
    const at = (words[index] ?? "").lastIndexOf("@");
    if (at === -1) continue;
    const tail = (words[index] ?? "").slice(at);
    words.fill("", from, index + 1);
    return tail;
  }
  return "";
}

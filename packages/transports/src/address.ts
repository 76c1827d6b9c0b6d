import { WaybillError } from "@waybill/core";

/** A URL of a transport, taken apart. */
export interface Address {
  /** In lower case, without the colon. */
  readonly scheme: string;
  /** What stands between the colon and the `?`, as written. */
  readonly rest: string;
  /** What follows the `?`. */
  readonly options: ReadonlyMap<string, string>;
}

/** Throws `CONFIG`. What it throws never repeats the URL: it may hold a password. */
export function parseAddress(url: string): Address {
  const parts = /^([a-z][a-z0-9+.-]*):([^?#]*)(?:\?([^#]*))?$/i.exec(url);
  const scheme = parts?.[1];
  if (scheme === undefined) throw new WaybillError("CONFIG", "transport URL: expected scheme:address, such as embedded:orders.db");
  const options = new Map<string, string>();
  for (const [name, value] of new URLSearchParams(parts?.[3] ?? "")) {
    if (options.has(name)) throw new WaybillError("CONFIG", `transport URL: option ${optionName(name)} is given twice`);
    options.set(name, value);
  }
  return { scheme: scheme.toLowerCase(), rest: parts?.[2] ?? "", options };
}

/** The options as an adapter takes them: digits are a number, `true` and `false` what they say, all else a text. The adapter checks them. */
export function optionsOf(address: Address): Record<string, unknown> {
  const options: Record<string, unknown> = {};
  for (const [name, text] of address.options) {
    const value = /^\d{1,15}$/.test(text) ? Number(text) : text === "true" || text === "false" ? text === "true" : text;
    Object.defineProperty(options, name, { value, enumerable: true, configurable: true, writable: true });
  }
  return options;
}

/**
 * The path in `embedded:orders.db`, `embedded:./data/orders.db` or `embedded:///var/lib/orders.db`; percent signs are decoded.
 * Throws `CONFIG`.
 */
export function filePath(address: Address): string {
  const form = `expected ${address.scheme}:path or ${address.scheme}:///absolute/path`;
  let path = address.rest;
  if (path.startsWith("//")) {
    if (!path.startsWith("///")) throw new WaybillError("CONFIG", `transport URL: a file has no host; ${form}`);
    path = path.slice(2);
    // A drive letter is no directory of the root.
    if (/^\/[a-z]:/i.test(path)) path = path.slice(1);
  }
  try {
    path = decodeURIComponent(path);
  } catch {
    throw new WaybillError("CONFIG", "transport URL: a percent sign of the path is written %25");
  }
  if (path === "") throw new WaybillError("CONFIG", `transport URL: the path is missing; ${form}`);
  return path;
}

/** In `kafka://user:password@host:9092,other:9092`: percent signs of the credentials are decoded. Throws `CONFIG`. */
export function hostList(address: Address): {
  readonly credentials: { readonly username: string; readonly password: string } | undefined;
  readonly hosts: string;
} {
  const parts = /^(?:\/\/)?(?:([^@/]*)@)?([^@/]*)\/?$/.exec(address.rest);
  if (parts === null) throw new WaybillError("CONFIG", `transport URL: expected ${address.scheme}://host:port,host:port`);
  const [, user, hosts = ""] = parts;
  if (user === undefined) return { credentials: undefined, hosts };
  const colon = user.indexOf(":");
  if (colon < 1) throw new WaybillError("CONFIG", "transport URL: expected user:password before the @");
  try {
    return {
      credentials: { username: decodeURIComponent(user.slice(0, colon)), password: decodeURIComponent(user.slice(colon + 1)) },
      hosts,
    };
  } catch {
    throw new WaybillError("CONFIG", "transport URL: a percent sign of the credentials is written %25");
  }
}

/** A name that is no plain word may be a slipped secret, and is not repeated. */
function optionName(name: string): string {
  return /^[A-Za-z][A-Za-z0-9-]{0,31}$/.test(name) ? `"${name}"` : "(unprintable)";
}

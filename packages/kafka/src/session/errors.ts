import { WaybillError } from "@waybill/core";

interface Known {
  readonly code?: unknown;
  readonly message?: unknown;
  readonly cause?: unknown;
  readonly errors?: unknown;
  readonly apiId?: unknown;
}

/** The error, its causes and those it is made of, outermost first. */
function chainOf(error: unknown): readonly Known[] {
  const found: Known[] = [];
  const open = [error];
  while (open.length > 0 && found.length < 50) {
    const next = open.shift();
    if (typeof next !== "object" || next === null || found.includes(next)) continue;
    const known = next as Known;
    found.push(known);
    open.push(known.cause);
    if (Array.isArray(known.errors)) open.push(...(known.errors as unknown[]));
  }
  return found;
}

const refusedIds: ReadonlySet<unknown> = new Set(["SASL_AUTHENTICATION_FAILED", "UNSUPPORTED_SASL_MECHANISM", "ILLEGAL_SASL_STATE"]);
const certificate = /^(ERR_TLS_|ERR_SSL_|CERT_|UNABLE_TO_|DEPTH_ZERO_|SELF_SIGNED_|HOSTNAME_MISMATCH|INVALID_CA|EPROTO)/;

/** Whether waiting mends nothing: wrong credentials, a certificate that is not trusted. */
export function isFinal(error: unknown): boolean {
  return codeOf(error) !== "CONNECTION";
}

function codeOf(error: unknown): "AUTH" | "TLS" | "CONNECTION" {
  for (const { apiId, code, message } of chainOf(error)) {
    if (refusedIds.has(apiId)) return "AUTH";
    if (typeof code === "string" && certificate.test(code)) return "TLS";
    if (code === "PLT_KFK_USER" && typeof message === "string" && /TLS/.test(message)) return "TLS";
  }
  return "CONNECTION";
}

const texts = {
  AUTH: "the broker refused the credentials",
  TLS: "no secure connection to the broker",
  CONNECTION: "the broker cannot be reached",
} as const;

/** Of a connection that did not come about. */
export function wrap(error: unknown, place?: string): WaybillError {
  if (error instanceof WaybillError) return error;
  const code = codeOf(error);
  return new WaybillError(code, place === undefined ? texts[code] : `${texts[code]} at ${place}`, { cause: error });
}

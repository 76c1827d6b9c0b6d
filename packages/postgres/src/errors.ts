import { isWaybillError, safeText, WaybillError, type ErrorCode, type ErrorOptions } from "@waybill/core";

/** What the server said, or the client library, or the system: only these three fields are read. */
interface Thrown {
  /** Of the server: SQLSTATE, five characters. Of the system: such as `ECONNREFUSED`. */
  readonly code: string | undefined;
  readonly severity: string | undefined;
  readonly text: string;
}

interface Meaning {
  readonly code: ErrorCode;
  readonly text?: string;
  readonly remedy?: string;
  readonly retryable?: boolean;
}

/** By SQLSTATE (PostgreSQL's appendix "Error Codes"). */
const meanings: Readonly<Record<string, Meaning>> = {
  "28000": { code: "AUTH", remedy: "check the user, and the server's pg_hba.conf" },
  "28P01": { code: "AUTH", remedy: "check user and password of the connection string or pool" },
  "3D000": { code: "CONFIG", remedy: "create the database, or correct its name in the connection string" },
  "3F000": { code: "CONFIG", remedy: "correct the option schema, or run the migrations (postgresMigrations prints them)" },
  "42P01": { code: "CONFIG", remedy: "correct the option schema, or run the migrations (postgresMigrations prints them)" },
  "42703": { code: "CONFIG", remedy: "the tables are not this store's: run the migrations, or choose another schema" },
  "42501": {
    code: "AUTH",
    remedy: "grant usage on the schema, and select, insert, update, delete on its tables, to the role that connects",
  },
  "40001": { code: "STORE", text: "could not be serialized with another transaction", remedy: "nothing to do: it is tried again" },
  "40P01": {
    code: "STORE",
    text: "a deadlock with another transaction",
    remedy: "it is tried again; write rows in one order to avoid it",
  },
  "55P03": { code: "STORE", text: "a lock was not free within lockTimeout", remedy: "look for who holds it, or raise lockTimeout" },
  "57014": { code: "STORE", text: "a statement took longer than statementTimeout", remedy: "make it faster, or raise statementTimeout" },
  "25P03": { code: "TX_TOO_LONG", text: "the transaction stood idle for longer than transactionLimit" },
  "25P04": { code: "TX_TOO_LONG", text: "the transaction took longer than the server allows" },
  "25P02": {
    code: "STORE",
    text: "a statement of the handler failed, and the handler went on: PostgreSQL takes nothing more in that transaction",
    remedy: "let the error out of the handler, or put a savepoint before a statement that may fail",
    retryable: false,
  },
  "53100": { code: "DISK_FULL" },
  "53300": { code: "CONNECTION", remedy: "lower maxConnections of the processes together, or raise max_connections of the server" },
  "57P01": { code: "CONNECTION_LOST" },
  "57P02": { code: "CONNECTION_LOST" },
  "57P03": { code: "CONNECTION", remedy: "wait: the server is starting or stopping" },
};

function read(error: unknown): Thrown {
  const { code, severity, message } = (typeof error === "object" && error !== null ? error : {}) as Record<string, unknown>;
  return {
    code: typeof code === "string" ? code : undefined,
    severity: typeof severity === "string" ? severity : undefined,
    text: typeof message === "string" ? safeText(message, 300) : "failed",
  };
}

/** The SQLSTATE, if the server said it. */
export function sqlState(error: unknown): string | undefined {
  const { code, severity } = read(error);
  return severity !== undefined && code !== undefined && /^[0-9A-Z]{5}$/.test(code) ? code : undefined;
}

/** The link is of no use any more, whoever said so. */
export function isLinkLoss(error: unknown): boolean {
  if (isWaybillError(error)) return error.code === "CONNECTION_LOST" || error.code === "CONNECTION";
  const state = sqlState(error);
  if (state === undefined) return isOfSocket(read(error));
  return state.startsWith("08") || state.startsWith("57P") || state === "25P03" || state === "25P04" || read(error).severity === "FATAL";
}

/** Without a SQLSTATE it is the system's word, or the client library's, which has no codes; else a value could not be written. */
function isOfSocket({ code, text }: Thrown): boolean {
  return (code !== undefined && /^E[A-Z]+$/.test(code)) || /^Connection terminated|is not queryable$|^Query read timeout/.test(text);
}

/** The store's doing and not the handler's: the whole transaction is worth another try. */
export function isTransient(error: unknown): boolean {
  const state = sqlState(error);
  return state === "40001" || state === "40P01" || isLinkLoss(error);
}

/** Our own error for what the database or the way to it did. Definite: what was not committed is rolled back. */
export function toError(error: unknown, doing: string): WaybillError {
  if (isWaybillError(error)) return error;
  const state = sqlState(error);
  return state === undefined ? ofLink(error, doing) : ofServer(error, state, doing);
}

function ofServer(error: unknown, state: string, doing: string): WaybillError {
  const { text, severity } = read(error);
  const known = meanings[state];
  if (known !== undefined) return make(known.code, `${doing}: ${known.text ?? text} (${state})`, error, known);
  if (state.startsWith("08") || severity === "FATAL") return make("CONNECTION_LOST", `${doing}: ${text} (${state})`, error, {});
  // Classes 22, 23, 42: bad values, broken constraints, wrong statements. The next try would end in the same way.
  const final = /^(22|23|42|44|27|P0)/.test(state);
  return make("STORE", `${doing}: ${text} (${state})`, error, final ? { retryable: false } : {});
}

export const poolRemedy = "raise maxConnections (or max of the pool), lower concurrency, or shorten transactions";

function ofLink(error: unknown, doing: string): WaybillError {
  const { code, text } = read(error);
  if (/password must be/.test(text)) {
    return make("AUTH", `${doing}: the server asks for a password, and none is given`, error, { remedy: "give a password" });
  }
  if (/does not support SSL|certificate|self.signed/i.test(text) || /^(ERR_TLS|CERT_|DEPTH_ZERO|UNABLE_TO)/.test(code ?? "")) {
    return make("TLS", `${doing}: ${text}`, error, {});
  }
  if (/timeout exceeded when trying to connect/.test(text)) {
    return make("POOL_TIMEOUT", `${doing}: no connection of the pool came free`, error, { remedy: poolRemedy });
  }
  if (/after calling end on the pool/.test(text)) return make("CLOSED", `${doing}: the pool has been ended`, error, {});
  if (!isLinkLoss(error)) return make("STORE", `${doing}: ${text}`, error, {});
  const never = /^(ECONNREFUSED|ENOTFOUND|EHOSTUNREACH|ENETUNREACH|EAI_AGAIN|ENOENT|EADDRNOTAVAIL)$/.test(code ?? "");
  return make(never ? "CONNECTION" : "CONNECTION_LOST", `${doing}: ${code ?? text}`, error, {});
}

function make(code: ErrorCode, text: string, cause: unknown, { remedy, retryable }: Partial<Meaning>): WaybillError {
  const options: ErrorOptions = {
    cause,
    certainty: "definite",
    ...(remedy === undefined ? {} : { remedy }),
    ...(retryable === undefined ? {} : { retryable }),
  };
  return new WaybillError(code, text, options);
}

/** Of a COMMIT that was sent: whether the answer leaves open if it took effect. */
export function leavesCommitOpen(error: unknown): boolean {
  const state = sqlState(error);
  // A server that is stopped while a commit waits for its standby has committed all the same.
  return state === undefined || state === "08007" || state === "40003" || isLinkLoss(error);
}

export function commitUnknown(why: string, cause: unknown): WaybillError {
  return new WaybillError("TX_UNKNOWN", `commit: ${why}`, { cause });
}

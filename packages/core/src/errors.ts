export type Certainty = "definite" | "indefinite";

interface CodeInfo {
  readonly meaning: string;
  readonly retryable: boolean;
  readonly certainty: Certainty;
  readonly remedy: string;
}

/** Every code there is. `definite`: it did not happen. `indefinite`: it may have. `docs/errors.md` is made from this. */
export const errorCodes = {
  ABORTED: { meaning: "the caller's signal fired", retryable: true, certainty: "definite", remedy: "call again if it is still wanted" },
  AUTH: {
    meaning: "the broker refused the credentials",
    retryable: false,
    certainty: "definite",
    remedy: "check user, password or token, and the permissions of that user",
  },
  BUFFER_FULL: {
    meaning: "too many publishes wait for the broker",
    retryable: true,
    certainty: "definite",
    remedy: "await publishes, slow down, or raise maxWaiting",
  },
  BUSY: { meaning: "the resource is in use", retryable: true, certainty: "definite", remedy: "stop its other users first, then try again" },
  CAPABILITY: {
    meaning: "the transport cannot do what was asked",
    retryable: false,
    certainty: "definite",
    remedy: "choose a transport that can, or drop the option",
  },
  CIRCUIT_OPEN: {
    meaning: "the circuit breaker is open",
    retryable: true,
    certainty: "definite",
    remedy: "wait until it lets a trial through",
  },
  CLOSED: {
    meaning: "the bus, transport, pool or subscription is closed",
    retryable: false,
    certainty: "definite",
    remedy: "open a new one",
  },
  CONFIG: { meaning: "options are wrong", retryable: false, certainty: "definite", remedy: "correct the named paths" },
  CONNECTION: {
    meaning: "the broker cannot be reached",
    retryable: true,
    certainty: "definite",
    remedy: "check that the broker runs and that its address is right",
  },
  CONNECTION_LOST: {
    meaning: "the link broke before the answer came",
    retryable: true,
    certainty: "indefinite",
    remedy: "publish again with the same id; consumers must allow for repeats",
  },
  CORRUPT: {
    meaning: "stored data is damaged",
    retryable: false,
    certainty: "definite",
    remedy: "stop all users of the file and run salvage on it",
  },
  CRASH_POISON: {
    meaning: "the message ended every process that handled it",
    retryable: false,
    certainty: "definite",
    remedy: "find out what in the handler ends the process, then replay it",
  },
  DEAD_LETTER: {
    meaning: "the handler asked for dead-lettering",
    retryable: false,
    certainty: "definite",
    remedy: "read the reason, correct the cause, then replay or discard",
  },
  DECODE: {
    meaning: "the body or its encoding cannot be read",
    retryable: false,
    certainty: "definite",
    remedy: "check what the publisher writes: content type, compression, format",
  },
  DISK_FULL: { meaning: "no room on the disk", retryable: true, certainty: "definite", remedy: "free space; publishing goes on by itself" },
  DUPLICATE: {
    meaning: "this group has already applied this message",
    retryable: false,
    certainty: "definite",
    remedy: "nothing to do: the repeat is acknowledged",
  },
  EXPIRED: {
    meaning: "the message was too old to be handled",
    retryable: false,
    certainty: "definite",
    remedy: "raise expiresIn, or add consumers",
  },
  FILE_VERSION: {
    meaning: "the file was written by a newer version",
    retryable: false,
    certainty: "definite",
    remedy: "upgrade this process",
  },
  HANDLER: { meaning: "the handler threw", retryable: true, certainty: "definite", remedy: "see the cause" },
  HANDLER_TIMEOUT: {
    meaning: "the handler did not finish in time",
    retryable: true,
    certainty: "indefinite",
    remedy: "make it faster, pass ctx.signal on, or raise timeout",
  },
  LEASE_LOST: {
    meaning: "the delivery belongs to another member by now",
    retryable: true,
    certainty: "indefinite",
    remedy: "the message is handled again elsewhere; make the effect idempotent or exactlyOnce",
  },
  NAME: {
    meaning: "a topic, group, pattern or header name is not allowed",
    retryable: false,
    certainty: "definite",
    remedy: "use letters, digits, '-', '_' and '.' between tokens",
  },
  NO_RESPONDERS: {
    meaning: "nobody replies on this topic",
    retryable: true,
    certainty: "definite",
    remedy: "start a service that replies to it",
  },
  NOT_STARTED: { meaning: "the bus has not been started", retryable: true, certainty: "definite", remedy: "await bus.start() first" },
  POOL_TIMEOUT: {
    meaning: "no pooled resource came free in time",
    retryable: true,
    certainty: "definite",
    remedy: "return resources sooner, or raise max; the named holders keep them",
  },
  PUBLISH_TIMEOUT: {
    meaning: "no confirm came in time",
    retryable: true,
    certainty: "indefinite",
    remedy: "publish again with the same id; consumers must allow for repeats",
  },
  REMOTE: {
    meaning: "the replying service failed",
    retryable: true,
    certainty: "indefinite",
    remedy: "see the code and text that it gave",
  },
  REQUEST_TIMEOUT: {
    meaning: "no reply came in time",
    retryable: true,
    certainty: "indefinite",
    remedy: "raise timeout, or look at the replying service",
  },
  RETRY: { meaning: "the handler asked for a retry", retryable: true, certainty: "definite", remedy: "see the reason" },
  STALE_ATTEMPT: {
    meaning: "the attempt was abandoned: its context can do nothing any more",
    retryable: false,
    certainty: "definite",
    remedy: "stop the work when ctx.signal fires",
  },
  STORE: { meaning: "the store failed", retryable: true, certainty: "definite", remedy: "see the cause" },
  TLS: {
    meaning: "the secure connection was refused",
    retryable: false,
    certainty: "definite",
    remedy: "check host name, certificate and authority",
  },
  TOO_LARGE: {
    meaning: "the message is larger than allowed",
    retryable: false,
    certainty: "definite",
    remedy: "publish a reference to the data, or raise the limit",
  },
  TOPOLOGY: {
    meaning: "topics or groups are missing or differ",
    retryable: false,
    certainty: "definite",
    remedy: "declare them, or set topology to 'declare'",
  },
  TRANSPORT: { meaning: "the transport failed in a way of its own", retryable: true, certainty: "indefinite", remedy: "see the cause" },
  TX_TOO_LONG: {
    meaning: "the handler held the write lock for too long and was rolled back",
    retryable: true,
    certainty: "definite",
    remedy: "do slow work before the first use of ctx.tx",
  },
  TX_UNKNOWN: {
    meaning: "nobody knows whether the commit took effect",
    retryable: true,
    certainty: "indefinite",
    remedy: "the inbox tells at the next delivery; nothing to do",
  },
  UNKNOWN_TYPE: {
    meaning: "the content type is not one of the allowed ones",
    retryable: false,
    certainty: "definite",
    remedy: "add its codec, or correct the publisher",
  },
  UNKNOWN_VERSION: {
    meaning: "the contract has no such version",
    retryable: false,
    certainty: "definite",
    remedy: "deploy the consumer first, or add an upcast",
  },
  UNROUTABLE: {
    meaning: "nobody receives this command",
    retryable: false,
    certainty: "definite",
    remedy: "start its consumer once, or declare its group",
  },
  VALIDATION: { meaning: "the body does not fit its schema", retryable: false, certainty: "definite", remedy: "correct the named paths" },
} as const;

export type ErrorCode = keyof typeof errorCodes;

export interface ErrorOptions {
  readonly cause?: unknown;
  readonly remedy?: string;
  readonly retryable?: boolean;
  readonly certainty?: Certainty;
  /** Of a batch: one entry a message, in order. */
  readonly outcomes?: readonly unknown[];
}

/**
 * The one error class. `code` is stable; `certainty` tells whether it may have happened all the same.
 * `message` never holds a body, a header value or a credential.
 */
export class WaybillError extends Error {
  readonly code: ErrorCode;
  readonly retryable: boolean;
  readonly certainty: Certainty;
  readonly remedy: string;
  readonly outcomes: readonly unknown[] | undefined;

  constructor(code: ErrorCode, text: string, options: ErrorOptions = {}) {
    super(text, options.cause === undefined ? undefined : { cause: options.cause });
    const info: CodeInfo = errorCodes[code];
    this.name = "WaybillError";
    this.code = code;
    this.retryable = options.retryable ?? info.retryable;
    this.certainty = options.certainty ?? info.certainty;
    this.remedy = options.remedy ?? info.remedy;
    this.outcomes = options.outcomes;
  }
}

/** Whether `value` is a `WaybillError`, of that code if one is given. Never throws, whatever `value` is. */
export function isWaybillError(value: unknown, code?: ErrorCode): value is WaybillError {
  try {
    return value instanceof WaybillError && (code === undefined || value.code === code);
  } catch {
    return false;
  }
}

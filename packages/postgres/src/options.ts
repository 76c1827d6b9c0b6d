import { assertOptions, durationMs, silentLogger, WaybillError, type Duration, type Logger, type SpecFor } from "@waybill/core";
import { Client, type Pool } from "pg";

export type Isolation = "read committed" | "repeatable read" | "serializable";

export interface PostgresStoreOptions {
  /** The pool that the handlers' transactions take their connections from. It stays yours to end. This or `connectionString`. */
  readonly pool?: Pool;
  /** `postgres://user:password@host:port/database`: the store makes a pool of its own and ends it. This or `pool`. */
  readonly connectionString?: string;
  /** Of its own pool, not counting the one that listens. Default 10. */
  readonly maxConnections?: number;
  /** Where the store's tables are. Any name of up to 63 bytes. Default `waybill`. */
  readonly schema?: string;
  /** `apply`: `open` makes and upgrades the tables. `check`: it only looks whether they are there (see `postgresMigrations`). Default `apply`. */
  readonly migrate?: "apply" | "check";
  /** Of the handlers' transactions. Default `read committed`. */
  readonly isolation?: Isolation;
  /** How long one statement may run. Default 30 s. */
  readonly statementTimeout?: Duration;
  /** How long one statement may wait for a lock. Default 10 s. */
  readonly lockTimeout?: Duration;
  /** How long a transaction may be open: then it is rolled back, `TX_TOO_LONG`. The server ends one whose process stands still. Default 1 min. */
  readonly transactionLimit?: Duration;
  /** How long a handler waits for a connection, over a restart of the server too. Default 10 s. */
  readonly connectTimeout?: Duration;
  /**
   * The longest time after which a broker, a replay or a backup may bring a message back. Inbox rows younger than that are
   * kept, whatever `keepInbox` of the bus says; where that is shorter, `logger` is warned once. Default: not known.
   */
  readonly redeliveryHorizon?: Duration;
  /** Default: silent. */
  readonly logger?: Logger;
}

/** Every option with its value. */
export interface Settings {
  readonly pool: Pool | undefined;
  readonly connectionString: string | undefined;
  readonly maxConnections: number;
  readonly schema: string;
  readonly migrate: "apply" | "check";
  readonly isolation: Isolation;
  readonly statementTimeoutMs: number;
  readonly lockTimeoutMs: number;
  readonly transactionLimitMs: number;
  readonly connectTimeoutMs: number;
  readonly redeliveryHorizonMs: number;
  readonly logger: Logger;
}

const limit = { type: "duration", min: 10, max: 86_400_000 } as const;

const spec: SpecFor<PostgresStoreOptions> = {
  pool: { type: "shape", methods: ["connect", "query", "end", "on"], name: "a Pool of pg" },
  connectionString: { type: "string", minLength: 1, secret: true },
  maxConnections: { type: "integer", min: 1, max: 10_000 },
  schema: { type: "string", minLength: 1 },
  migrate: { type: "enum", values: ["apply", "check"] },
  isolation: { type: "enum", values: ["read committed", "repeatable read", "serializable"] },
  statementTimeout: limit,
  lockTimeout: limit,
  transactionLimit: limit,
  connectTimeout: limit,
  redeliveryHorizon: { type: "duration" },
  logger: { type: "shape", methods: ["debug", "info", "warn", "error"], name: "a logger" },
};

/** @throws `CONFIG` listing every wrong option. */
export function readOptions(options: PostgresStoreOptions): Settings {
  assertOptions(options, spec, "postgresStore");
  const { pool, connectionString, maxConnections, schema = "waybill" } = options;
  if ((pool === undefined) === (connectionString === undefined)) {
    throw new WaybillError("CONFIG", "postgresStore: expected exactly one of pool and connectionString");
  }
  if (pool !== undefined && maxConnections !== undefined) {
    throw new WaybillError("CONFIG", "postgresStore.maxConnections: expected nothing beside pool", { remedy: "set max of the pool" });
  }
  if (connectionString !== undefined) checkAddress(connectionString);
  checkSchema(schema);
  return {
    pool,
    connectionString,
    maxConnections: maxConnections ?? 10,
    schema,
    migrate: options.migrate ?? "apply",
    isolation: options.isolation ?? "read committed",
    statementTimeoutMs: durationMs(options.statementTimeout ?? "30s", "statementTimeout"),
    lockTimeoutMs: durationMs(options.lockTimeout ?? "10s", "lockTimeout"),
    transactionLimitMs: durationMs(options.transactionLimit ?? "1m", "transactionLimit"),
    connectTimeoutMs: durationMs(options.connectTimeout ?? "10s", "connectTimeout"),
    redeliveryHorizonMs: durationMs(options.redeliveryHorizon ?? 0, "redeliveryHorizon"),
    logger: options.logger ?? silentLogger,
  };
}

/** The parser's own error may hold the address, and with it the password: it goes no further. */
function checkAddress(connectionString: string): void {
  if (!/^(postgres(ql)?|socket):|^\//.test(connectionString) || !isReadable(connectionString)) {
    throw new WaybillError("CONFIG", "postgresStore.connectionString: cannot be read as an address", {
      remedy: "write it as postgres://user:password@host:port/database, with reserved characters of the password percent-encoded",
    });
  }
}

function isReadable(connectionString: string): boolean {
  try {
    return new Client({ connectionString }).port > 0;
  } catch {
    return false;
  }
}

/** PostgreSQL cuts longer names off without an error, and has no NUL. */
export function checkSchema(schema: string): void {
  if (Buffer.byteLength(schema) > 63 || schema.includes("\0") || !schema.isWellFormed() || schema === "") {
    throw new WaybillError("CONFIG", "postgresStore.schema: expected a name of 1 to 63 bytes without NUL");
  }
}

import { isIP } from "node:net";
import {
  Connection,
  SASLMechanisms,
  type AdminOptions,
  type ConnectionOptions,
  type SASLMechanismValue,
  type SASLOptions,
} from "@platformatic/kafka";
import { WaybillError } from "@waybill/core";
import type { SaslOptions, Settings } from "../options.ts";
import { placeOf, type BrokerAddress } from "./address.ts";
import { wrap } from "./errors.ts";
import type { Purpose } from "./session.ts";

/** The open connections, one for each purpose and broker. */
export interface Connections {
  /** Rejects with `CONNECTION`, `AUTH`, `TLS` or `CLOSED`. */
  open(place: BrokerAddress, purpose: Purpose): Promise<Connection>;
  release(purpose: string): void;
  close(): void;
}

interface Entry {
  readonly purpose: string;
  readonly connection: Connection;
  readonly opened: Promise<Connection>;
}

export function createConnections(settings: Settings): Connections {
  const entries = new Map<string, Entry>();
  let closed = false;

  function open(place: BrokerAddress, purpose: Purpose): Promise<Connection> {
    if (closed) return Promise.reject(new WaybillError("CLOSED", "the transport is closed"));
    const key = `${purpose.name} ${placeOf(place)}`;
    const known = entries.get(key);
    if (known !== undefined) return known.opened;
    const connection = new Connection(settings.clientId, optionsOf(settings, place, purpose));
    const forget = (): void => {
      if (entries.get(key) === entry) entries.delete(key);
    };
    // Without a listener an error of a connection would end the process.
    connection.on("error", () => {
      forget();
      destroy(connection);
    });
    connection.on("close", forget);
    const opened = connect(connection, place).catch((error: unknown) => {
      forget();
      destroy(connection);
      throw closed ? new WaybillError("CLOSED", "the transport is closed") : wrap(error, placeOf(place));
    });
    const entry: Entry = { purpose: purpose.name, connection, opened };
    entries.set(key, entry);
    return opened;
  }

  function end(which: (entry: Entry) => boolean): void {
    for (const [key, entry] of entries) {
      if (!which(entry)) continue;
      entries.delete(key);
      destroy(entry.connection);
    }
  }

  return {
    open,
    release: (purpose) => end((entry) => entry.purpose === purpose),
    close() {
      closed = true;
      end(() => true);
    },
  };
}

/** At once: `close` of the client waits for what the other side may never take. */
export function destroy(connection: Connection): void {
  (connection.socket as Connection["socket"] | undefined)?.destroy();
}

async function connect(connection: Connection, { host, port }: BrokerAddress): Promise<Connection> {
  await connection.connect(host, port);
  return connection;
}

function optionsOf(settings: Settings, { host }: BrokerAddress, { requestTimeoutMs }: Purpose): ConnectionOptions {
  const { sasl, tls, connectTimeoutMs } = settings;
  const options: ConnectionOptions = {
    connectTimeout: connectTimeoutMs,
    requestTimeout: requestTimeoutMs ?? settings.requestTimeoutMs,
  };
  if (sasl !== undefined) options.sasl = saslOf(sasl);
  if (tls !== undefined) {
    const { servername, ca, ...rest } = tls;
    options.tls = { ...rest, ...(ca === undefined ? {} : { ca: typeof ca === "string" ? ca : [...ca] }) };
    if (servername !== undefined) options.tlsServerName = servername;
    else if (isIP(host) === 0) options.tlsServerName = true;
  }
  return options;
}

const mechanisms: Readonly<Record<SaslOptions["mechanism"], SASLMechanismValue>> = {
  plain: SASLMechanisms.PLAIN,
  "scram-sha-256": SASLMechanisms.SCRAM_SHA_256,
  "scram-sha-512": SASLMechanisms.SCRAM_SHA_512,
  oauthbearer: SASLMechanisms.OAUTHBEARER,
};

function saslOf({ mechanism, username, password, token }: SaslOptions): SASLOptions {
  const options: SASLOptions = { mechanism: mechanisms[mechanism] };
  if (username !== undefined) options.username = username;
  if (password !== undefined) options.password = password;
  if (token !== undefined) options.token = token;
  return options;
}

/** For whoever wants the client library's own object: `Transport.client`. */
export function adminOptions(settings: Settings): AdminOptions {
  const { tls, sasl } = optionsOf(settings, settings.brokers[0] as BrokerAddress, { name: "admin" });
  return {
    clientId: settings.clientId,
    bootstrapBrokers: settings.brokers.map(placeOf),
    connectTimeout: settings.connectTimeoutMs,
    requestTimeout: settings.requestTimeoutMs,
    ...(tls === undefined ? {} : { tls }),
    ...(sasl === undefined ? {} : { sasl }),
  };
}

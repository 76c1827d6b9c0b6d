import type { Duplex } from "node:stream";
import { WaybillError } from "@waybill/core";
import { connect, type ChannelModel } from "amqplib";
import { placeOf, type BrokerAddress } from "./address.ts";
import { corkWrites } from "./cork.ts";
import { aborted, answered } from "./deadline.ts";
import { connectError, isRefusedHost, plain, refusedHost } from "./failures.ts";
import type { Settings } from "./options.ts";

/** One connection, from open to its end. It never comes back: another one takes its place. */
export interface Link {
  readonly model: ChannelModel;
  readonly place: string;
  /** Such as `3.10.8`. */
  readonly version: string;
  readonly isOpen: boolean;
  /** Of one frame, as it was agreed. */
  readonly frameMax: number;
  /** Whole frames, between those of the client. */
  readonly write: (bytes: Buffer) => void;
  /** Resolves when it has ended, whoever ended it. */
  readonly ended: Promise<WaybillError>;
  /** Ends it without a word. */
  destroy(reason: WaybillError): void;
  /** Says goodbye; bounded. */
  close(): Promise<void>;
}

export interface LinkOptions {
  readonly address: BrokerAddress;
  readonly settings: Settings;
  /** `publish` or `consume`: the broker shows it in the connection's name. */
  readonly role: string;
  readonly signal: AbortSignal;
  /** The broker takes no publishes any more, and why; undefined: it does again. */
  readonly onBlocked: (reason: string | undefined) => void;
}

const goodbyeMs = 1_000;
/** Above it the broker gains nothing, and one connection's large body holds up its other channels for longer. */
const frameMax = 131_072;

/** @throws `AUTH`, `TLS` (final), `CONNECTION`, `ABORTED` */
export async function openLink({ address, settings, role, signal, onBlocked }: LinkOptions): Promise<Link> {
  if (signal.aborted) throw aborted();
  const place = placeOf(address);
  const giveUp = Promise.withResolvers<never>();
  const onAbort = (): void => giveUp.reject(aborted());
  signal.addEventListener("abort", onAbort, { once: true });
  const opening = open(address, settings, role);
  try {
    const model = await Promise.race([opening, giveUp.promise]);
    return toLink(model, place, onBlocked);
  } catch (error) {
    // Nobody waits for it any more: what still comes is closed. The client's own time-out bounds it.
    opening.then(
      (late) => late.close().catch(() => undefined),
      () => undefined,
    );
    if (isRefusedHost(error)) throw refusedHost(place, address.vhost);
    throw connectError(error, place);
  } finally {
    signal.removeEventListener("abort", onAbort);
    giveUp.promise.catch(() => undefined);
  }
}

function open(address: BrokerAddress, settings: Settings, role: string): Promise<ChannelModel> {
  const { tls } = settings;
  return connect(
    {
      protocol: address.secure ? "amqps" : "amqp",
      hostname: address.host,
      port: address.port,
      username: address.username,
      password: address.password,
      // The client decodes it once more.
      vhost: encodeURIComponent(address.vhost),
      heartbeat: settings.heartbeatSeconds,
      frameMax,
    },
    {
      noDelay: true,
      keepAlive: true,
      timeout: settings.connectTimeoutMs,
      clientProperties: { connection_name: `${settings.connectionName} ${role}`, product: "waybill" },
      ...(address.secure
        ? {
            minVersion: "TLSv1.2" as const,
            ...(tls.ca === undefined ? {} : { ca: typeof tls.ca === "string" ? tls.ca : [...tls.ca] }),
            ...(tls.cert === undefined ? {} : { cert: tls.cert }),
            ...(tls.key === undefined ? {} : { key: tls.key }),
            ...(tls.passphrase === undefined ? {} : { passphrase: tls.passphrase }),
            ...(tls.servername === undefined ? {} : { servername: tls.servername }),
          }
        : {}),
    },
  );
}

function toLink(model: ChannelModel, place: string, onBlocked: LinkOptions["onBlocked"]): Link {
  const connection = model.connection as unknown as { readonly stream: Duplex; readonly frameMax: number; sentSinceLastCheck: boolean };
  const socket = connection.stream;
  const ended = Promise.withResolvers<WaybillError>();
  let isOpen = true;
  let said: Error | undefined;
  corkWrites(socket);

  function end(reason: WaybillError): void {
    if (!isOpen) return;
    isOpen = false;
    // The client says goodbye to a peer that may not be there; the socket would wait for it.
    socket.destroy();
    ended.resolve(reason);
  }

  // Without a listener an error would end the process.
  model.on("error", (error) => (said = error));
  model.on("close", (error) =>
    end(new WaybillError("CONNECTION_LOST", `${place}: the connection ended`, { cause: plain(said ?? error ?? new Error("closed")) })),
  );
  model.on("blocked", (reason) => onBlocked(reason));
  model.on("unblocked", () => onBlocked(undefined));
  return {
    model,
    place,
    version: model.connection.serverProperties.version,
    get isOpen() {
      return isOpen;
    },
    frameMax: connection.frameMax,
    write(bytes) {
      if (!isOpen) return;
      // Or there would be a heartbeat beside it.
      connection.sentSinceLastCheck = true;
      socket.write(bytes);
    },
    ended: ended.promise,
    destroy(reason) {
      end(reason);
      socket.destroy();
    },
    async close() {
      if (!isOpen) return;
      await answered("goodbye", model.close(), goodbyeMs).catch(() => undefined);
      end(new WaybillError("CLOSED", "the transport is closed"));
    },
  };
}

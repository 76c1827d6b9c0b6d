import { createServer, connect } from "node:net";
import type { AddressInfo, Server, Socket } from "node:net";
import { createConduit } from "./conduit.ts";
import type { Conduit, Direction, WireState } from "./conduit.ts";

export type { Direction } from "./conduit.ts";

/** Bytes are those that were passed on, of all connections since the start. */
export interface Traffic {
  readonly toServer: number;
  readonly toClient: number;
  /** By a black hole. */
  readonly swallowed: number;
  /** Accepted since the start, and open now. */
  readonly connections: number;
  readonly open: number;
  /** Connections that were reset by `cut`, `cutAfter` or `heal`. */
  readonly cuts: number;
  readonly refused: number;
}

/** What can be done to the connections between clients and servers. Faults last until `heal`. */
export interface Wire {
  traffic(): Traffic;
  /** Resets every connection (RST to both ends); answers how many there were. New ones are let through. */
  cut(): number;
  /** Passes so many further bytes, counted over all connections (in one direction, or both), and resets the connection that they end in. */
  cutAfter(bytes: number, direction?: Direction): void;
  /** Bytes vanish, and so does the end of a connection: the socket of the other side stays. */
  blackHole(direction: Direction | "both"): void;
  /** Everything arrives so much later, in order. */
  latency(delayMs: number): void;
  /** Every write is of so many bytes at most. */
  slice(bytes: number): void;
  /** New connections are reset as soon as they are made. */
  refuse(): void;
  /** Ends all faults. A connection that lost bytes in a hole is reset: what is missing cannot come any more. */
  heal(): void;
}

export interface ProxyConnection {
  /** 0, 1, 2 … in the order of their making. */
  readonly id: number;
  readonly toServer: number;
  readonly toClient: number;
  readonly swallowed: number;
  /** Resets it. */
  cut(): void;
}

export interface Proxy extends Wire, AsyncDisposable {
  readonly host: string;
  readonly port: number;
  /** Those that are open now. */
  connections(): readonly ProxyConnection[];
  /** Resets what is open and listens no more. Harmless twice. */
  close(): Promise<void>;
}

export interface ProxyOptions {
  /** Where connections go. */
  readonly host: string;
  readonly port: number;
  /** Default 127.0.0.1, and a free port. */
  readonly listen?: { readonly host?: string; readonly port?: number };
}

const connectMs = 10_000;
const maxConnections = 4_096;

/** A TCP proxy: without a fault chunks go through as they come, with the back-pressure of the slower side. */
export async function startProxy(options: ProxyOptions): Promise<Proxy> {
  const links = new Set<Link>();
  const total = { toServer: 0, toClient: 0, swallowed: 0, connections: 0, cuts: 0, refused: 0 };
  const state: WireState = { holes: new Set(), latencyMs: 0, sliceBytes: 0, cut: undefined };
  let refusing = false;

  const server = createServer({ noDelay: true, allowHalfOpen: true }, (client) => {
    client.on("error", () => undefined);
    if (refusing) {
      total.refused += 1;
      reset(client);
      return;
    }
    const link = createLink(client, options, state, total.connections, () => {
      links.delete(link);
      total.toServer += link.toServer.passed;
      total.toClient += link.toClient.passed;
      total.swallowed += link.toServer.swallowed + link.toClient.swallowed;
    });
    total.connections += 1;
    links.add(link);
  });
  server.maxConnections = maxConnections;
  await listening(server, options.listen?.host ?? "127.0.0.1", options.listen?.port ?? 0);
  const { address, port } = server.address() as AddressInfo;

  const cut = (which: Iterable<Link>): number => {
    let count = 0;
    for (const link of [...which]) {
      link.reset();
      count += 1;
    }
    total.cuts += count;
    return count;
  };
  const proxy: Proxy = {
    host: address,
    port,
    traffic() {
      const now = { ...total, open: links.size };
      for (const { toServer, toClient } of links) {
        now.toServer += toServer.passed;
        now.toClient += toClient.passed;
        now.swallowed += toServer.swallowed + toClient.swallowed;
      }
      return now;
    },
    connections: () =>
      [...links].map((link) => ({
        id: link.id,
        toServer: link.toServer.passed,
        toClient: link.toClient.passed,
        swallowed: link.toServer.swallowed + link.toClient.swallowed,
        cut: () => void (links.has(link) && cut([link])),
      })),
    cut: () => cut(links),
    cutAfter(bytes, direction) {
      state.cut = { left: bytes, direction, done: () => (total.cuts += 1) };
    },
    blackHole: (direction) => {
      for (const each of direction === "both" ? (["toServer", "toClient"] as const) : [direction]) state.holes.add(each);
    },
    latency: (delayMs) => void (state.latencyMs = delayMs),
    slice: (bytes) => void (state.sliceBytes = bytes),
    refuse: () => void (refusing = true),
    heal() {
      refusing = false;
      state.holes.clear();
      state.latencyMs = 0;
      state.sliceBytes = 0;
      state.cut = undefined;
      cut([...links].filter((link) => link.toServer.torn() || link.toClient.torn()));
      for (const link of links) link.flush();
    },
    async close() {
      for (const link of [...links]) link.reset();
      if (server.listening) await new Promise((resolve) => server.close(resolve));
    },
    [Symbol.asyncDispose]: () => proxy.close(),
  };
  return proxy;
}

interface Link {
  readonly id: number;
  readonly toServer: Conduit;
  readonly toClient: Conduit;
  reset(): void;
  flush(): void;
}

function createLink(client: Socket, to: ProxyOptions, state: WireState, id: number, onGone: () => void): Link {
  const server = connect({ host: to.host, port: to.port, noDelay: true, allowHalfOpen: true });
  const slow = setTimeout(() => link.reset(), connectMs);
  let gone = false;
  const toServer = createConduit(client, server, "toServer", state, () => link.reset());
  const toClient = createConduit(server, client, "toClient", state, () => link.reset());
  const link: Link = {
    id,
    toServer,
    toClient,
    reset() {
      // Both first: what closes is no news to the other side then.
      end();
      for (const socket of [client, server]) reset(socket);
    },
    flush() {
      toServer.flush();
      toClient.flush();
      passOn();
    },
  };
  const end = (): void => {
    clearTimeout(slow);
    toServer.stop();
    toClient.stop();
    if (gone) return;
    gone = true;
    onGone();
  };
  /** A side that broke off breaks the other, unless that is lost on the way. */
  const passOn = (): void => {
    if (client.destroyed && server.destroyed) return end();
    if (client.destroyed && !toServer.ended() && !toServer.isHole()) link.reset();
    else if (server.destroyed && !toClient.ended() && !toClient.isHole()) link.reset();
  };
  server.once("connect", () => clearTimeout(slow));
  for (const socket of [client, server]) socket.on("error", () => undefined).once("close", passOn);
  return link;
}

/**
 * Closes with RST, at once. `resetAndDestroy()` writes what is pending and a FIN before it, and waits for that; its own flag does
 * without. A socket that is being shut down cannot be reset any more.
 */
export function reset(socket: Socket & { resetAndClosing?: boolean }): void {
  if (!socket.connecting && !(socket.writableEnded && !socket.writableFinished)) socket.resetAndClosing = true;
  socket.destroy();
}

async function listening(server: Server, host: string, port: number): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once("error", reject).listen(port, host, resolve);
  await promise;
  server.off("error", reject);
}

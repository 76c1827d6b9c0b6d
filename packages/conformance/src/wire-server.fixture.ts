/** A server for the suite's own tests: a memory broker behind a TCP socket, one JSON value a line. */
import { createServer } from "node:net";
import type { AddressInfo, Socket } from "node:net";
import { createInterface } from "node:readline";
import { memoryBroker } from "@waybill/core";
import { reset } from "./proxy.ts";
import type { Delivery, Message, PublishOutcome, Settlement, SettleOutcome, SubscribeRequest, Subscription } from "@waybill/core";

export const heartbeatMs = 300;
export const deadAfterMs = 1_500;

export type WireMessage = Omit<Message, "body"> & { readonly body: string | null };
export interface WireDelivery extends Omit<Delivery, "message" | "handle"> {
  readonly message: WireMessage;
  /** Numbers of this connection alone, from 1. */
  readonly tag: number;
}
export type WireSettlement = Omit<Settlement, "delivery"> & { readonly tag: number };
export type Asking =
  | { readonly op: "ping" }
  | { readonly op: "publish"; readonly id: number; readonly messages: readonly WireMessage[] }
  | {
      readonly op: "subscribe";
      readonly id: number;
      readonly sub: number;
      readonly request: Omit<SubscribeRequest, "signal" | "onEvent" | "native">;
    }
  | { readonly op: "settle"; readonly id: number; readonly sub: number; readonly settlements: readonly WireSettlement[] }
  | { readonly op: "credit"; readonly sub: number; readonly credit: SubscribeRequest["credit"] }
  | { readonly op: "dispose"; readonly id: number; readonly sub: number };
export type Told =
  | { readonly pong: true }
  | { readonly id: number; readonly outcomes: readonly (true | { readonly code: string; readonly certainty: string })[] }
  | { readonly id: number; readonly settled: readonly SettleOutcome[] }
  | { readonly id: number; readonly done: true }
  | { readonly id: number; readonly refused: string }
  | { readonly sub: number; readonly deliveries: readonly WireDelivery[] };

export const toWire = (message: Message): WireMessage => ({
  ...message,
  body: message.body instanceof Uint8Array ? Buffer.from(message.body).toString("base64") : null,
});
export const fromWire = (message: WireMessage): Message => ({
  ...message,
  ...noFields,
  ...message,
  headers: Object.assign(Object.create(null) as Record<string, string>, message.headers),
  body: message.body === null ? null : new Uint8Array(Buffer.from(message.body, "base64")),
});
/** JSON has no undefined. */
const noFields = {
  group: undefined,
  key: undefined,
  deliverAt: undefined,
  expiresAt: undefined,
  priority: undefined,
  replyTo: undefined,
  correlationId: undefined,
  native: undefined,
};

export interface WireServer extends AsyncDisposable {
  readonly port: number;
  stop(): Promise<void>;
  start(): Promise<void>;
  /** Reads nothing and says nothing until `resume`; what is sent to it stays on its way. */
  pause(): void;
  resume(): void;
  block(): void;
  unblock(): void;
}

export async function startWireServer(): Promise<WireServer> {
  const broker = memoryBroker({ shape: "queue" });
  const sockets = new Set<Socket>();
  let paused = false;
  let port = 0;
  const serve = (socket: Socket): void => {
    sockets.add(socket);
    socket.on("error", () => undefined);
    const transport = broker.open();
    const ready = transport.connect({ signal: AbortSignal.timeout(5_000), onStatus: () => undefined });
    const subs = new Map<number, Subscription>();
    const tags = new Map<number, Delivery>();
    let tag = 0;
    let heardAt = performance.now();
    const tell = (told: Told): void => void socket.write(`${JSON.stringify(told)}\n`);
    const watch = setInterval(() => {
      if (paused) heardAt = performance.now();
      else if (performance.now() - heardAt > deadAfterMs) socket.destroy();
    }, heartbeatMs);
    const ask = async (asking: Asking): Promise<void> => {
      await ready;
      heardAt = performance.now();
      switch (asking.op) {
        case "ping":
          return tell({ pong: true });
        case "publish": {
          const outcomes = await transport.publish(asking.messages.map(fromWire), { signal: new AbortController().signal });
          return tell({ id: asking.id, outcomes: outcomes.map(outcomeOf) });
        }
        case "subscribe": {
          const { sub, request, id } = asking;
          try {
            const subscription = await transport.subscribe({
              ...request,
              topic: request.topic ?? undefined,
              pattern: request.pattern ?? undefined,
              group: request.group ?? undefined,
              native: undefined,
              signal: AbortSignal.timeout(5_000),
              onEvent: () => undefined,
            });
            subs.set(sub, subscription);
            tell({ id, done: true });
            for await (const batch of subscription.deliveries()) {
              const deliveries = batch.map((delivery): WireDelivery => {
                tag += 1;
                tags.set(tag, delivery);
                const { message, handle: _handle, ...rest } = delivery;
                return { ...rest, message: toWire(message), tag };
              });
              tell({ sub, deliveries });
            }
          } catch (error) {
            tell({ id, refused: (error as { code?: string }).code ?? "TRANSPORT" });
          }
          return;
        }
        case "settle": {
          const settlements = asking.settlements.map(({ tag: of, ...rest }) => ({ ...rest, delivery: tags.get(of) }) as Settlement);
          const settled = (await subs.get(asking.sub)?.settle(settlements)) ?? settlements.map(() => "lost" as const);
          return tell({ id: asking.id, settled });
        }
        case "credit":
          return subs.get(asking.sub)?.credit(asking.credit);
        case "dispose":
          await subs.get(asking.sub)?.[Symbol.asyncDispose]();
          return tell({ id: asking.id, done: true });
      }
    };
    createInterface({ input: socket })
      .on("line", (line) => {
        const asking = parse(line);
        if (asking !== undefined) void ask(asking).catch(() => socket.destroy());
      })
      .on("error", () => undefined);
    socket.on("close", () => {
      clearInterval(watch);
      sockets.delete(socket);
      void transport.close();
    });
    if (paused) socket.pause();
  };
  const server = createServer({ noDelay: true }, serve);
  const start = async (): Promise<void> => {
    if (server.listening) return;
    await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
    ({ port } = server.address() as AddressInfo);
  };
  const stop = async (): Promise<void> => {
    const closed = server.listening ? new Promise((resolve) => server.close(resolve)) : undefined;
    for (const socket of sockets) reset(socket);
    await closed;
  };
  await start();
  return {
    get port() {
      return port;
    },
    stop,
    start,
    pause() {
      paused = true;
      for (const socket of sockets) socket.pause();
    },
    resume() {
      paused = false;
      for (const socket of sockets) socket.resume();
    },
    block: () => broker.block(),
    unblock: () => broker.unblock(),
    [Symbol.asyncDispose]: stop,
  };
}

const outcomeOf = (outcome: PublishOutcome): true | { code: string; certainty: string } =>
  outcome.ok ? true : { code: outcome.error.code, certainty: outcome.error.certainty };

/** The last line of a connection that was cut may be half a one. */
function parse(line: string): Asking | undefined {
  try {
    return JSON.parse(line) as Asking;
  } catch {
    return undefined;
  }
}

/** The client of `wire-server.fixture.ts`, as an adapter should be; `wrong` names what it does wrong instead. */
import { connect as dial } from "node:net";
import type { Socket } from "node:net";
import { createInterface } from "node:readline";
import { memory, published, WaybillError } from "@waybill/core";
import type {
  Capabilities,
  ConnectOptions,
  Delivery,
  ErrorCode,
  PublishOutcome,
  Settlement,
  SubscribeRequest,
  Subscription,
  Transport,
} from "@waybill/core";
import { deadAfterMs, fromWire, heartbeatMs, toWire } from "./wire-server.fixture.ts";
import type { Asking, Told } from "./wire-server.fixture.ts";

export const wrongs = [
  "acks-by-tag",
  "forgets-subscriptions",
  "in-flight-fails",
  "in-flight-is-ok",
  "no-heartbeat",
  "waits-for-ever",
  "leaks",
] as const;
export type Wrong = (typeof wrongs)[number];

const none = { level: "none" } as const;
const capabilities: Capabilities = {
  ...memory().capabilities(),
  ...{ inbox: none, noResponders: none, transaction: none, inspect: none, topology: none, browse: none, remove: none, seek: none },
  ...{ patterns: none, deduplication: none, note: none, deadLetter: none, body: "bytes", durability: "D1", maxBodyBytes: 1 << 20 },
};

interface Sub {
  readonly number: number;
  readonly request: SubscribeRequest;
  credit: SubscribeRequest["credit"];
  readonly waiting: Delivery[];
  wake: PromiseWithResolvers<void>;
  ended: boolean;
}
type Answer = (told: Told | undefined) => void;

export function wireTransport(port: number, wrong?: Wrong): Transport {
  const subs = new Map<number, Sub>();
  const leaked: unknown[] = [];
  let asked = new Map<number, Answer>();
  let socket: Socket | undefined;
  let up = false;
  let closed = false;
  let numbers = 0;
  let generation = 0;
  let heardAt = 0;
  let again: NodeJS.Timeout | undefined;
  let onStatus: ConnectOptions["onStatus"] = () => undefined;

  const say = (asking: Asking): void => void socket?.write(`${JSON.stringify(asking)}\n`);
  const ask = (of: (id: number) => Asking): Promise<Told | undefined> => {
    const { promise, resolve } = Promise.withResolvers<Told | undefined>();
    if (!up) resolve(undefined);
    else {
      const id = (numbers += 1);
      asked.set(id, resolve);
      say(of(id));
    }
    return promise;
  };
  const hear = (told: Told): void => {
    heardAt = performance.now();
    if ("pong" in told) return;
    if ("sub" in told) {
      const sub = subs.get(told.sub);
      if (sub === undefined) return;
      for (const { tag, message, ...rest } of told.deliveries)
        sub.waiting.push({
          ...{ attempt: undefined, position: undefined, leaseMs: undefined, note: undefined },
          ...rest,
          message: fromWire(message),
          generation,
          handle: tag,
        });
      sub.wake.resolve();
      return;
    }
    asked.get(told.id)?.(told);
    asked.delete(told.id);
  };

  /** Resolves when the server has answered. */
  async function open(signal: AbortSignal): Promise<void> {
    const mine = dial({ host: "127.0.0.1", port, noDelay: true });
    const over = Promise.withResolvers<never>();
    const first = Promise.withResolvers<void>();
    over.promise.catch(() => undefined);
    mine
      .on("error", () => undefined)
      .once("close", () => {
        over.reject(new WaybillError("CONNECTION", "the server cannot be reached"));
        if (socket === mine) lost();
      });
    createInterface({ input: mine })
      .on("line", (line) => {
        first.resolve();
        if (socket === mine) hear(JSON.parse(line) as Told);
      })
      .on("error", () => undefined);
    const beat = setInterval(() => {
      mine.write(`${JSON.stringify({ op: "ping" } satisfies Asking)}\n`);
      if (socket === mine && wrong !== "no-heartbeat" && performance.now() - heardAt > deadAfterMs) mine.destroy();
    }, heartbeatMs);
    mine.once("close", () => clearInterval(beat));
    const limit = AbortSignal.any([signal, AbortSignal.timeout(2_000)]);
    const stop = (): void => void mine.destroy();
    limit.addEventListener("abort", stop, { once: true });
    mine.write(`${JSON.stringify({ op: "ping" } satisfies Asking)}\n`);
    try {
      if (limit.aborted) stop();
      await Promise.race([first.promise, over.promise]);
    } finally {
      limit.removeEventListener("abort", stop);
    }
    socket = mine;
    generation += 1;
    heardAt = performance.now();
    up = true;
    if (generation > 1 && wrong === "forgets-subscriptions") return;
    await Promise.all([...subs.values()].map(attach));
  }
  const attach = async (sub: Sub): Promise<void> => {
    const { signal: _signal, onEvent: _onEvent, native: _native, ...request } = sub.request;
    const told = await ask((id) => ({ op: "subscribe", id, sub: sub.number, request: { ...request, credit: sub.credit } }));
    if (told === undefined) throw new WaybillError("CONNECTION_LOST", "lost while subscribing");
    if ("refused" in told) throw new WaybillError(told.refused as ErrorCode, "the server refused it");
  };
  function lost(): void {
    up = false;
    socket = undefined;
    if (wrong === "leaks") leaked.push(new Uint8Array(1 << 20));
    const before = asked;
    asked = new Map();
    if (wrong !== "waits-for-ever") for (const answer of before.values()) answer(undefined);
    if (closed) return;
    for (const { request } of subs.values()) void request.onEvent({ kind: "lost", part: "", generation });
    onStatus("disconnected", new WaybillError("CONNECTION_LOST", "the connection broke"));
    retry();
  }
  function retry(): void {
    again = setTimeout(() => {
      if (closed) return;
      onStatus("connecting");
      open(new AbortController().signal).then(
        () => onStatus("connected"),
        () => (up ? undefined : retry()),
      );
    }, 50);
  }

  return {
    name: "wire",
    client: undefined,
    lanes: { of: () => "", batches: 4, maxMessages: 500, maxBytes: 1 << 20 },
    capabilities: () => capabilities,
    async connect(options) {
      ({ onStatus } = options);
      if (options.signal.aborted) throw new WaybillError("ABORTED", "the caller's signal fired");
      onStatus("connecting");
      await open(options.signal);
      onStatus("connected");
    },
    async close() {
      if (closed) return;
      closed = true;
      clearTimeout(again);
      for (const sub of subs.values()) end(sub);
      socket?.destroy();
      if (up) lost();
      onStatus("closed");
    },
    async publish(messages, { signal }) {
      const all = (code: ErrorCode, certainty: "definite" | "indefinite"): PublishOutcome[] =>
        messages.map(() => ({ ok: false, error: new WaybillError(code, "not confirmed", { certainty }) }));
      if (closed) return all("CLOSED", "definite");
      if (signal.aborted) return all("ABORTED", "definite");
      if (!up) return all("CONNECTION", "definite");
      const aborted = Promise.withResolvers<"aborted">();
      const onAbort = (): void => aborted.resolve("aborted");
      signal.addEventListener("abort", onAbort, { once: true });
      const told = await Promise.race([ask((id) => ({ op: "publish", id, messages: messages.map(toWire) })), aborted.promise]);
      signal.removeEventListener("abort", onAbort);
      if (told === "aborted") return all("ABORTED", "indefinite");
      if (told === undefined && wrong === "in-flight-is-ok") return messages.map(() => published);
      if (told === undefined || !("outcomes" in told))
        return all("CONNECTION_LOST", wrong === "in-flight-fails" ? "definite" : "indefinite");
      return told.outcomes.map((outcome) =>
        outcome === true ? published : { ok: false, error: new WaybillError(outcome.code as ErrorCode, "the server refused it") },
      );
    },
    async subscribe(request) {
      if (request.native !== undefined) throw new WaybillError("CONFIG", "no such option");
      const sub: Sub = {
        number: (numbers += 1),
        request,
        credit: request.credit,
        waiting: [],
        wake: Promise.withResolvers(),
        ended: false,
      };
      subs.set(sub.number, sub);
      try {
        await attach(sub);
      } catch (error) {
        subs.delete(sub.number);
        throw error;
      }
      return subscriptionOf(sub);
    },
  };

  function end(sub: Sub): void {
    sub.ended = true;
    sub.wake.resolve();
  }
  function subscriptionOf(sub: Sub): Subscription {
    return {
      address: undefined,
      async *deliveries() {
        for (; !sub.ended; sub.wake = sub.waiting.length > 0 ? sub.wake : Promise.withResolvers()) {
          await sub.wake.promise;
          if (sub.waiting.length > 0) yield sub.waiting.splice(0);
        }
      },
      async settle(settlements) {
        const stale = (settlement: Settlement): boolean => settlement.delivery.generation !== generation && wrong !== "acks-by-tag";
        const fresh = settlements.filter((settlement) => up && !stale(settlement));
        if (fresh.length === 0) return settlements.map(() => "lost");
        const told = await ask((id) => ({
          op: "settle",
          id,
          sub: sub.number,
          settlements: fresh.map(({ delivery, ...rest }) => ({ ...rest, tag: delivery.handle as number })),
        }));
        const settled = told !== undefined && "settled" in told ? told.settled : undefined;
        return settlements.map((settlement) => {
          const at = fresh.indexOf(settlement);
          return at < 0 ? "lost" : settled === undefined ? "unknown" : (settled[at] ?? "unknown");
        });
      },
      credit(credit) {
        sub.credit = credit;
        say({ op: "credit", sub: sub.number, credit });
      },
      async [Symbol.asyncDispose]() {
        if (!subs.delete(sub.number)) return;
        end(sub);
        await ask((id) => ({ op: "dispose", id, sub: sub.number }));
      },
    };
  }
}

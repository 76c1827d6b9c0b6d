import { Worker } from "node:worker_threads";
import type { WaybillError } from "@waybill/core";
import { toError } from "./errors.ts";
import { monotonicMs } from "./sql/clock.ts";
import type { Failure } from "./sql/failure.ts";
import { leaveTurns } from "./turns.ts";
import type { CallName, Calls, FromWorker, ToWorker, WorkerSettings } from "./worker/protocol.ts";
import { stateCells } from "./worker/protocol.ts";

export type Reply = Extract<FromWorker, { id: number }>;

export interface LinkEvents {
  /** Everything that answers no request. */
  readonly message: (message: Exclude<FromWorker, { id: number }>) => void;
  /** The worker ended by itself; a new one was started (`undefined`: it could not be, and will be tried again). */
  readonly restarted: () => void;
  readonly lost: (reason: WaybillError) => void;
  /** For tests: while it answers a promise, what the worker says waits for that. */
  readonly held: (() => Promise<void> | undefined) | undefined;
}

/** The worker that owns the connection, and the requests on their way to it. Each has a deadline, so no caller waits for ever. */
export interface Link {
  readonly member: number;
  readonly shared: Int32Array;
  /** Undefined: no worker runs at the moment. */
  request(message: ToWorker & { id: number }, transfer: readonly ArrayBuffer[], timeoutMs: number): Promise<Reply> | undefined;
  tell(message: ToWorker): void;
  nextId(): number;
  /** @throws what the worker answered, or `CONNECTION`, `PUBLISH_TIMEOUT`. */
  call<N extends CallName>(name: N, args: Calls[N]["args"], timeoutMs?: number): Promise<Calls[N]["answer"]>;
  close(): Promise<void>;
  /** For tests: ends the worker in the middle of what it does, and starts no other. */
  abandon(): void;
}

interface Pending {
  readonly resolve: (reply: Reply) => void;
  readonly until: number;
}

const beatMs = 250;
const restartMs = 100;
const closeMs = 5000;
/** Calls that look through large groups may take their time. */
const callMs = 30_000;

/** @throws what opening the file said: `CONFIG`, `FILE_VERSION`, `CORRUPT`, `DISK_FULL`, `CONNECTION`, `ABORTED`. */
export async function openLink(
  settings: Omit<WorkerSettings, "shared" | "member" | "incarnation">,
  signal: AbortSignal,
  events: LinkEvents,
): Promise<Link> {
  const shared = new Int32Array(new SharedArrayBuffer(stateCells * 4));
  const pending = new Map<number, Pending>();
  let worker: Worker | undefined;
  let member: number | undefined;
  let ids = 0;
  let started = 0;
  let starting: Worker | undefined;
  let closing = false;

  function beat(): void {
    Atomics.store(shared, 0, monotonicMs() | 0);
    const now = performance.now();
    for (const [id, one] of pending) {
      if (one.until > now) continue;
      pending.delete(id);
      one.resolve(failedReply(id, { code: "PUBLISH_TIMEOUT", text: "the embedded worker did not answer in time" }));
    }
  }
  const timer = setInterval(beat, beatMs);
  timer.unref();
  beat();

  function settleAll(failure: Failure): void {
    const all = [...pending];
    pending.clear();
    for (const [id, one] of all) one.resolve(failedReply(id, failure));
  }

  function receive(message: FromWorker): void {
    if (message.t === "many") {
      for (const one of message.messages) receive(one);
      return;
    }
    if (!("id" in message)) {
      events.message(message);
      return;
    }
    const one = pending.get(message.id);
    pending.delete(message.id);
    one?.resolve(message);
  }

  /** Resolves when the file is open; then the worker's messages are received. */
  function start(): Promise<void> {
    const source = import.meta.url.endsWith(".ts");
    const begun = new Worker(new URL(source ? "./worker/main.ts" : "./worker/main.js", import.meta.url), {
      workerData: { ...settings, shared: shared.buffer, member, incarnation: started++ } satisfies WorkerSettings,
      name: "waybill-embedded",
    });
    starting = begun;
    return new Promise((resolve, reject) => {
      let opened = false;
      begun.on("message", (message: FromWorker) => {
        if (opened) {
          const gate = events.held?.();
          if (gate === undefined) receive(message);
          else void gate.then(() => receive(message));
        } else if (message.t === "opened") {
          opened = true;
          member = message.member;
          worker = begun;
          resolve();
        } else if (message.t === "refused") reject(toError(message.failure));
      });
      begun.on("error", (error) => {
        if (!opened) reject(toError({ code: "CONNECTION", text: "the embedded worker could not start" }, error));
      });
      begun.on("exit", () => {
        leaveTurns(settings.turns, settings.place);
        if (!opened) reject(toError({ code: "CONNECTION", text: "the embedded worker ended while it opened the file" }));
        else if (worker === begun) ended();
      });
    });
  }

  function ended(): void {
    worker = undefined;
    settleAll({ code: "CONNECTION_LOST", text: "the embedded worker ended" });
    if (closing) return;
    events.lost(toError({ code: "CONNECTION", text: "the embedded worker ended; a new one is started" }));
    setTimeout(restart, restartMs);
  }

  function restart(): void {
    if (closing) return;
    start().then(events.restarted, (error: unknown) => {
      events.lost(error as WaybillError);
      setTimeout(restart, restartMs * 10);
    });
  }

  const link: Link = {
    get member() {
      return member ?? 0;
    },
    shared,
    nextId: () => ++ids,
    request(message, transfer, timeoutMs) {
      if (worker === undefined) return undefined;
      const running = worker;
      return new Promise((resolve) => {
        pending.set(message.id, { resolve, until: performance.now() + timeoutMs });
        running.postMessage(message, transfer);
      });
    },
    tell: (message) => worker?.postMessage(message),
    async call(name, args, timeoutMs = callMs) {
      const reply = await link.request({ t: "call", id: ++ids, name, args }, [], timeoutMs);
      if (reply === undefined) throw toError({ code: "CONNECTION", text: "the embedded worker is being started again" });
      if (reply.t === "failed") throw toError(reply.failure);
      if (reply.t !== "answer") throw toError({ code: "TRANSPORT", text: "the embedded worker answered something else" });
      return reply.value as never;
    },
    abandon() {
      closing = true;
      clearInterval(timer);
      void worker?.terminate();
    },
    async close() {
      closing = true;
      const running = worker;
      if (running !== undefined) {
        const exited = new Promise<void>((resolve) => running.once("exit", () => resolve()));
        await link.call("close", null, closeMs).catch(() => undefined);
        const late = setTimeout(() => void running.terminate(), closeMs);
        await exited;
        clearTimeout(late);
      }
      clearInterval(timer);
      settleAll({ code: "CLOSED", text: "the embedded transport was closed", certainty: "indefinite" });
    },
  };

  const abort = aborted(signal);
  try {
    await Promise.race([start(), abort.promise]);
  } catch (error) {
    closing = true;
    clearInterval(timer);
    void starting?.terminate();
    throw error;
  } finally {
    abort.stop();
  }
  return link;
}

function failedReply(id: number, failure: Failure): Reply {
  return { t: "failed", id, failure };
}

function aborted(signal: AbortSignal): { readonly promise: Promise<never>; stop(): void } {
  let fire: (() => void) | undefined;
  const promise = new Promise<never>((_resolve, reject) => {
    fire = () => reject(toError({ code: "ABORTED", text: "gave up opening the embedded file" }));
    if (signal.aborted) fire();
    else signal.addEventListener("abort", fire, { once: true });
  });
  promise.catch(() => undefined);
  return { promise, stop: () => signal.removeEventListener("abort", fire!) };
}

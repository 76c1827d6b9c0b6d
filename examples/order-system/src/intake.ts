import type { Order } from "./contracts.ts";
import type { Answer, HandedIn, OrderSource } from "./ipc.ts";

/** An order on its way to the shop; `line` is where it stands in the input. */
export interface Incoming {
  readonly order: Order;
  readonly source: OrderSource;
  readonly line?: number;
}

export interface IntakeOptions {
  /** How many more may be handed in now: back-pressure, and the pace of the chaos. */
  room(): number;
  /** False: there is no shop at the moment. */
  send(orders: readonly HandedIn[]): boolean;
  /** It is in the books: the customer has the shop's word. */
  onTaken(incoming: Incoming): void;
  /** It cannot be taken: another order has its id. */
  onUsed(incoming: Incoming): void;
  /** The shop could not take it now; it is handed in again. */
  onFailed(reason: string): void;
}

/** The customers: they hand in every order until the shop has answered that it is in the books, however often it dies in between. */
export interface Intake {
  /** Orders that the shop has answered for. */
  readonly taken: number;
  /** Handed in, and not answered yet. */
  readonly waiting: number;
  /** Resolves when the source has ended and every order of it is answered. */
  run(source: AsyncIterable<Incoming>, signal: AbortSignal): Promise<void>;
  answered(answers: readonly Answer[]): void;
  /** The shop is there, perhaps again: what is unanswered is handed in once more. */
  shopReady(): void;
  /** Room may have come. */
  wake(): void;
}

/** Unanswered ones at most; the shop works on them at once. */
const maxWaiting = 256;
const againMs = 200;

export function createIntake(options: IntakeOptions): Intake {
  const waiting = new Map<string, Incoming>();
  let taken = 0;
  let outgoing: HandedIn[] = [];
  let wakeUp: (() => void) | undefined;

  const wake = (): void => {
    const resume = wakeUp;
    wakeUp = undefined;
    resume?.();
  };
  const woken = (): Promise<void> => new Promise((resolve) => void (wakeUp = resolve));

  const flush = (): void => {
    const orders = outgoing;
    outgoing = [];
    // Unsent ones stay in `waiting`: the next shop gets them by `shopReady`.
    if (orders.length > 0) options.send(orders);
  };
  const hand = (incoming: Incoming, resent: boolean): void => {
    if (outgoing.push({ order: incoming.order, source: incoming.source, line: incoming.line, resent }) === 1) setImmediate(flush);
  };

  return {
    get taken() {
      return taken;
    },
    get waiting() {
      return waiting.size;
    },
    async run(source, signal) {
      const stopped = (): void => wake();
      signal.addEventListener("abort", stopped, { once: true });
      for await (const incoming of source) {
        while (!signal.aborted && (waiting.size >= maxWaiting || options.room() <= waiting.size)) await woken();
        if (signal.aborted) break;
        if (waiting.has(incoming.order.id)) {
          options.onUsed(incoming);
          continue;
        }
        waiting.set(incoming.order.id, incoming);
        hand(incoming, false);
      }
      while (waiting.size > 0) await woken();
      signal.removeEventListener("abort", stopped);
    },
    answered(answers) {
      for (const answer of answers) {
        const incoming = waiting.get(answer.id);
        if (incoming === undefined) continue;
        if (answer.outcome === "failed") {
          options.onFailed(answer.reason ?? "no reason given");
          setTimeout(() => {
            if (waiting.get(answer.id) === incoming) hand(incoming, true);
          }, againMs).unref();
          continue;
        }
        waiting.delete(answer.id);
        if (answer.outcome === "taken") {
          taken += 1;
          options.onTaken(incoming);
        } else {
          options.onUsed(incoming);
        }
      }
      wake();
    },
    shopReady() {
      outgoing = [];
      for (const incoming of waiting.values()) hand(incoming, true);
    },
    wake,
  };
}

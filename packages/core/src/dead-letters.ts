import type { DeadLetter, DeadLetters, ReplayOptions, ReplayReport } from "./dead-letter-types.ts";
import type { Clock } from "./clock.ts";
import { readCause, withoutCause } from "./dead-letter.ts";
import { WaybillError } from "./errors.ts";
import { sizeOf } from "./failure.ts";
import { noteHeader } from "./item.ts";
import type { Publisher } from "./publisher.ts";
import {
  deadLetterGroup,
  type Delivery,
  type Headers,
  type Message,
  type Position,
  type Subscription,
  type Transport,
} from "./transport.ts";

export interface DeadLettersOptions {
  readonly transport: Transport;
  readonly publisher: Publisher;
  readonly clock: Clock;
  /** The dead-letter topic. */
  readonly topic: string;
  readonly group: string;
  readonly mustBeOpen: () => void;
}

/** A dead letter with the way to be rid of it. */
interface Held {
  readonly letter: DeadLetter;
  readonly original: Message;
  readonly position: Position | undefined;
  readonly delivery: Delivery | undefined;
}
type Decision = "remove" | "keep" | "stop";

const pageSize = 200;
/** Without `browse`: no delivery for so long is the end of the topic. */
const quietMs = 500;

/**
 * The dead letters of one group. With `browse` and `remove` they are looked at where they lie; elsewhere they are taken as a
 * member of `deadLetterGroup` and those that stay are given back.
 */
export function createDeadLetters(options: DeadLettersOptions): DeadLetters {
  const { transport, publisher, clock, topic, group } = options;
  const never = new AbortController().signal;

  async function walk(signal: AbortSignal | undefined, decide: (held: Held) => Promise<Decision>): Promise<void> {
    options.mustBeOpen();
    const can = transport.capabilities(topic);
    const inPlace = can.browse.level !== "none" && can.remove.level !== "none";
    try {
      await (inPlace ? browse(signal ?? never, decide) : take(signal ?? never, decide));
    } catch (error) {
      // However far it came: its caller knows what was done.
      if (signal?.aborted !== true || !(error instanceof WaybillError) || error.code !== "ABORTED") throw error;
    }
  }

  async function browse(signal: AbortSignal, decide: (held: Held) => Promise<Decision>): Promise<void> {
    if (transport.browse === undefined || transport.remove === undefined)
      throw new WaybillError("CAPABILITY", `${transport.name} cannot browse`);
    let after: Position | undefined;
    for (;;) {
      const page = await transport.browse({ topic, group: deadLetterGroup, after, limit: pageSize, signal });
      for (const { message, position } of page) {
        if (signal.aborted) return;
        const decision = await decide({ letter: letterOf(message), original: message, position, delivery: undefined });
        if (decision === "remove") await transport.remove(topic, deadLetterGroup, [position]);
        if (decision === "stop") return;
        after = position;
      }
      if (page.length < pageSize) return;
    }
  }

  async function take(signal: AbortSignal, decide: (held: Held) => Promise<Decision>): Promise<void> {
    const can = transport.capabilities(topic);
    const subscription = await transport.subscribe({
      topic,
      pattern: undefined,
      group: deadLetterGroup,
      from: can.fromEarliest.level === "none" ? "latest" : "earliest",
      credit: { messages: 100_000, bytes: 256 * 1024 * 1024 },
      leaseMs: 60_000,
      order: "none",
      inbox: false,
      native: undefined,
      signal,
      onEvent: () => undefined,
    });
    const kept: Delivery[] = [];
    /** How many of them lie before one that was removed. */
    let passed = 0;
    const batches = subscription.deliveries()[Symbol.asyncIterator]();
    try {
      for (;;) {
        const batch = await nextWithin(batches, signal);
        if (batch === undefined) return;
        for (const delivery of batch) {
          const decision = signal.aborted
            ? "stop"
            : await decide({ letter: letterOf(delivery.message), original: delivery.message, position: delivery.position, delivery });
          if (decision === "remove") {
            await subscription.settle([{ kind: "ack", delivery }]);
            passed = kept.length;
          } else kept.push(delivery);
          if (decision === "stop") return;
        }
      }
    } finally {
      // What is given back is not to come again at once.
      subscription.credit({ messages: 0, bytes: 0 });
      try {
        await giveBack(subscription, kept, passed);
      } finally {
        await subscription[Symbol.asyncDispose]();
        // Not before: it may answer only after the `next` that still waits.
        batches.return?.().catch(() => undefined);
      }
    }
  }

  /**
   * A log cannot take one out of the middle: what lies before it is written again at the end, and passed only then. A page at a
   * time, so that who dies in between leaves few of them twice. The others stay where they are.
   */
  async function giveBack(subscription: Subscription, kept: readonly Delivery[], passed: number): Promise<void> {
    const moved = transport.capabilities(topic).retry.level === "none" ? passed : 0;
    for (let from = 0; from < moved; from += pageSize) {
      const page = kept.slice(from, Math.min(from + pageSize, moved));
      await Promise.all(page.map(({ message }) => publisher.add({ ...message, group: deadLetterGroup }, sizeOf(message.body))));
      await subscription.settle(page.map((delivery) => ({ kind: "ack", delivery })));
    }
    const rest = kept.slice(moved);
    if (rest.length > 0) await subscription.settle(rest.map((delivery) => ({ kind: "release", delivery })));
  }

  function nextWithin(batches: AsyncIterator<readonly Delivery[]>, signal: AbortSignal): Promise<readonly Delivery[] | undefined> {
    return new Promise((resolve, reject) => {
      const end = (batch: readonly Delivery[] | undefined): void => {
        timer.cancel();
        signal.removeEventListener("abort", onAbort);
        resolve(batch);
      };
      const onAbort = (): void => end(undefined);
      const timer = clock.after(quietMs, onAbort);
      if (signal.aborted) return onAbort();
      signal.addEventListener("abort", onAbort);
      batches.next().then(
        (result) => end(result.done === true ? undefined : result.value),
        (error: unknown) => {
          reject(error);
          end(undefined);
        },
      );
    });
  }

  function letterOf(message: Message): DeadLetter {
    const cause = readCause(message.headers);
    const original: Message = {
      ...message,
      topic: cause.topic === "" ? message.topic : cause.topic,
      group: undefined,
      headers: withoutCause(message.headers),
    };
    return { message: original, cause };
  }

  async function replay(settings: ReplayOptions = {}): Promise<ReplayReport> {
    if (transport.capabilities(topic).publishToGroup.level === "none") {
      throw new WaybillError("CAPABILITY", `${transport.name} cannot publish to one group: dead letters cannot be replayed`);
    }
    let matched = 0;
    let replayed = 0;
    let left = 0;
    const startedAt = clock.monotonic();
    // One that fails again comes back to the end of this topic: without them a replay of such a message would never end.
    const seen = new Set<string>();
    await walk(settings.signal, async ({ letter }) => {
      if (seen.has(letter.message.id)) {
        left += 1;
        return "keep";
      }
      if (settings.where !== undefined && !settings.where(letter)) {
        left += 1;
        return "keep";
      }
      matched += 1;
      if (settings.dryRun === true) return "keep";
      if (settings.rate !== undefined) await until(startedAt + (replayed * 1000) / settings.rate, settings.signal);
      if (settings.signal?.aborted === true) return "stop";
      const message = again(letter, settings.edit?.(letter));
      seen.add(letter.message.id);
      // Not with the signal: whoever gives up on one that is being written does not know whether it was.
      await publisher.add(message, sizeOf(message.body));
      replayed += 1;
      return "remove";
    });
    return { matched, replayed, left: left + matched - replayed };
  }

  function again({ message }: DeadLetter, edited: { readonly body?: unknown; readonly headers?: Headers } = {}): Message {
    const headers = withoutCause(edited.headers ?? message.headers) as Record<string, string>;
    // Fresh attempts.
    delete headers[noteHeader];
    return {
      ...message,
      group,
      headers,
      body: "body" in edited ? edited.body : message.body,
      deliverAt: undefined,
      expiresAt: undefined,
      native: undefined,
    };
  }

  async function until(dueAt: number, signal: AbortSignal | undefined): Promise<void> {
    const waitMs = dueAt - clock.monotonic();
    if (waitMs <= 0) return;
    await new Promise<void>((resolve) => {
      const timer = clock.after(waitMs, resolve);
      signal?.addEventListener("abort", () => (timer.cancel(), resolve()), { once: true });
    });
  }

  return {
    async list({ limit = 1_000, signal } = {}) {
      const letters: DeadLetter[] = [];
      if (limit < 1) return letters;
      await walk(signal, async ({ letter }) => {
        letters.push(letter);
        return letters.length < limit ? "keep" : "stop";
      });
      if (signal?.aborted === true) throw new WaybillError("ABORTED", "the caller's signal fired");
      return letters;
    },
    async count() {
      let count = 0;
      await walk(undefined, async () => {
        count += 1;
        return "keep";
      });
      return count;
    },
    replay,
    async discard({ where, dryRun, signal }) {
      let count = 0;
      await walk(signal, async ({ letter }) => {
        if (!where(letter)) return "keep";
        count += 1;
        return dryRun === true ? "keep" : "remove";
      });
      return count;
    },
  };
}

import type { DeadLetter, DeadLetters, ReplayOptions, ReplayReport } from "./dead-letter-types.ts";
import type { Clock } from "./clock.ts";
import { readCause, withoutCause } from "./dead-letter.ts";
import { WaybillError } from "./errors.ts";
import { sizeOf } from "./failure.ts";
import { noteHeader } from "./item.ts";
import type { Publisher } from "./publisher.ts";
import { deadLetterGroup, type Delivery, type Headers, type Message, type Position, type Subscription, type Transport } from "./transport.ts";

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
    await (inPlace ? browse(signal ?? never, decide) : take(signal ?? never, decide));
  }

  async function browse(signal: AbortSignal, decide: (held: Held) => Promise<Decision>): Promise<void> {
    if (transport.browse === undefined || transport.remove === undefined) throw new WaybillError("CAPABILITY", `${transport.name} cannot browse`);
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
      topic, pattern: undefined, group: deadLetterGroup, from: can.fromEarliest.level === "none" ? "latest" : "earliest",
      credit: { messages: 100_000, bytes: 256 * 1024 * 1024 }, leaseMs: 60_000, order: "none", inbox: false, native: undefined, signal, onEvent: () => undefined,
    });
    const kept: Delivery[] = [];
    const removed: Delivery[] = [];
    const batches = subscription.deliveries()[Symbol.asyncIterator]();
    try {
      for (;;) {
        const batch = await nextWithin(batches, signal);
        if (batch === undefined) return;
        for (const delivery of batch) {
          const decision = signal.aborted ? "stop" : await decide({ letter: letterOf(delivery.message), original: delivery.message, position: delivery.position, delivery });
          if (decision === "remove") removed.push(delivery);
          else kept.push(delivery);
          if (decision === "stop") return;
        }
      }
    } finally {
      await batches.return?.();
      await settleTaken(subscription, removed, kept);
      await subscription[Symbol.asyncDispose]();
    }
  }

  /**
   * A log cannot take one out of the middle: what stays is written again at its end, and only then are the old ones passed.
   * Where nothing was removed nothing is written.
   */
  async function settleTaken(subscription: Subscription, removed: readonly Delivery[], kept: readonly Delivery[]): Promise<void> {
    const requeues = transport.capabilities(topic).retry.level !== "none";
    if (!requeues && removed.length > 0) {
      await Promise.all(kept.map(({ message }) => publisher.add({ ...message, group: deadLetterGroup }, sizeOf(message.body))));
      await subscription.settle([...removed, ...kept].map((delivery) => ({ kind: "ack", delivery })));
      return;
    }
    await subscription.settle([
      ...removed.map((delivery) => ({ kind: "ack", delivery }) as const),
      ...kept.map((delivery) => ({ kind: "release", delivery }) as const),
    ]);
  }

  function nextWithin(batches: AsyncIterator<readonly Delivery[]>, signal: AbortSignal): Promise<readonly Delivery[] | undefined> {
    return new Promise((resolve, reject) => {
      const timer = clock.after(quietMs, () => resolve(undefined));
      signal.addEventListener("abort", () => resolve(undefined), { once: true });
      batches.next().then((result) => {
        timer.cancel();
        resolve(result.done === true ? undefined : result.value);
      }, reject);
    });
  }

  function letterOf(message: Message): DeadLetter {
    const cause = readCause(message.headers);
    const original: Message = { ...message, topic: cause.topic === "" ? message.topic : cause.topic, group: undefined, headers: withoutCause(message.headers) };
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
      await publisher.add(message, sizeOf(message.body), settings.signal);
      replayed += 1;
      return "remove";
    });
    return { matched, replayed, left: left + matched - replayed };
  }

  function again({ message }: DeadLetter, edited: { readonly body?: unknown; readonly headers?: Headers } = {}): Message {
    const headers = withoutCause(edited.headers ?? message.headers) as Record<string, string>;
    // Fresh attempts.
    delete headers[noteHeader];
    return { ...message, group, headers, body: "body" in edited ? edited.body : message.body, deliverAt: undefined, expiresAt: undefined, native: undefined };
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

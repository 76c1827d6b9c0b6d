import type { Channel, ConsumeMessage } from "amqplib";
import { isDelicate } from "./careful.ts";
import { answered } from "./deadline.ts";
import { replyError } from "./failures.ts";

/** What one channel takes in of its queue: as much as the credit lets it, but delicate messages one at a time. */
export interface Consumption {
  /** The credit has changed. Rejects when the channel is gone. */
  adjust(): Promise<void>;
  peek(): ConsumeMessage | undefined;
  shift(): void;
  /** Something was settled: it may be the time for what was held back. */
  settled(): void;
  /** All that was not handed out, and is not any more. */
  withdraw(): readonly ConsumeMessage[];
  /** No change is under way any more. */
  readonly idle: Promise<void>;
  readonly isAttached: boolean;
  readonly prefetch: number;
  /** How many were not handed out. */
  readonly waiting: number;
  /** Ends the consumer, without a word of ours after it. */
  end(): Promise<void>;
}

export interface ConsumptionOptions {
  readonly channel: Channel;
  readonly queue: string;
  readonly replyTimeoutMs: number;
  readonly nextTag: () => string;
  readonly priority: number | undefined;
  /** As they come, delicate or not: they must stay in order, or nobody handles them. */
  readonly plain: boolean;
  /** Of the credit; 0: nothing. */
  readonly wanted: () => number;
  /** Nothing of this channel is in anybody's hands. */
  readonly quiet: () => boolean;
  readonly arrived: (raw: ConsumeMessage) => void;
  readonly cancelled: () => void;
  readonly broken: (error: unknown) => void;
  /** Of several delicate ones all but the first: they are written again, uncounted. */
  readonly writeAgain: (raw: ConsumeMessage) => Promise<void>;
  readonly giveBack: (raw: ConsumeMessage) => void;
  readonly wake: () => void;
}

const maxPrefetch = 65_535;

export function createConsumption(options: ConsumptionOptions): Consumption {
  const { channel, queue, plain } = options;
  const what = `consuming queue "${queue}"`;
  let waiting: ConsumeMessage[] = [];
  let next = 0;
  /** Delicate ones that came among others. */
  let held: ConsumeMessage[] = [];
  let phase: "one at a time" | "many" | "ending many" | "alone" = "many";
  let consumer: string | undefined;
  let prefetch = 0;
  /** Delicate ones on their way to `waiting`. */
  let coming = 0;
  let ended = false;
  let changing: Promise<void> = Promise.resolve();

  const reply = <T>(work: Promise<T>): Promise<T> => answered(what, work, options.replyTimeoutMs);

  /** One change at a time. */
  function adjust(): Promise<void> {
    const change = changing.then(changeNow);
    changing = change.catch(() => undefined);
    return change;
  }

  function target(): number {
    const most = ended || phase === "ending many" || phase === "alone" ? 0 : Math.min(maxPrefetch, options.wanted());
    return phase === "one at a time" ? Math.min(1, most) : most;
  }

  async function changeNow(): Promise<void> {
    const wanted = target();
    if (wanted === prefetch) return;
    try {
      if (consumer !== undefined) {
        const tag = consumer;
        consumer = undefined;
        await reply(channel.cancel(tag));
      }
      prefetch = wanted;
      if (wanted === 0) {
        if (options.wanted() === 0) for (const raw of withdraw()) options.giveBack(raw);
        settled();
        return;
      }
      await reply(channel.prefetch(wanted));
      const tag = options.nextTag();
      consumer = tag;
      const { priority } = options;
      await reply(
        channel.consume(queue, (raw) => arrived(tag, raw), { consumerTag: tag, ...(priority === undefined ? {} : { priority }) }),
      );
    } catch (error) {
      throw replyError(error, what);
    }
  }

  function change(to: typeof phase): void {
    phase = to;
    adjust().catch(options.broken);
  }

  function arrived(tag: string, raw: ConsumeMessage | null): void {
    if (raw === null) {
      if (consumer === tag) options.cancelled();
      return;
    }
    options.arrived(raw);
    const delicate = isDelicate(raw);
    if (delicate && !plain && (phase === "many" || phase === "ending many")) {
      held.push(raw);
      if (phase === "many") change("ending many");
      return;
    }
    if (phase === "one at a time" && !delicate) change("many");
    if (delicate && !plain) return void handOutAlone(raw);
    waiting.push(raw);
    options.wake();
  }

  /** It may end the process at once: by the time of this answer the broker has heard what was settled before. */
  async function handOutAlone(raw: ConsumeMessage): Promise<void> {
    coming += 1;
    try {
      await new Promise(setImmediate);
      await reply(channel.prefetch(1));
    } catch {
      // The channel is gone, and the message with it.
      return;
    } finally {
      coming -= 1;
    }
    if (ended) return;
    waiting.push(raw);
    options.wake();
  }

  /** What came with the delicate ones is handled first; then the first of them, with nothing else in hand. */
  function settled(): void {
    if (ended || next < waiting.length || coming > 0 || !options.quiet()) return;
    if (phase === "alone") return change("one at a time");
    if (phase !== "ending many" || consumer !== undefined) return;
    phase = "alone";
    const [first, ...others] = held;
    held = [];
    void Promise.all(others.map(options.writeAgain)).then(() => {
      if (!ended && first !== undefined) void handOutAlone(first);
    });
  }

  function withdraw(): readonly ConsumeMessage[] {
    const left = [...waiting.slice(next), ...held];
    [waiting, next, held] = [[], 0, []];
    if (phase === "ending many" || phase === "alone") phase = "one at a time";
    return left;
  }

  return {
    adjust,
    peek: () => waiting[next],
    shift() {
      next += 1;
      if (next === waiting.length) [waiting, next] = [[], 0];
    },
    settled,
    withdraw,
    get idle() {
      return changing;
    },
    get isAttached() {
      return consumer !== undefined;
    },
    get waiting() {
      return waiting.length - next + held.length + coming;
    },
    get prefetch() {
      return prefetch;
    },
    async end() {
      ended = true;
      await changing;
      const tag = consumer;
      consumer = undefined;
      if (tag !== undefined) await channel.cancel(tag);
      // By the time of another answer the channel has passed on all that it was told before.
      await channel.prefetch(1);
    },
  };
}

import { WaybillError, type Delivery, type Message, type Settlement } from "@waybill/core";
import { stepFor } from "./delay-steps.ts";
import { pause } from "./deadline.ts";
import { dueKeys, type Names } from "./names.ts";
import type { Settings } from "./options.ts";
import type { Extra } from "./properties.ts";
import type { Publisher } from "./publisher.ts";
import type { TopologyMaker } from "./topology.ts";

/** AMQP changes nothing in a message: what has to wait, or to be counted anew, is written again, and then acknowledged. */
export interface Rewriter {
  /** @throws `CAPABILITY`: no queue keeps it for so long. */
  check(delayMs: number): void;
  /** True: the copy is confirmed. */
  retry(queue: string, settlement: Extract<Settlement, { kind: "retry" }>): Promise<boolean>;
  /** Back to its queue, with no more attempts than these. `careful`: to be taken alone. True: the copy is confirmed. */
  again(queue: string, message: Message, attempts: number, careful: boolean): Promise<boolean>;
  /** As `again`, until it is confirmed or `wanted` says no. */
  renew(queue: string, message: Message, attempts: number, wanted: () => boolean): Promise<boolean>;
  /** How long a message whose copy failed is held before it goes back. */
  holdMs(delayMs: number): number;
}

const confirmMs = 5_000;
const againMs = 1_000;

export interface RewriterOptions {
  readonly settings: Settings;
  readonly names: Names;
  readonly topology: TopologyMaker;
  readonly publisher: Publisher;
}

export function createRewriter({ settings, names, topology, publisher }: RewriterOptions): Rewriter {
  const steps = settings.delayStepsMs;

  function check(delayMs: number): void {
    if (!settings.declare)
      throw new WaybillError("CAPABILITY", "retry: its queues are declared when they are first used, and declare is false");
    if (stepFor(delayMs, steps) === undefined) throw new WaybillError("CAPABILITY", `retry: a delay above ${steps.at(-1)} ms (delaySteps)`);
  }

  async function write(message: Message, to: { readonly exchange: string; readonly routingKey: string }, extra: Extra): Promise<boolean> {
    const outcome = await publisher.copy(message, to, extra, AbortSignal.timeout(confirmMs));
    return outcome.ok;
  }

  function again(queue: string, message: Message, attempts: number, careful: boolean): Promise<boolean> {
    const { topic } = message;
    return write(message, { exchange: "", routingKey: queue }, { topic, attempts, careful, ...expiration(message) });
  }

  return {
    check,
    async retry(queue, { delivery, delayMs, note }) {
      const { message, attempt } = delivery;
      const extra: Extra = {
        topic: message.topic,
        attempts: attempt ?? 0,
        ...(note === undefined ? {} : { note }),
      };
      if (delayMs <= 0) return write(message, { exchange: "", routingKey: queue }, { ...extra, ...expiration(message) });
      const step = stepFor(delayMs, steps) as number;
      try {
        await topology.step(step);
      } catch {
        return false;
      }
      return write(message, { exchange: names.delay(step), routingKey: dueKeys.queue(queue) }, extra);
    },
    again,
    async renew(queue, message, attempts, wanted) {
      const never = new AbortController().signal;
      while (wanted()) {
        if (await again(queue, message, attempts, false)) return true;
        await pause(againMs, never);
      }
      return false;
    },
    holdMs: (delayMs) => Math.min(Math.max(delayMs, 200), confirmMs),
  };
}

function expiration({ expiresAt }: Delivery["message"]): Extra {
  return expiresAt === undefined ? {} : { expirationMs: expiresAt - Date.now() };
}

/** What an actor of a crash case does: the same in a process of its own and in this one. */
import { createBus, event, fixed } from "@waybill/core";
import type { Bus, Transport } from "@waybill/core";
import { crashSite } from "./crash-points.ts";
import type { CrashPlan, Die } from "./crash-points.ts";
import type { UnsequencedRecord } from "./history.ts";
import { createRecorder, handleMiddleware, record } from "./recorder.ts";
import type { TargetStore } from "./target.ts";

interface Common {
  readonly run: string;
  readonly seed: number;
  readonly proc: string;
  readonly inc: number;
  readonly topic: string;
  readonly crash?: CrashPlan;
}
export interface ProducerScript extends Common {
  readonly role: "producer";
  readonly count: number;
  readonly keys: number;
  /** In how many messages the process that handles them ends. */
  readonly poison?: number;
  /** The number of the message that blocks the process which handles it. */
  readonly blocks?: number;
  /** Begins when it is told to. */
  readonly waits?: boolean;
}
export interface ConsumerScript extends Common {
  readonly role: "consumer";
  readonly group: string;
  readonly concurrency: number;
  readonly leaseMs: number;
  readonly attempts: number;
  /** A body with a number that this divides fails for good. */
  readonly failEvery?: number;
  /** An effect by a store, in the same database as the transport or in another one. */
  readonly store?: "joined" | "separate";
  /** Publishes the outcome here. */
  readonly output?: string;
  readonly orderBy?: "key";
  /** How long each message takes. */
  readonly handleMs?: number;
}
export type Script = ProducerScript | ConsumerScript;

export interface Stage {
  readonly transport: Transport;
  readonly store: TargetStore | undefined;
  readonly write: (record: UnsequencedRecord) => void;
  readonly die: Die;
  /** Resolves when who waits is to begin. */
  readonly go: Promise<void>;
}

export interface Acting {
  /** Subscribed, or publishing. */
  readonly ready: Promise<void>;
  /** A producer has published all that it was to. */
  readonly done: Promise<void>;
  /** Gracefully. */
  stop(): Promise<void>;
  readonly bus: Bus;
}

/** The fault that a process notes before it blocks. */
export const blocked = "blocked";

export interface Work {
  readonly number: number;
  readonly poison?: boolean;
  readonly blocks?: boolean;
}

export function act(script: Script, stage: Stage): Acting {
  const recorder = createRecorder({ run: script.run, seed: script.seed, proc: script.proc, inc: script.inc, write: stage.write });
  const site = crashSite(script.crash, stage.die);
  const transport = record(site.transport(stage.transport), recorder, { handles: true });
  const bus = createBus({ name: script.proc, transport, publish: { timeout: "10s" } });
  recorder.add({ f: "process", type: "start" });
  const ready = (async () => {
    await stage.store?.prepare();
    if (script.role === "consumer") consume(script, stage, bus, site, recorder);
    await bus.start();
  })();
  const done = ready.then(async () => {
    if (script.role !== "producer") return;
    if (script.waits === true) await stage.go;
    await produce(script, bus);
  });
  done.catch(() => undefined);
  return {
    bus,
    ready,
    done,
    async stop() {
      await bus.close({ drain: "10s" });
      await stage.store?.close();
      recorder.add({ f: "process", type: "end" });
    },
  };
}

/** Nothing of this thread goes on; its process stays, with whatever other threads it has. */
function block(recorder: ReturnType<typeof createRecorder>): never {
  recorder.add({ f: "fault", type: "start", fault: blocked });
  for (;;);
}

async function produce(script: ProducerScript, bus: Bus): Promise<void> {
  const contract = event<Work>(script.topic, { key: (work) => `k${work.number % script.keys}` });
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < script.count) {
      const number = next;
      next += 1;
      const id = `${script.proc}.${script.inc}.${number}`;
      const body: Work = {
        number,
        ...(number < (script.poison ?? 0) ? { poison: true } : {}),
        ...(number === script.blocks ? { blocks: true } : {}),
      };
      // Its outcome is in the history.
      await bus.publish(contract, body, { id }).catch(() => undefined);
    }
  };
  await Promise.all(Array.from({ length: 20 }, worker));
}

function consume(
  script: ConsumerScript,
  stage: Stage,
  bus: Bus,
  site: ReturnType<typeof crashSite>,
  recorder: ReturnType<typeof createRecorder>,
): void {
  const { store } = stage;
  const output = script.output === undefined ? undefined : event<Work>(script.output);
  bus.subscribe(
    event<Work>(script.topic),
    {
      group: script.group,
      concurrency: script.concurrency,
      lease: script.leaseMs,
      ...(script.orderBy === undefined ? {} : { orderBy: script.orderBy }),
      retry: { attempts: script.attempts, backoff: fixed("20ms"), deadLetter: true },
      middleware: [handleMiddleware(recorder), site.middleware],
      ...(store === undefined ? {} : { exactlyOnce: site.store(store.store) }),
    },
    async (work, ctx) => {
      if (work.poison === true) await site.die();
      if (script.handleMs !== undefined) await new Promise((resolve) => setTimeout(resolve, script.handleMs));
      if (work.blocks === true) block(recorder);
      if (script.failEvery !== undefined && work.number % script.failEvery === 0) throw new Error("fails for good");
      await new Promise(setImmediate);
      if (store !== undefined) await store.apply(ctx.tx, script.group, ctx.message.id);
      if (output !== undefined) await ctx.publish(output, work, { id: `out.${ctx.message.id}` });
    },
  );
}

/** A process of a test: opens the transport, does what it is told, and reports over IPC. */
import { embedded } from "./transport.ts";
import { message, never, publishAll, take } from "./test.fixture.ts";
import type { EmbeddedTransport } from "./transport.ts";

export type ChildOrder =
  /** Takes and acknowledges after `holdMs` (undefined: never). */
  | {
      readonly do: "consume";
      readonly topic: string;
      readonly group: string;
      readonly order: "none" | "key";
      readonly credit: number;
      readonly leaseMs: number;
      readonly holdMs: number | undefined;
    }
  /** One batch after the other until it is told to stop; with `waits` from when it is told to go. */
  | { readonly do: "flood"; readonly topic: string; readonly batch: number; readonly waits?: boolean }
  | { readonly do: "go" }
  | { readonly do: "publish"; readonly topic: string; readonly bodies: readonly string[]; readonly key?: string }
  | { readonly do: "stop" };

export type ChildTold =
  | { readonly kind: "ready" }
  | {
      readonly kind: "got";
      readonly body: string;
      readonly key: string | undefined;
      readonly attempt: number | undefined;
      readonly at: number;
      readonly pid: number;
    }
  | { readonly kind: "acked"; readonly body: string; readonly outcome: string; readonly at: number }
  | { readonly kind: "published"; readonly count: number; readonly longestMs: number };

const now = (): number => Number(process.hrtime.bigint()) / 1e6;
const tell = (told: ChildTold): void => void process.send?.(told);
let stopped = false;
const go = Promise.withResolvers<void>();

async function run(transport: EmbeddedTransport, order: ChildOrder): Promise<void> {
  if (order.do === "consume") {
    const { topic, group, credit, leaseMs } = order;
    const taken = await take(transport, {
      topic,
      group,
      order: order.order,
      credit: { messages: credit, bytes: 1e9 },
      leaseMs,
      from: "earliest",
    });
    tell({ kind: "ready" });
    for (let next = 0; !stopped;) {
      const delivery = taken.got[next];
      if (delivery === undefined) {
        await new Promise((resolve) => setTimeout(resolve, 1));
        continue;
      }
      next++;
      const body = Buffer.from(delivery.message.body as Uint8Array).toString();
      tell({ kind: "got", body, key: delivery.message.key, attempt: delivery.attempt, at: now(), pid: process.pid });
      if (order.holdMs === undefined) continue;
      await new Promise((resolve) => setTimeout(resolve, order.holdMs));
      const at = now();
      const [outcome] = await taken.subscription.settle([{ kind: "ack", delivery }]);
      tell({ kind: "acked", body, outcome: String(outcome), at });
    }
  } else if (order.do === "flood") {
    tell({ kind: "ready" });
    if (order.waits === true) await go.promise;
    let count = 0;
    let longestMs = 0;
    while (!stopped) {
      const batch = Array.from({ length: order.batch }, () => message(order.topic, "x".repeat(100)));
      const start = performance.now();
      await publishAll(transport, batch);
      longestMs = Math.max(longestMs, performance.now() - start);
      count += batch.length;
    }
    tell({ kind: "published", count, longestMs });
  } else if (order.do === "publish") {
    tell({ kind: "ready" });
    await publishAll(
      transport,
      order.bodies.map((body) => message(order.topic, body, { key: order.key })),
    );
    tell({ kind: "published", count: order.bodies.length, longestMs: 0 });
  }
}

if (process.argv[2] !== undefined && process.send !== undefined) {
  const { path, order } = JSON.parse(process.argv[2]) as { path: string; order: ChildOrder };
  const transport = embedded({ path });
  await transport.connect({ signal: never, onStatus: () => undefined });
  process.on("message", (next: ChildOrder) => {
    if (next.do === "stop") stopped = true;
    else if (next.do === "go") go.resolve();
    else void run(transport, next);
  });
  await run(transport, order);
  await transport.close();
  process.disconnect();
}

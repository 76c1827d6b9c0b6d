import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import type { Worker } from "node:worker_threads";
import { embedded } from "./transport.ts";
import { atEnd, message, never, publishAll, take, tempFile, until } from "./test.fixture.ts";

test("a worker that ends by itself is replaced: nothing hangs, nothing acknowledged is lost", async (t) => {
  const path = tempFile(t);
  const workers: Worker[] = [];
  const note = (worker: Worker): number => workers.push(worker);
  process.on("worker", note);
  atEnd(t, () => process.off("worker", note));
  const transport = embedded({ path });
  atEnd(t, () => transport.close());
  const statuses: string[] = [];
  await transport.connect({ signal: never, onStatus: (status) => void statuses.push(status) });
  const taken = await take(transport, { topic: "a", group: "g", leaseMs: 1000 });
  const sent: string[] = [];
  let running = true;
  const flood = (async () => {
    for (let n = 0; running; n++) {
      const batch = Array.from({ length: 20 }, (_, i) => message("a", `${n}.${i}`));
      const outcomes = await transport.publish(batch, { signal: never });
      outcomes.forEach((outcome, i) => {
        if (outcome.ok) sent.push(batch[i]!.id);
      });
      await new Promise((resolve) => setImmediate(resolve));
    }
  })();
  const settled = new Set<string>();
  const settling = (async () => {
    for (let next = 0; running || next < taken.got.length;) {
      const part = taken.got.slice(next, next + 50);
      next += part.length;
      const outcomes = await taken.subscription.settle(part.map((delivery) => ({ kind: "ack", delivery })));
      outcomes.forEach((outcome, i) => {
        if (outcome === "done") settled.add(part[i]!.message.id);
      });
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  })();
  for (let round = 0; round < 3; round++) {
    const before = sent.length;
    await until("some traffic", () => sent.length > before + 200);
    const worker = workers.at(-1)!;
    const exited = once(worker, "exit");
    await worker.terminate();
    await exited;
    await until("a new worker", () => statuses.filter((status) => status === "connected").length === round + 2);
  }
  running = false;
  await flood;
  await settling;
  await publishAll(transport, [message("a", "last")]);
  await until("all that was confirmed", () => {
    const got = new Set(taken.got.map(({ message: { id } }) => id));
    return sent.every((id) => got.has(id));
  });
  assert(statuses.includes("disconnected"));
  await taken[Symbol.asyncDispose]();
  assert(settled.size > 0);
});

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { createBus, event, fixed, type Bus, type Transaction } from "@waybill/core";
import { keep, messageOf, publishAll, startReal, until, type Real } from "../consume/real.fixture.ts";
import { kafka, type KafkaTransport } from "../kafka.ts";
import type { KafkaOptions } from "../options.ts";

let real: Real;
before(async () => void (real = await startReal()));
after(async () => real[Symbol.asyncDispose]());

const never = new AbortController().signal;

async function begin(transport: KafkaTransport): Promise<Transaction> {
  const tx = await transport.begin?.({ signal: never });
  assert(tx !== undefined);
  return tx;
}

/** Reads committed messages alone, as every reader of ours does. */
async function committed(topic: string, count: number): Promise<readonly string[]> {
  const reader = await keep(await real.open(), { topic, group: undefined, from: "earliest" }, false);
  await until("the output", () => reader.got.length >= count, 60_000);
  return reader.got.map(({ message: { body } }) => Buffer.from(body as Uint8Array).toString());
}

test("E12 what is rolled back is never seen, and what comes after it is", async () => {
  const transport = await real.open();
  const topic = real.unique("aborted");
  for (const [at, end] of (["commit", "rollback", "commit", "rollback", "rollback", "commit"] as const).entries()) {
    const tx = await begin(transport);
    for (let part = 0; part < 3; part += 1) {
      const messages = Array.from({ length: 5 }, (_, key) => messageOf(topic, { key: `k${key}`, body: Buffer.from(`${at}/${end}`) }));
      const outcomes = await transport.publish(messages, { signal: never, tx });
      assert(outcomes.every(({ ok }) => ok));
    }
    await tx[end]();
    if (end === "commit") await tx.rollback();
    else await assert.rejects(tx.commit(), { certainty: "definite" });
  }
  const seen = await committed(topic, 45);
  assert.equal(seen.length, 45);
  for (const at of [0, 2, 5]) assert.equal(seen.filter((body) => body === `${at}/commit`).length, 15, "torn");
});

test("E12 one refusal rolls all of it back, and the next transaction works", async () => {
  const transport = await real.open();
  const topic = real.unique("refused");
  const tx = await begin(transport);
  const [first] = await transport.publish([messageOf(topic)], { signal: never, tx });
  assert.equal(first?.ok, true);
  const [second] = await transport.publish([messageOf(topic, { native: { partition: 99 } })], { signal: never, tx });
  assert.equal(second?.ok, false);
  await assert.rejects(tx.commit(), { code: "CONFIG", certainty: "definite" });
  const next = await begin(transport);
  await transport.publish([messageOf(topic, { body: Buffer.from("next") })], { signal: never, tx: next });
  await next.commit();
  assert.deepEqual(await committed(topic, 1), ["next"]);
});

test("P14 an older instance of a transactional id is fenced", async () => {
  const [older, newer] = await Promise.all([1, 2].map(() => real.open({ transactionalId: real.unique("id").replace(/\d+$/, "same") })));
  assert(older !== undefined && newer !== undefined);
  const topic = real.unique("fenced");
  const stale = await begin(older);
  await older.publish([messageOf(topic, { body: Buffer.from("older") })], { signal: never, tx: stale });
  const fresh = await begin(newer);
  await newer.publish([messageOf(topic, { body: Buffer.from("newer") })], { signal: never, tx: fresh });
  await fresh.commit();
  await assert.rejects(stale.commit(), { certainty: "definite" });
  assert.deepEqual(await committed(topic, 1), ["newer"]);
});

test("a transaction of another transport is refused", async () => {
  const [one, other] = [await real.open(), await real.open()];
  const tx = await begin(one);
  await assert.rejects(other.publish([messageOf(real.unique("t"))], { signal: never, tx }), { code: "CAPABILITY" });
  await tx.rollback();
});

test("transactions that are begun together wait for each other; one that nobody uses costs nothing", async () => {
  const transport = await real.open();
  const topic = real.unique("together");
  const many = await Promise.all(
    Array.from({ length: 8 }, async (_, at) => {
      const tx = await begin(transport);
      if (at % 4 !== 3) await transport.publish([messageOf(topic, { body: Buffer.from(String(at)) })], { signal: never, tx });
      await tx.commit();
      return at;
    }),
  );
  assert.equal(many.length, 8);
  assert.deepEqual((await committed(topic, 6)).toSorted(), ["0", "1", "2", "4", "5", "6"]);
});

for (const groupProtocol of ["classic", "consumer"] as const) {
  test(
    `E11 E13 read, process, write: one committed copy of each, while handlers fail, members come and go, the server is killed: ${groupProtocol}`,
    { timeout: 150_000 },
    async () => {
      const count = 600;
      const input = real.unique("input");
      const output = real.unique("output");
      const options: KafkaOptions = { groupProtocol, topics: { partitions: 4 }, requestTimeout: "4s", connectTimeout: "2s" };
      let failures = 0;
      const start = async (): Promise<Bus> => {
        const bus = createBus({ name: "rpw", transport: kafka({ brokers: real.address, ...options }) });
        const failed = new Set<number>();
        bus.subscribeBatch(
          event<number>(input),
          {
            group: "g",
            size: 10,
            within: 20,
            concurrency: 2,
            exactlyOnce: "transport",
            retry: { attempts: 1_000, backoff: fixed(10), inProcess: true },
          },
          async (batch, ctx) => {
            for (const { body } of batch) await ctx.publish(event<number>(output), body);
            // After it has published: all of it has to go.
            for (const { body } of batch) {
              if (body % 10 !== 0 || failed.has(body)) continue;
              failed.add(body);
              failures += 1;
              throw new Error("on purpose");
            }
          },
        );
        await bus.start();
        return bus;
      };
      const publisher = await real.open(options);
      const buses = [await start()];
      const feed = async (from: number, to: number): Promise<void> => {
        const messages = Array.from({ length: to - from }, (_, at) =>
          messageOf(input, { key: `k${(from + at) % 16}`, body: Buffer.from(String(from + at)) }),
        );
        await publishAll(publisher, messages);
      };
      const reader = await keep(await real.open(options), { topic: output, group: undefined, from: "earliest" }, false);
      await feed(0, count / 3);
      await until("the first", () => reader.got.length > 20, 60_000);
      buses.push(await start());
      await feed(count / 3, (2 * count) / 3);
      const [node] = real.broker.nodes;
      assert(node !== undefined);
      await until("half", () => reader.got.length > count / 3, 60_000);
      await node.kill();
      await node.start();
      buses.push(await start());
      await buses.shift()?.close({ drain: "5s" });
      await feed((2 * count) / 3, count);
      await until("all of it", () => new Set(reader.got.map(({ message: { body } }) => String(body))).size >= count, 90_000);
      for (const bus of buses) await bus.close({ drain: "5s" });
      assert(failures > 0, "nothing was rolled back");
      const seen = await committed(output, count);
      assert.deepEqual(
        seen.map(Number).toSorted((a, b) => a - b),
        Array.from({ length: count }, (_, at) => at),
      );
    },
  );
}

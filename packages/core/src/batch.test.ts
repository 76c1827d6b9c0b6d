import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { testBus } from "@waybill/testing";
import type { BatchChoices, BatchHandler } from "./bus-types.ts";
import { event } from "./contract.ts";
import { fixed } from "./retry.ts";

const Row = event<{ n: number }>("row", { key: ({ n }) => String(n % 2) });
type RowHandler = BatchHandler<{ n: number }>;

async function withBatches(
  choices: Partial<BatchChoices>,
  handler: RowHandler,
  work: (rig: Awaited<ReturnType<typeof open>>) => Promise<void>,
): Promise<void> {
  const rig = await open(choices, handler);
  try {
    await work(rig);
  } finally {
    await rig.t.close();
  }
}

async function open(choices: Partial<BatchChoices>, handler: RowHandler) {
  const batches: number[][] = [];
  const t = await testBus((bus) => {
    bus.subscribeBatch(
      Row,
      { group: "g", size: 3, within: "1s", retry: { attempts: 3, backoff: fixed("10s", { jitter: "none" }) }, ...choices },
      (batch, ctx) => {
        batches.push(batch.map(({ body }) => body.n));
        return handler(batch, ctx);
      },
    );
  });
  const publish = (...numbers: readonly number[]) => Promise.all(numbers.map((n) => t.publish(Row, { n })));
  return { t, batches, publish };
}

describe("gathering", () => {
  test("a full batch goes at once, the rest when its time is over", () =>
    withBatches(
      {},
      () => undefined,
      async ({ t, batches, publish }) => {
        await publish(1, 2, 3, 4);
        await t.idle();
        assert.deepEqual(batches, [[1, 2, 3]]);
        await t.advance("999ms");
        assert.equal(batches.length, 1);
        await t.advance("1ms");
        assert.deepEqual(batches, [[1, 2, 3], [4]]);
        assert.equal(t.handled.length, 4);
      },
    ));

  test("several batches at once, as concurrency allows", () => {
    const ends: (() => void)[] = [];
    return withBatches(
      { concurrency: 2 },
      () => new Promise<void>((resolve) => ends.push(resolve)),
      async ({ t, batches, publish }) => {
        await publish(1, 2, 3, 4, 5, 6, 7, 8, 9);
        await t.advance("1s");
        assert.deepEqual(batches, [
          [1, 2, 3],
          [4, 5, 6],
        ]);
        ends[1]?.();
        await t.advance("1s");
        assert.deepEqual(batches.slice(2), [[7, 8, 9]]);
        for (const end of ends) end();
        await t.idle();
        for (const end of ends) end();
      },
    );
  });

  test("with order by key a batch has one of each key, in its order", () =>
    withBatches(
      { orderBy: "key-in-process" },
      () => undefined,
      async ({ t, batches, publish }) => {
        await publish(0, 2, 4, 1, 3);
        await t.advance("1m");
        for (const batch of batches) assert.equal(new Set(batch.map((n) => n % 2)).size, batch.length);
        assert.deepEqual(
          batches.flat().filter((n) => n % 2 === 0),
          [0, 2, 4],
        );
        assert.deepEqual(
          batches.flat().filter((n) => n % 2 === 1),
          [1, 3],
        );
      },
    ));
});

describe("failure", () => {
  test("those that are given back are retried each by itself, the others are done", () => {
    const failing = new Set([2]);
    return withBatches(
      {},
      (batch) => ({ failed: batch.filter(({ body }) => failing.has(body.n)) }),
      async ({ t, batches, publish }) => {
        await publish(1, 2, 3);
        await t.advance("5s");
        assert.equal(t.metrics().groups["row"]?.["g"]?.handled, 2);
        failing.clear();
        await t.advance("20s");
        assert.deepEqual(batches, [[1, 2, 3], [2]]);
        assert.deepEqual(t.attempts(Row).at(-1)?.attempt, 2);
      },
    );
  });

  test("one that throws is tried again in halves; the bad one alone uses up its attempts", () =>
    withBatches(
      { size: 4, retry: { attempts: 1 } },
      (batch) => {
        if (batch.some(({ body }) => body.n === 3)) throw new Error("bad row");
      },
      async ({ t, batches, publish }) => {
        await publish(1, 2, 3, 4);
        await t.advance("5s");
        assert.deepEqual(batches, [[1, 2, 3, 4], [1, 2], [3, 4], [3], [4]]);
        const letters = await t.deadLetters(Row, { group: "g" });
        assert.deepEqual(
          letters.map(({ message, cause }) => [(message.body as { n: number }).n, cause.attempts]),
          [[3, 1]],
        );
        assert.match(letters[0]?.cause.text ?? "", /bad row/);
        assert.equal(t.metrics().groups["row"]?.["g"]?.handled, 3);
      },
    ));

  test("a batch that hangs is abandoned, each of its messages is retried", () => {
    let hangs = true;
    return withBatches(
      { timeout: "5s", grace: "1s", maxAbandoned: 10 },
      () => (hangs ? new Promise<void>(() => undefined) : undefined),
      async ({ t, batches, publish }) => {
        await publish(1, 2, 3);
        await t.advance("7s");
        assert.equal(t.bus.status().subscriptions[0]?.abandoned, 3);
        hangs = false;
        await t.advance("1m");
        assert.deepEqual(new Set(batches.slice(1).flat()), new Set([1, 2, 3]));
        assert.equal(t.metrics().groups["row"]?.["g"]?.handled, 3);
      },
    );
  });

  test("its signal fires when one of its messages is not ours any more", () => {
    const reasons: unknown[] = [];
    return withBatches(
      {},
      (_, ctx) => new Promise<void>((resolve) => ctx.signal.addEventListener("abort", () => (reasons.push(ctx.signal.reason), resolve()))),
      async ({ t, publish }) => {
        await publish(1, 2, 3);
        await t.idle();
        t.broker.stop();
        t.broker.start();
        await t.idle();
        assert.equal((reasons[0] as { code?: string }).code, "LEASE_LOST");
      },
    );
  });

  test("what is thrown together with a body that does not fit harms no neighbour", async () => {
    const positive = {
      "~standard": {
        version: 1,
        vendor: "test",
        validate: (value: unknown) => ((value as { n: number }).n > 0 ? { value } : { issues: [{ message: "must be positive" }] }),
      },
    } as const;
    const Positive = event("row", { schema: positive });
    await using t = await testBus((bus) => void bus.subscribeBatch(Positive, { group: "g", size: 3, within: "1s" }, () => undefined));
    await Promise.all([1, -1, 2].map((n) => t.publish(Row, { n })));
    await t.advance("5s");
    assert.equal(t.handled.length, 2);
    assert.deepEqual(
      (await t.deadLetters(Row, { group: "g" })).map(({ cause }) => cause.code),
      ["VALIDATION"],
    );
  });
});

test("ctx.publish of a batch keeps the trace of its first message", async () => {
  const Out = event<number>("out");
  await using t = await testBus((bus) => {
    bus.subscribeBatch(Row, { group: "g", size: 2, within: "1s" }, async (batch, { publish }) => {
      await publish(Out, batch.length);
    });
  });
  const [first] = await Promise.all([1, 2].map((n) => t.publish(Row, { n })));
  await t.advance("2s");
  assert.deepEqual(
    t.published(Out).map(({ body, message }) => [body, message.correlationId]),
    [[2, first?.id]],
  );
});

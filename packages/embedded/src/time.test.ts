import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { message, openTransport, publishAll, take, tempFile, until } from "./test.fixture.ts";

test("a wall clock that jumps an hour ends no lease, and loses or hurries no delay", async (t) => {
  const transport = await openTransport(t, { path: tempFile(t) });
  const taken = await take(transport, { topic: "a", group: "g", leaseMs: 60_000 });
  const real = Date.now;
  for (const jumpMs of [3_600_000, -3_600_000]) {
    const before = taken.got.length;
    await publishAll(transport, [message("a", "held")]);
    await until("it is in hand", () => taken.got.length === before + 1);
    await publishAll(transport, [
      message("a", "later", { deliverAt: real() + 400 }),
      message("a", "lasting", { expiresAt: real() + 600_000, deliverAt: real() + 200 }),
    ]);
    const start = performance.now();
    const clock = mock.method(Date, "now", () => real() + jumpMs);
    try {
      await taken.subscription.settle([{ kind: "retry", delivery: taken.got[before]!, delayMs: 300, note: undefined }]);
      // By the jumped clock it is due in the same 200 ms.
      await publishAll(transport, [message("a", "jumped", { deliverAt: Date.now() + 200 })]);
      await until("all four", () => taken.got.length === before + 5);
    } finally {
      clock.mock.restore();
    }
    const took = performance.now() - start;
    assert(took >= 350 && took < 10_000, `${took} ms`);
    const retried = taken.got.slice(before + 1).filter(({ attempt }) => attempt !== 1);
    assert.deepEqual(
      retried.map(({ attempt }) => attempt),
      [2],
    );
  }
});

test("what nobody needs any more is deleted, and nothing else", async (t) => {
  const path = tempFile(t);
  const transport = await openTransport(t, { path, retention: 1 });
  const taken = await take(transport, { topic: "a", group: "g" });
  for (let n = 0; n < 3000; n += 500)
    await publishAll(
      transport,
      Array.from({ length: 500 }, (_, i) => message("a", String(n + i))),
    );
  await until("some in hand", () => taken.got.length >= 1000);
  const stored = async (): Promise<number> =>
    Number((await transport.client.query("select count(*) as n from waybill_messages"))[0]?.["n"]);
  const seen = new Set<unknown>();
  // The first is never settled: it, and those of its run, stay.
  for (let next = 1; next < 3000;) {
    await until("more", () => taken.got.length > next);
    const part = taken.got.slice(next);
    next += part.length;
    for (const { position } of part) seen.add(position);
    await taken.subscription.settle(part.map((delivery) => ({ kind: "ack", delivery })));
  }
  assert.equal(seen.size, 2999);
  await publishAll(transport, [message("nobody", "1")]);
  await until("the others are gone", async () => (await stored()) <= 1000, 25_000);
  await taken[Symbol.asyncDispose]();
  const again = await take(transport, { topic: "a", group: "g" }, { ack: true });
  await until("the one that was kept", () => again.got.length === 1);
  assert.equal(again.bodies()[0], "0");
  await until("all are gone", async () => (await stored()) === 0, 25_000);
  await publishAll(transport, [message("a", "new")]);
  await until("positions go on", () => again.got.length === 2);
  assert.equal(again.got[1]?.position, 3002);
});

import assert from "node:assert/strict";
import { test } from "node:test";
import { deadLetterGroup } from "@waybill/core";
import { deadLetterGroupName } from "./sql/dead-letter.ts";
import { message, never, openTransport, publishAll, take, tempFile, until } from "./test.fixture.ts";

test("a repeated id is stored once: in a batch, later, by another transport, and after a restart", async (t) => {
  const path = tempFile(t);
  const first = await openTransport(t, { path });
  await first.declare?.({ topics: [], groups: [{ topic: "a", group: "g" }] });
  const one = message("a", "one");
  const filler = Array.from({ length: 3000 }, (_, n) => message("a", String(n)));
  await publishAll(first, [one, one, ...filler.slice(0, 400), one]);
  await publishAll(first, [one, ...filler]);
  const second = await openTransport(t, { path });
  await publishAll(second, [one, filler[5]!]);
  await publishAll(first, [message("a", "x", { id: "by the first" })]);
  await publishAll(second, [message("a", "x", { id: "by the first" })]);
  await publishAll(second, [message("b", "x", { id: one.id })]);
  await first.close();
  await second.close();
  const third = await openTransport(t, { path });
  await publishAll(third, [one, filler[2999]!, message("a", "last")]);
  assert.equal((await third.inspect!("a", "g")).depth, 3003);
});

test("after the window, and without one, the same id is another message", async (t) => {
  const path = tempFile(t);
  const transport = await openTransport(t, { path, deduplicationWindow: 50 });
  await transport.declare?.({ topics: [], groups: [{ topic: "a", group: "g" }] });
  const one = message("a", "one");
  await publishAll(transport, [one]);
  await publishAll(transport, [one]);
  assert.equal((await transport.inspect!("a", "g")).depth, 1);
  await until("the window is over", async () => {
    await publishAll(transport, [one]);
    return (await transport.inspect!("a", "g")).depth === 2;
  });
  assert.equal(transport.capabilities().deduplication.limits?.["windowMs"], 50);
  await transport.close();
  const without = await openTransport(t, { path, deduplicationWindow: 0 });
  await publishAll(without, [one, one]);
  assert.equal((await without.inspect!("a", "g")).depth, 4);
  assert.equal(without.capabilities().deduplication.level, "none");
});

test("a message to one group alone is a repeat only until that group has settled it", async (t) => {
  const transport = await openTransport(t, { path: tempFile(t) });
  const taken = await take(transport, { topic: "a", group: "g" });
  const again = message("a", "replayed", { group: "g" });
  await publishAll(transport, [again]);
  await until("it is in hand", () => taken.got.length === 1);
  await publishAll(transport, [again]);
  assert.equal((await transport.inspect!("a", "g")).depth, 1);
  await taken.subscription.settle([{ kind: "ack", delivery: taken.got[0]! }]);
  await publishAll(transport, [again]);
  await until("it comes again", () => taken.got.length === 2);
});

test("a published batch that is refused leaves no trace of its ids", async (t) => {
  const transport = await openTransport(t, { path: tempFile(t) });
  const one = message("a", "one", { mandatory: true });
  const [refused] = await transport.publish([one], { signal: never });
  assert(refused?.ok === false && refused.error.code === "UNROUTABLE");
  await transport.declare?.({ topics: [], groups: [{ topic: "a", group: "g" }] });
  await publishAll(transport, [one]);
  assert.equal((await transport.inspect!("a", "g")).depth, 1);
});

test("the dead-letter group is the core's", () => {
  assert.equal(deadLetterGroupName, deadLetterGroup);
});

import assert from "node:assert/strict";
import { test } from "node:test";
import { createMetrics } from "./metrics.ts";

void test("counters are raised in place, and a snapshot is a copy", () => {
  const metrics = createMetrics();
  const topic = metrics.topic("order.placed");
  topic.published += 2;
  metrics.topic("other").publishFailed += 1;
  assert.equal(metrics.topic("order.placed"), topic);
  metrics.group("order.placed", "billing").handled += 3;
  metrics.group("order.placed", "search").deadLettered += 1;
  metrics.group("other", "billing").gaps += 1;
  metrics.bus.relayed += 5;
  const snapshot = metrics.snapshot();
  topic.published += 100;
  metrics.group("order.placed", "billing").handled += 100;
  metrics.bus.relayed += 100;
  assert.deepEqual(snapshot.topics, {
    "order.placed": { published: 2, publishFailed: 0, publishUnknown: 0 },
    other: { published: 0, publishFailed: 1, publishUnknown: 0 },
  });
  assert.equal(snapshot.groups["order.placed"]?.["billing"]?.handled, 3);
  assert.equal(snapshot.groups["order.placed"]?.["search"]?.deadLettered, 1);
  assert.equal(snapshot.groups["other"]?.["billing"]?.gaps, 1);
  assert.equal(snapshot.bus.relayed, 5);
  assert.deepEqual(
    Object.values(snapshot.groups["other"]?.["billing"] ?? {}).reduce((sum, value) => sum + value, 0),
    1,
    "all others are 0",
  );
});

void test("the number of topics is bounded: what comes after is counted together", () => {
  const metrics = createMetrics();
  for (let n = 0; n < 5_000; n++) metrics.topic(`inbox.${n}`).published += 1;
  metrics.topic("inbox.0").published += 1;
  const { topics } = metrics.snapshot();
  assert.ok(Object.keys(topics).length <= 1_001);
  assert.equal(topics["inbox.0"]?.published, 2);
  assert.equal(
    Object.values(topics).reduce((sum, { published }) => sum + published, 0),
    5_001,
    "none is lost",
  );
});

void test("names cannot reach a prototype", () => {
  const metrics = createMetrics();
  metrics.topic("__proto__").published += 1;
  metrics.group("constructor", "__proto__").handled += 1;
  const { topics, groups } = metrics.snapshot();
  assert.ok(Object.hasOwn(topics, "__proto__") && Object.hasOwn(groups, "constructor"));
  assert.ok(!("published" in {}));
});

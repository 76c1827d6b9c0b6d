import assert from "node:assert/strict";
import { test } from "node:test";
import { createVirtualClock } from "@waybill/core";
import { delayLog, groupLogs } from "./group-logs.ts";
import { cursorOf, placeOf, positionOf, withCursor } from "./position.ts";
import { createWaiting } from "./waiting.ts";

test("what waits comes when it is due, first due first", async () => {
  const clock = createVirtualClock();
  let due = 0;
  const waiting = createWaiting<string>(clock, () => (due += 1));
  for (const [item, delayMs] of [
    ["c", 30],
    ["a", 10],
    ["d", 40],
    ["b", 20],
  ] as const)
    waiting.add(item, delayMs);
  assert.equal(waiting.take(), undefined);
  await clock.advance(25);
  assert.deepEqual([waiting.take(), waiting.take(), waiting.take()], ["a", "b", undefined]);
  assert(due >= 1);
  await clock.advance(100);
  assert.deepEqual([waiting.take(), waiting.take(), waiting.take()], ["c", "d", undefined]);
  assert.equal(waiting.size, 0);
});

test("a delayed message goes where it waits the longest", () => {
  const logs = groupLogs("orders", "billing");
  assert.deepEqual(
    [5_000, 10_000, 59_999, 3_600_000, 86_400_000].map((leftMs) => delayLog(logs, leftMs)?.stepMs),
    [undefined, 10_000, 10_000, 3_600_000, 21_600_000],
  );
  assert.equal(new Set(logs.map(({ name }) => name)).size, logs.length);
  assert.equal(new Set(logs.map(({ prefix }) => prefix)).size, logs.length);
});

test("positions", () => {
  assert.deepEqual(placeOf(positionOf("r", 3, 17)), { prefix: "r", partition: 3, offset: 17 });
  const browsed = withCursor("0:5", ["0:6", "1:9", "r0:2"]);
  assert.deepEqual(placeOf(browsed), { prefix: "", partition: 0, offset: 5 });
  assert.deepEqual(
    [...cursorOf(browsed)],
    [
      ["0", 6],
      ["1", 9],
      ["r0", 2],
    ],
  );
  assert.deepEqual([...cursorOf("2:7")], [["2", 8]]);
  for (const wrong of ["", "x", "1", "1:", ":1", "z1:2", "1:2:3", 7]) assert.throws(() => placeOf(wrong), { code: "CONFIG" });
});

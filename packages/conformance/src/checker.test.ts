import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { anomalyClasses } from "./anomalies.ts";
import { checkHistory } from "./checker.ts";
import { historyVersion, parseRecord } from "./history.ts";
import type { HistoryEvent, HistoryRecord } from "./history.ts";
import { modelHistory } from "./model-broker.ts";

const records = (...events: readonly (HistoryEvent & { readonly proc?: string; readonly atMs?: number })[]): readonly HistoryRecord[] =>
  events.map(({ proc, atMs, ...event }, seq) => ({
    v: historyVersion,
    run: "hand-made",
    seed: 0,
    seq,
    proc: proc ?? "p",
    inc: 0,
    tMono: (atMs ?? seq) * 1e6,
    ...(event as HistoryEvent),
  }));
const group: HistoryEvent = { f: "group", type: "subscribed", dest: "t", group: "g" };
const handled: HistoryEvent = { ...group, handles: true };
const invoke = (msg: string, dig = "d"): HistoryEvent => ({ f: "send", type: "invoke", op: `s ${msg}`, msg, dest: "t", dig });
const ok = (msg: string): HistoryEvent => ({ f: "send", type: "ok", op: `s ${msg}`, msg, dest: "t" });
const fail = (msg: string): HistoryEvent => ({ f: "send", type: "fail", op: `s ${msg}`, msg, dest: "t" });
type Step = Extract<HistoryEvent, { f: "delivery" }>;
const step = (type: Step["type"], msg: string, op: string, more: Partial<Step> = {}): Step => ({
  f: "delivery",
  type,
  op,
  msg,
  dest: "t",
  group: "g",
  ...more,
});
const end: HistoryEvent = { f: "drain", type: "end", reason: "complete" };
const good = [
  group,
  invoke("a"),
  ok("a"),
  step("delivered", "a", "1", { dig: "d" }),
  step("ack-invoke", "a", "1"),
  step("ack-ok", "a", "1"),
];
const classesOf = (history: readonly HistoryRecord[]): string[] => Object.keys(checkHistory(history).anomalies);

describe("the checker on hand-made histories", () => {
  it("takes a good one for valid", () => {
    assert.deepEqual(checkHistory(records(...good, end)).verdict, "valid");
  });
  it("LOST: acknowledged and never delivered", () => {
    assert.deepEqual(classesOf(records(...good, invoke("b"), ok("b"), end)), ["LOST"]);
  });
  it("LOST: delivered, its process crashed, and nobody handled it", () => {
    const history = records(
      handled,
      invoke("a"),
      ok("a"),
      { ...step("delivered", "a", "1"), proc: "c" },
      { f: "process", type: "crash", proc: "c" },
      end,
    );
    assert.deepEqual(classesOf(history), ["LOST"]);
  });
  it("not LOST: a group that came later, a dead letter, a counted gap at most once", () => {
    assert.deepEqual(classesOf(records(...good, { ...group, group: "late" }, end)), []);
    assert.deepEqual(
      classesOf(
        records(handled, invoke("a"), ok("a"), step("delivered", "a", "1"), step("dead-lettered", "a", "1", { to: "t.dead" }), end),
      ),
      [],
    );
    const lossy: HistoryEvent = { ...group, claim: { delivery: "at-most-once" } };
    assert.deepEqual(
      classesOf(records(lossy, invoke("a"), ok("a"), { f: "gap", type: "counted", dest: "t", group: "g", count: 1 }, end)),
      [],
    );
    assert.deepEqual(classesOf(records(lossy, invoke("a"), ok("a"), end)), ["LOST"]);
  });
  it("UNEXPECTED: delivered and never published", () => {
    assert.deepEqual(classesOf(records(...good, step("delivered", "ghost", "2"), end)), ["UNEXPECTED"]);
  });
  it("ABORTED-READ: delivered although its publish failed", () => {
    assert.deepEqual(classesOf(records(...good, invoke("b"), fail("b"), step("delivered", "b", "2"), end)), ["ABORTED-READ"]);
    assert.deepEqual(classesOf(records(...good, invoke("b"), fail("b"), invoke("b"), ok("b"), step("delivered", "b", "2"), end)), []);
  });
  it("EARLY-ACK: acknowledged before its handler was done", () => {
    const begun = [handled, invoke("a"), ok("a"), step("delivered", "a", "1"), step("handle-start", "a", "1")];
    const finish = [step("ack-invoke", "a", "1"), step("handled-ok", "a", "1"), step("ack-ok", "a", "1"), end];
    assert.deepEqual(classesOf(records(...begun, ...finish)), ["EARLY-ACK"]);
  });
  it("OFFSET-JUMP: a commit that passes what is not finished", () => {
    const held = step("delivered", "a", "1", { part: "0", pos: 0 });
    const history = [handled, invoke("a"), ok("a"), held, step("handle-start", "a", "1")];
    const commit: HistoryEvent = { f: "commit", type: "ok", dest: "t", group: "g", part: "0", pos: 1 };
    assert.deepEqual(classesOf(records(...history, commit, step("handled-ok", "a", "1"), end)), ["OFFSET-JUMP"]);
    assert.deepEqual(classesOf(records(...history, step("handled-ok", "a", "1"), commit, end)), []);
  });
  it("STALE-ACK: an older delivery settles a newer one", () => {
    const twice = [
      group,
      invoke("a"),
      ok("a"),
      step("delivered", "a", "1", { gen: 1 }),
      { ...step("delivered", "a", "2", { gen: 2 }), proc: "q" },
    ];
    assert.deepEqual(classesOf(records(...twice, step("ack-invoke", "a", "1"), step("ack-ok", "a", "1"), end)), ["STALE-ACK"]);
    assert.deepEqual(classesOf(records(...twice, step("ack-invoke", "a", "1"), step("ack-fail", "a", "1"), end)), []);
  });
  it("OVERLAP: two handlers inside one lease, and not after it", () => {
    const both = (secondMs: number): readonly HistoryRecord[] =>
      records(
        handled,
        invoke("a"),
        ok("a"),
        { ...step("delivered", "a", "1", { leaseMs: 100 }), atMs: 10 },
        { ...step("handle-start", "a", "1"), atMs: 11 },
        { ...step("delivered", "a", "2", { leaseMs: 100 }), proc: "q", atMs: secondMs },
        { ...step("handle-start", "a", "2"), proc: "q", atMs: secondMs + 1 },
        { ...step("handled-ok", "a", "2"), proc: "q", atMs: secondMs + 2 },
        { ...end, atMs: secondMs + 3 },
      );
    assert.deepEqual(classesOf(both(50)), ["OVERLAP"]);
    assert.deepEqual(classesOf(both(150)), []);
  });
  it("DUP-EFFECT: two rows of one message and group", () => {
    const row: HistoryEvent = { f: "effect", type: "row", group: "g", msg: "a" };
    assert.deepEqual(classesOf(records(...good, row, row, end)), ["DUP-EFFECT"]);
    assert.deepEqual(classesOf(records(...good, row, { ...row, group: "h" }, end)), []);
  });
  it("CORRUPT: another digest than was published", () => {
    assert.deepEqual(classesOf(records(...good, step("delivered", "a", "2", { dig: "other" }), end)), ["CORRUPT"]);
  });
  it("STUCK: a publish that never ended, unless its process died", () => {
    assert.deepEqual(classesOf(records(...good, invoke("b"), end)), ["STUCK"]);
    assert.deepEqual(classesOf(records(...good, { ...invoke("b"), proc: "q" }, { f: "process", type: "crash", proc: "q" }, end)), []);
  });
  it("STUCK: no progress after the last fault, with work left", () => {
    const found = classesOf(records(...good, invoke("b"), ok("b"), { ...end, atMs: 60_000 }));
    assert.deepEqual(found.toSorted(), ["LOST", "STUCK"]);
  });
  it("unknown: nothing acknowledged, a missing record, a drain that timed out, faults that did not land", () => {
    assert.equal(checkHistory(records(group, end)).verdict, "unknown");
    assert.equal(checkHistory(records(...good, end).filter((each) => each.seq !== 4)).verdict, "unknown");
    assert.equal(checkHistory(records(...good, { f: "drain", type: "end", reason: "timeout" })).verdict, "unknown");
    assert.equal(checkHistory(records(...good)).verdict, "unknown");
    assert.equal(checkHistory(records({ f: "fault", type: "planned", fault: "kill9C", count: 1 }, ...good, end)).verdict, "unknown");
  });
  it("reads its own lines and refuses others", () => {
    const [first] = records(group);
    assert.deepEqual(parseRecord(JSON.stringify(first)), first);
    assert.throws(() => parseRecord("{}"), SyntaxError);
    assert.throws(() => parseRecord(JSON.stringify({ ...first, v: 99 })), SyntaxError);
  });
});

describe("the checker on the model broker", () => {
  it("raises no alarm on 1,000 good histories", () => {
    for (let seed = 1; seed <= 1_000; seed += 1) {
      const { verdict, anomalies, unknown } = checkHistory(modelHistory({ seed, messages: 30 }));
      assert.equal(verdict, "valid", `seed ${seed}: ${JSON.stringify({ anomalies, unknown })}`);
    }
  });
  for (const misbehave of anomalyClasses) {
    it(`catches ${misbehave} in each of 25 histories`, () => {
      for (let seed = 1; seed <= 25; seed += 1) {
        const { verdict, anomalies } = checkHistory(modelHistory({ seed, messages: 60, misbehave }));
        assert.equal(verdict, "invalid", `seed ${seed}`);
        assert(misbehave in anomalies, `seed ${seed}: found ${Object.keys(anomalies).join(", ")}`);
      }
    });
  }
});

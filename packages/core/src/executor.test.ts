import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Attempt } from "./attempt.ts";
import { createExecutor, type Executor, type ExecutorOptions } from "./executor.ts";
import { createItem, type Item } from "./item.ts";
import type { Delivery } from "./transport.ts";
import { createTurn } from "./turn.ts";
import { createVirtualClock, type VirtualClock } from "./virtual-clock.ts";

interface Running {
  readonly id: string;
  readonly attempt: Attempt;
  end(): void;
  fail(error: unknown): void;
}

interface Rig {
  readonly clock: VirtualClock;
  readonly executor: Executor;
  readonly running: Map<string, Running>;
  readonly started: string[];
  readonly finished: string[];
  readonly abandoned: number[];
  item(id: string, key?: string): Item;
  settled(): Promise<void>;
}

function rig(options: Partial<ExecutorOptions> = {}): Rig {
  const clock = createVirtualClock();
  const running = new Map<string, Running>();
  const started: string[] = [];
  const finished: string[] = [];
  const abandoned: number[] = [];
  const idOf = (item: Item): string => item.delivery.message.id;
  const executor = createExecutor({
    clock,
    turn: createTurn(clock),
    concurrency: 2,
    keyed: false,
    timeoutMs: 10_000,
    graceMs: 1_000,
    gates: [],
    host: { group: "g", publish: () => Promise.reject(new Error("unused")), tx: () => undefined },
    run(attempt) {
      const id = idOf(attempt.item);
      started.push(id);
      return new Promise<void>((resolve, reject) => {
        running.set(id, { id, attempt, end: resolve, fail: reject });
      });
    },
    finished(item, _, failed, error) {
      running.delete(idOf(item));
      finished.push(
        failed ? `${idOf(item)} failed: ${(error as { code?: string; message: string }).code ?? (error as Error).message}` : idOf(item),
      );
      executor.done(item);
    },
    abandonedChanged: (count) => void abandoned.push(count),
    ...options,
  });
  return {
    clock,
    executor,
    running,
    started,
    finished,
    abandoned,
    item: (id, key) => createItem({ message: { id, key } } as unknown as Delivery),
    async settled() {
      for (let turns = 0; turns < 3; turns += 1) await new Promise((resolve) => setImmediate(resolve));
    },
  };
}

describe("concurrency", () => {
  test("so many run at once, the others in their order as places come free", async () => {
    const { executor, item, started, running, finished, settled } = rig();
    executor.add(["1", "2", "3", "4"].map((id) => item(id)));
    await settled();
    assert.deepEqual(started, ["1", "2"]);
    assert.deepEqual([executor.running, executor.waiting], [2, 2]);
    running.get("2")?.end();
    await settled();
    assert.deepEqual(started, ["1", "2", "3"]);
    running.get("1")?.fail(new Error("boom"));
    running.get("3")?.end();
    await settled();
    assert.deepEqual(finished, ["2", "1 failed: boom", "3"]);
    assert.deepEqual(started, ["1", "2", "3", "4"]);
  });

  test("handlers that do not wait get through as well, whatever they throw", async () => {
    const ends: unknown[] = [];
    const thrown = [undefined, null, Object.freeze({}), "text"];
    const { executor, item, settled } = rig({
      run: (attempt) => {
        throw thrown[Number(attempt.item.delivery.message.id)];
      },
      finished(one, _, failed, error) {
        ends.push([failed, error]);
        executor.done(one);
      },
    });
    executor.add(thrown.map((_, index) => item(String(index))));
    await settled();
    assert.deepEqual(
      ends,
      thrown.map((error) => [true, error]),
    );
  });
});

describe("order by key", () => {
  test("one of a key at a time, in its order; keys do not wait for each other", async () => {
    const { executor, item, started, running, settled } = rig({ keyed: true, concurrency: 4 });
    executor.add([item("a1", "a"), item("a2", "a"), item("b1", "b"), item("free"), item("a3", "a")]);
    await settled();
    assert.deepEqual(started, ["a1", "b1", "free"]);
    running.get("a1")?.end();
    await settled();
    assert.deepEqual(started.slice(3), ["a2"]);
    executor.add([item("a4", "a")]);
    running.get("a2")?.fail(new Error("x"));
    await settled();
    running.get("a3")?.end();
    await settled();
    assert.deepEqual(started.slice(4), ["a3", "a4"]);
  });

  test("a retry in process keeps its key and goes before what waits", async () => {
    const { executor, item, started, running, settled } = rig({
      keyed: true,
      concurrency: 1,
      finished: (one, _, failed) => void (failed ? retried.push(one) : executor.done(one)),
    });
    const retried: Item[] = [];
    executor.add([item("a1", "a"), item("b1", "b"), item("a2", "a"), item("b2", "b")]);
    await settled();
    running.get("a1")?.fail(new Error("x"));
    await settled();
    assert.deepEqual(started, ["a1", "b1"], "the other key goes on");
    executor.again(retried[0] as Item);
    running.get("b1")?.end();
    await settled();
    assert.deepEqual(started, ["a1", "b1", "a1"]);
    running.get("a1")?.end();
    await settled();
    assert.deepEqual(started.slice(3).length, 1);
    running.get(started[3] as string)?.end();
    await settled();
    assert.deepEqual(started.slice(3).toSorted(), ["a2", "b2"]);
  });

  test("what is withdrawn frees its key for those that stay", async () => {
    const { executor, item, started, running, settled } = rig({ keyed: true, concurrency: 1 });
    executor.add([item("x", "x"), item("a1", "a"), item("a2", "a"), item("a3", "a"), item("b1", "b")]);
    await settled();
    const taken = executor.withdraw(({ delivery }) => ["a1", "a3"].includes(delivery.message.id));
    assert.deepEqual(taken.map(({ delivery }) => delivery.message.id).toSorted(), ["a1", "a3"]);
    running.get("x")?.end();
    await settled();
    running.get("a2")?.end();
    await settled();
    running.get("b1")?.end();
    await settled();
    assert.deepEqual(started, ["x", "a2", "b1"]);
    assert.deepEqual([executor.running, executor.waiting], [0, 0]);
  });
});

describe("time-out and grace", () => {
  test("the signal fires at the time-out; a handler that then ends has failed, whatever it says", async () => {
    const { clock, executor, item, running, finished } = rig();
    executor.add([item("1")]);
    await clock.advance(9_900);
    const { attempt, end } = running.get("1") as Running;
    assert.equal(attempt.signal.aborted, false);
    await clock.advance(200);
    assert.equal(attempt.signal.aborted, true);
    assert.throws(() => attempt.retry(), { code: "STALE_ATTEMPT" });
    end();
    await clock.advance(0);
    assert.deepEqual(finished, ["1 failed: HANDLER_TIMEOUT"]);
  });

  test("after the grace its place is given away; when it comes back at last nobody listens", async () => {
    const { clock, executor, item, running, started, finished, abandoned } = rig({ concurrency: 1 });
    executor.add([item("1"), item("2")]);
    await clock.advance(0);
    const hung = running.get("1") as Running;
    await clock.advance(11_200);
    assert.deepEqual(finished, ["1 failed: HANDLER_TIMEOUT"]);
    assert.deepEqual([started, executor.abandoned, executor.running], [["1", "2"], 1, 1]);
    hung.end();
    await clock.advance(0);
    assert.deepEqual([executor.abandoned, abandoned, finished.length], [0, [1, 0], 1]);
    running.get("2")?.end();
    executor.add([item("3"), item("4")]);
    await clock.advance(0);
    assert.deepEqual(started, ["1", "2", "3"], "still one at a time");
  });

  test("a commit under way is past its time-out", async () => {
    const { clock, executor, item, running, finished } = rig();
    executor.add([item("1")]);
    await clock.advance(0);
    const one = running.get("1") as Running;
    one.attempt.committing = true;
    await clock.advance(60_000);
    assert.equal(one.attempt.signal.aborted, false);
    one.end();
    await clock.advance(0);
    assert.deepEqual(finished, ["1"]);
  });

  test("a time-out is counted from the start of its own attempt, after an idle hour too", async () => {
    const { clock, executor, item, running, finished } = rig();
    executor.add([item("1")]);
    await clock.advance(0);
    running.get("1")?.end();
    await clock.advance(3_600_000);
    assert.equal(clock.pending, 0, "no timer runs while nothing does");
    executor.add([item("2")]);
    await clock.advance(9_000);
    assert.deepEqual(finished, ["1"]);
    executor.add([item("3")]);
    await clock.advance(1_200);
    assert.equal(running.get("2")?.attempt.signal.aborted, true);
    assert.equal(running.get("3")?.attempt.signal.aborted, false);
  });

  test("one that starts as another ends has its whole time", async () => {
    const { clock, executor, item, running } = rig({ concurrency: 1 });
    executor.add([item("1"), item("2")]);
    await clock.advance(9_500);
    running.get("1")?.end();
    await clock.advance(9_500);
    assert.equal(running.get("2")?.attempt.signal.aborted, false);
    await clock.advance(600);
    assert.equal(running.get("2")?.attempt.signal.aborted, true);
  });
});

describe("pause, withdraw, abort, close", () => {
  test("paused, nothing starts but what is to run alone", async () => {
    const { executor, item, started, running, settled } = rig();
    executor.pause(true);
    executor.add([item("1")]);
    executor.again(item("2"));
    executor.alone(item("suspect"));
    await settled();
    assert.deepEqual(started, ["suspect"]);
    executor.pause(false);
    await settled();
    assert.deepEqual(started, ["suspect", "2"]);
    running.get("suspect")?.end();
    await settled();
    assert.deepEqual(started, ["suspect", "2", "1"]);
  });

  test("quiet resolves when nothing that fits runs", async () => {
    const { executor, item, running, settled } = rig();
    await executor.quiet();
    executor.add([item("1"), item("2")]);
    await settled();
    const quiet: string[] = [];
    void executor.quiet(({ delivery }) => delivery.message.id === "1").then(() => quiet.push("1"));
    void executor.quiet().then(() => quiet.push("all"));
    running.get("1")?.end();
    await settled();
    assert.deepEqual(quiet, ["1"]);
    running.get("2")?.end();
    await settled();
    assert.deepEqual(quiet, ["1", "all"]);
  });

  test("abort fires the signals of those that fit, with the reason", async () => {
    const { executor, item, running, settled } = rig();
    executor.add([item("1"), item("2")]);
    await settled();
    executor.abort(({ delivery }) => delivery.message.id === "1", new Error("over") as never);
    assert.deepEqual([running.get("1")?.attempt.signal.aborted, running.get("2")?.attempt.signal.aborted], [true, false]);
    assert.equal((running.get("1")?.attempt.signal.reason as Error | undefined)?.message, "over");
  });

  test("visit sees all that is in hand", async () => {
    const { executor, item, settled } = rig({ keyed: true, concurrency: 1 });
    executor.add([item("a1", "a"), item("a2", "a"), item("b1", "b")]);
    await settled();
    executor.again(item("c"));
    const seen: string[] = [];
    executor.visit(({ delivery }) => seen.push(delivery.message.id));
    assert.deepEqual(seen.toSorted(), ["a1", "a2", "b1", "c"]);
  });

  test("closed, it starts nothing more and leaves no timer", async () => {
    const { clock, executor, item, started, running } = rig({ concurrency: 1 });
    executor.add([item("1"), item("2")]);
    await clock.advance(0);
    executor.close();
    running.get("1")?.end();
    await clock.advance(60_000);
    assert.deepEqual(started, ["1"]);
    assert.equal(clock.pending, 0);
  });
});

describe("gates", () => {
  test("nothing starts before the gate says so; it is told how each ended", async () => {
    const clock = createVirtualClock();
    const told: boolean[] = [];
    let openAt = 5_000;
    const { executor, item, started, running } = rig({
      clock,
      gates: [{ waitMs: () => Math.max(0, openAt - clock.monotonic()), ended: (ok) => void told.push(ok) }],
    });
    executor.add([item("1")]);
    await clock.advance(4_999);
    assert.deepEqual(started, []);
    await clock.advance(1);
    assert.deepEqual(started, ["1"]);
    openAt = 9_000;
    running.get("1")?.fail(new Error("x"));
    executor.add([item("2")]);
    await clock.advance(4_000);
    assert.deepEqual(started, ["1", "2"]);
    running.get("2")?.end();
    await clock.advance(0);
    assert.deepEqual(told, [false, true]);
  });
});

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { WaybillError } from "./errors.ts";
import { createPublisher, type Publisher, type PublisherOptions } from "./publisher.ts";
import { fixed } from "./retry.ts";
import { published, type Lanes, type Message, type PublishOutcome, type Transport } from "./transport.ts";
import { messageOf } from "./transport.fixture.ts";
import { createTurn } from "./turn.ts";
import { createVirtualClock, type VirtualClock } from "./virtual-clock.ts";

/** One call of `publish` that the test answers. */
interface Call {
  readonly ids: readonly string[];
  readonly signal: AbortSignal;
  ok(): void;
  fail(error: WaybillError): void;
  answer(outcomes: readonly PublishOutcome[]): void;
  throw(error: unknown): void;
}

interface Rig {
  readonly clock: VirtualClock;
  readonly calls: Call[];
  readonly publisher: Publisher;
  /** What became of each id, once it did. */
  readonly results: Map<string, string>;
  add(id: string, options?: { readonly topic?: string; readonly bytes?: number; readonly signal?: AbortSignal }): void;
  settled(): Promise<void>;
}

function rig(options: Partial<PublisherOptions> & { readonly lanes?: Partial<Lanes> } = {}): Rig {
  const clock = createVirtualClock();
  const calls: Call[] = [];
  const results = new Map<string, string>();
  const { lanes, ...rest } = options;
  const transport = {
    name: "fake",
    lanes: { of: ({ topic }: Message) => topic, batches: 1, maxMessages: 100, maxBytes: 1_000, ...lanes },
    publish(messages: readonly Message[], { signal }: { signal: AbortSignal }) {
      const answered = Promise.withResolvers<readonly PublishOutcome[]>();
      calls.push({
        ids: messages.map(({ id }) => id),
        signal,
        ok: () => answered.resolve(messages.map(() => published)),
        fail: (error) => answered.resolve(messages.map(() => ({ ok: false, error }))),
        answer: (outcomes) => answered.resolve(outcomes),
        throw: (error) => answered.reject(error),
      });
      return answered.promise;
    },
  } as unknown as Transport;
  const publisher = createPublisher({
    transport,
    clock,
    turn: createTurn(clock),
    timeoutMs: 10_000,
    maxBuffered: 1_000,
    maxBufferedBytes: 1e6,
    maxWaiting: 1_000,
    backoff: fixed(100, { jitter: "none" }),
    published: () => undefined,
    failed: () => undefined,
    ...rest,
  });
  const settled = async (): Promise<void> => {
    for (let turns = 0; turns < 3; turns += 1) await new Promise((resolve) => setImmediate(resolve));
  };
  return {
    clock,
    calls,
    publisher,
    results,
    settled,
    add(id, { topic = "t", bytes = 1, signal } = {}) {
      publisher.add(messageOf({ id, topic }), bytes, signal).then(
        () => results.set(id, "ok"),
        (error: WaybillError) => results.set(id, `${error.code} ${error.certainty}`),
      );
    },
  };
}

const lost = new WaybillError("CONNECTION_LOST", "lost");
const away = new WaybillError("CONNECTION", "away");
const refused = new WaybillError("UNROUTABLE", "nobody");
const idsOf = (calls: readonly Call[]): string[][] => calls.map(({ ids }) => [...ids]);

describe("batches", () => {
  test("what arrives in one go is one batch; what arrives while the lane is full is the next", async () => {
    const { add, calls, settled, results } = rig();
    add("1");
    add("2");
    await settled();
    add("3");
    add("4");
    await settled();
    assert.deepEqual(idsOf(calls), [["1", "2"]]);
    calls[0]?.ok();
    await settled();
    assert.deepEqual(idsOf(calls), [
      ["1", "2"],
      ["3", "4"],
    ]);
    assert.deepEqual(
      [...results],
      [
        ["1", "ok"],
        ["2", "ok"],
      ],
    );
  });

  test("a batch keeps to messages and bytes; one that is larger goes alone", async () => {
    const { add, calls, settled } = rig({ lanes: { maxMessages: 3, maxBytes: 10, batches: 9 } });
    for (const [id, bytes] of [
      ["a", 4],
      ["b", 4],
      ["c", 4],
      ["big", 50],
      ["d", 1],
      ["e", 1],
      ["f", 1],
      ["g", 1],
    ] as const)
      add(id, { bytes });
    await settled();
    assert.deepEqual(idsOf(calls), [["a", "b"], ["c"], ["big"], ["d", "e", "f"], ["g"]]);
  });

  test("a lane never waits for another, and has as many batches on their way as it may", async () => {
    const { add, calls, settled } = rig({ lanes: { maxMessages: 1, batches: 2 } });
    for (const id of ["1", "2", "3"]) add(id, { topic: "slow" });
    add("x", { topic: "fast" });
    await settled();
    assert.deepEqual(idsOf(calls), [["1"], ["2"], ["x"]]);
    calls[2]?.ok();
    calls[1]?.ok();
    await settled();
    assert.deepEqual(idsOf(calls).at(-1), ["3"]);
  });

  test("nothing is written while the transport is away", async () => {
    const { add, calls, settled, publisher } = rig();
    publisher.online(false);
    add("1");
    await settled();
    assert.equal(calls.length, 0);
    publisher.online(true);
    await settled();
    assert.equal(calls.length, 1);
  });
});

describe("sending again", () => {
  test("what failed goes first, in the order of the calls, once the lane is at rest and after a pause", async () => {
    const { add, calls, settled, clock, results } = rig({ lanes: { maxMessages: 2, batches: 2 } });
    for (const id of ["1", "2", "3", "4", "5"]) add(id);
    await settled();
    calls[1]?.answer([{ ok: false, error: away }, published]);
    await settled();
    await clock.advance(1_000);
    assert.equal(calls.length, 2, "the other batch is still on its way");
    calls[0]?.answer([published, { ok: false, error: lost }]);
    await settled();
    assert.equal(calls.length, 2, "it waits");
    await clock.advance(100);
    assert.deepEqual(idsOf(calls).slice(2), [["2", "3"], ["5"]]);
    calls[2]?.ok();
    calls[3]?.ok();
    await settled();
    assert.deepEqual(
      [...results].map(([, result]) => result),
      ["ok", "ok", "ok", "ok", "ok"],
    );
  });

  test("what can never work is not sent again, and holds up nothing", async () => {
    const { add, calls, settled, results } = rig();
    add("1");
    add("2");
    await settled();
    calls[0]?.answer([{ ok: false, error: refused }, published]);
    await settled();
    assert.deepEqual(
      [...results],
      [
        ["1", "UNROUTABLE definite"],
        ["2", "ok"],
      ],
    );
  });

  test("a definite failure after an indefinite one stays indefinite", async () => {
    const { add, calls, settled, clock, results } = rig();
    add("1");
    await settled();
    calls[0]?.fail(lost);
    await clock.advance(100);
    calls[1]?.fail(refused);
    await settled();
    assert.equal(results.get("1"), "UNROUTABLE indefinite");
  });

  test("a transport that throws, or answers too few outcomes, is repeated", async () => {
    const { add, calls, settled, clock, results } = rig();
    add("1");
    add("2");
    await settled();
    calls[0]?.throw(new Error("client"));
    await clock.advance(100);
    assert.deepEqual(idsOf(calls)[1], ["1", "2"]);
    calls[1]?.answer([published]);
    await clock.advance(100);
    assert.deepEqual(idsOf(calls)[2], ["2"]);
    calls[2]?.ok();
    await settled();
    assert.deepEqual(
      [...results],
      [
        ["1", "ok"],
        ["2", "ok"],
      ],
    );
  });
});

describe("time-outs and signals", () => {
  test("what was never written is definite, what may have been is indefinite", async () => {
    const { add, calls, clock, results } = rig();
    add("written");
    await clock.advance(0);
    add("waits");
    await clock.advance(10_100);
    assert.equal(calls[0]?.signal.aborted, true, "the adapter is told to give up");
    assert.equal(results.get("waits"), "PUBLISH_TIMEOUT definite");
    assert.equal(results.get("written"), undefined, "it may answer yet");
    await clock.advance(1_100);
    assert.equal(results.get("written"), "PUBLISH_TIMEOUT indefinite");
  });

  test("a batch that is given up leaves those of other lanes alone", async () => {
    const { add, calls, clock } = rig();
    add("old", { topic: "a" });
    await clock.advance(9_000);
    add("young", { topic: "b" });
    await clock.advance(2_000);
    assert.deepEqual(
      calls.map(({ ids, signal }) => [ids[0], signal.aborted]),
      [
        ["old", true],
        ["young", false],
      ],
    );
  });

  test("what is overdue is given up alone: younger ones of its lane are not written again", async () => {
    const { add, calls, clock, results } = rig({ lanes: { batches: 100, maxMessages: 2 } });
    for (let at = 0; at < 5_000; at += 500) {
      add(`${at}`);
      await clock.advance(500);
    }
    await clock.advance(6_250);
    assert.deepEqual(
      calls.map(({ signal }) => signal.aborted),
      calls.map((_, index) => index < 3),
    );
    for (const call of calls.slice(3)) call.ok();
    await clock.advance(2_000);
    assert.equal(calls.length, 10);
    assert.deepEqual(
      [...results.values()].toSorted(),
      calls.map((_, index) => (index < 3 ? "PUBLISH_TIMEOUT indefinite" : "ok")).toSorted(),
    );
  });

  test("nobody waits longer because a younger message is in the same batch", async () => {
    const { add, calls, clock, publisher, results } = rig();
    publisher.online(false);
    add("old");
    await clock.advance(9_000);
    add("young");
    publisher.online(true);
    await clock.advance(1_300);
    assert.deepEqual(
      calls.map(({ ids, signal }) => [...ids, signal.aborted]),
      [["old", "young", false]],
    );
    assert.deepEqual([...results], [["old", "PUBLISH_TIMEOUT indefinite"]]);
    calls[0]?.ok();
    await clock.advance(10);
    assert.equal(results.get("young"), "ok");
  });

  test("one that could not be sent in time tells why", async () => {
    const { calls, clock, publisher } = rig();
    const failure = publisher.add(messageOf({ id: "1", topic: "t" }), 1).catch((error: unknown) => error as WaybillError);
    for (let tries = 0; tries < 200; tries += 1) {
      await clock.advance(100);
      calls.at(-1)?.fail(away);
    }
    const error = (await failure) as WaybillError;
    assert.ok(error.code === "CONNECTION" || (error.code === "PUBLISH_TIMEOUT" && error.cause === away), error.code);
    assert.equal(error.certainty, "definite");
  });

  test("the caller's signal ends the wait: definite before the wire, indefinite after it", async () => {
    const { add, calls, settled, results } = rig();
    const stop = new AbortController();
    add("written", { signal: stop.signal });
    await settled();
    add("waits", { signal: stop.signal });
    stop.abort();
    await settled();
    add("late", { signal: stop.signal });
    await settled();
    assert.deepEqual(
      [...results],
      [
        ["written", "ABORTED indefinite"],
        ["waits", "ABORTED definite"],
        ["late", "ABORTED definite"],
      ],
    );
    calls[0]?.ok();
    await settled();
    assert.equal(calls.length, 1, "what nobody waits for is not written");
  });
});

describe("bounds", () => {
  test("callers wait for room, in their order; beyond it they are refused at once", async () => {
    const { add, calls, settled, results, publisher } = rig({ maxBuffered: 2, maxWaiting: 1 });
    for (const id of ["1", "2", "3", "4"]) add(id);
    await settled();
    assert.deepEqual([...results], [["4", "BUFFER_FULL definite"]]);
    assert.deepEqual(publisher.stats(), { buffered: 2, bufferedBytes: 2, waiting: 1, refused: 1 });
    calls[0]?.ok();
    await settled();
    assert.deepEqual(idsOf(calls), [["1", "2"], ["3"]]);
  });

  test("bytes count as well, and one that is larger than all of the room goes when it is empty", async () => {
    const { add, calls, settled, publisher } = rig({ maxBufferedBytes: 10 });
    add("a", { bytes: 6 });
    add("b", { bytes: 6 });
    add("huge", { bytes: 600 });
    await settled();
    assert.deepEqual(idsOf(calls), [["a"]]);
    for (let index = 0; index < 3; index += 1) {
      calls[index]?.ok();
      await settled();
    }
    assert.deepEqual(idsOf(calls), [["a"], ["b"], ["huge"]]);
    assert.deepEqual(publisher.stats(), { buffered: 0, bufferedBytes: 0, waiting: 0, refused: 0 });
  });

  test("those who wait for room time out there", async () => {
    const { add, clock, results } = rig({ maxBuffered: 1 });
    add("1");
    add("2");
    await clock.advance(10_100);
    assert.equal(results.get("2"), "PUBLISH_TIMEOUT definite");
  });

  test("a caller that gave up takes no place of others", async () => {
    const { add, settled, results, publisher } = rig({ maxBuffered: 1, maxWaiting: 1 });
    const stop = new AbortController();
    add("1");
    add("gone", { signal: stop.signal });
    stop.abort();
    await settled();
    add("3");
    await settled();
    assert.equal(results.has("3"), false, "it waits in the place of the one that gave up");
    assert.equal(publisher.stats().waiting, 1);
  });
});

describe("close", () => {
  test("waits until all is confirmed, and takes nothing more", async () => {
    const { add, calls, settled, results, publisher } = rig();
    add("1");
    await settled();
    add("2");
    let closed = false;
    const closing = publisher.close(new AbortController().signal).then(() => (closed = true));
    add("late");
    await settled();
    assert.equal(closed, false);
    calls[0]?.ok();
    await settled();
    calls[1]?.ok();
    await closing;
    assert.deepEqual(Object.fromEntries(results), { 1: "ok", 2: "ok", late: "CLOSED definite" });
  });

  test("when its time is over the rest is settled: definite where it was never written", async () => {
    const { add, settled, results, publisher, clock } = rig({ maxBuffered: 2 });
    add("written");
    await settled();
    add("waits");
    add("in the room");
    const over = new AbortController();
    const closing = publisher.close(over.signal);
    await settled();
    over.abort();
    await closing;
    await settled();
    assert.deepEqual(Object.fromEntries(results), {
      "in the room": "CLOSED definite",
      waits: "CLOSED definite",
      written: "CLOSED indefinite",
    });
    await clock.advance(60_000);
    assert.equal(clock.pending, 0);
  });

  test("does not wait for callers that gave up", async () => {
    const { add, calls, settled, publisher } = rig({ maxBuffered: 1 });
    const stop = new AbortController();
    add("1");
    add("gone", { signal: stop.signal });
    stop.abort();
    await settled();
    let closed = false;
    void publisher.close(new AbortController().signal).then(() => (closed = true));
    calls[0]?.ok();
    await settled();
    assert.equal(closed, true);
  });
});

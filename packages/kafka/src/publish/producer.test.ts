import assert from "node:assert/strict";
import { test } from "node:test";
import { readRecordsBatch, Reader, type Connection } from "@platformatic/kafka";
import { systemClock, type Message, type PublishOutcome } from "@waybill/core";
import { readOptions } from "../options.ts";
import type { Cluster } from "../session/cluster.ts";
import { codes } from "../session/codes.ts";
import { createLimit } from "./limit.ts";
import { createProducer, type PartitionQueue } from "./producer.ts";

/** What one write held: by whom, its first number, its messages. */
interface Write {
  readonly epoch: number;
  readonly sequence: number;
  readonly ids: readonly string[];
}

type Answer = number | "lost" | "silent";

/** A broker that answers writes as it is told, and a producer of it. */
function scripted(answers: readonly Answer[], deliveryTimeout = 2_000, retryBackoff = 5) {
  const writes: Write[] = [];
  const left = [...answers];
  const connection = {
    send(
      apiKey: number,
      _version: number,
      createPayload: () => { readonly buffer: Buffer },
      _parser: unknown,
      _a: unknown,
      _b: unknown,
      callback: (error: Error | null, answer?: unknown) => void,
    ) {
      if (apiKey === 22) return void setImmediate(callback, null, { errorCode: 0, producerId: 7n, producerEpoch: 0 });
      const payload = createPayload().buffer;
      const at = payload.indexOf(Buffer.from([0, 0, 0, 0, 0, 0, 0, 0]), 8);
      const batch = readRecordsBatch(Reader.from(payload.subarray(at)));
      const ids = batch.records.map(({ headers }) => headers[0]?.[1]?.toString() ?? "");
      writes.push({ epoch: batch.producerEpoch, sequence: batch.firstSequence, ids });
      const answer = left.shift() ?? codes.none;
      if (answer === "silent") return;
      if (answer === "lost") return void setImmediate(callback, new Error("Connection closed"));
      setImmediate(callback, null, { responses: [{ name: "t", partitionResponses: [{ index: 0, errorCode: answer }] }] });
    },
  } as unknown as Connection;
  const settings = readOptions({ retryBackoff, deliveryTimeout });
  const topics = new Map([["t", { name: "t", topicId: "1", partitions: [{ partition: 0, leader: 1, replicas: [1] }] }]]);
  const cluster = {
    settings,
    clock: systemClock,
    metadata: async () => topics,
    forgetTopic: () => undefined,
    connectionTo: async () => connection,
    release: () => undefined,
    pause: (delayMs: number) => new Promise((resolve) => setTimeout(resolve, delayMs, true)),
  } as unknown as Cluster;
  const producer = createProducer(cluster, "0");
  let made = 0;
  const publish = async (count: number): Promise<readonly PublishOutcome[]> => {
    const messages = Array.from({ length: count }, (): Message => {
      made += 1;
      const fields = { deliverAt: undefined, expiresAt: undefined, priority: undefined, replyTo: undefined, correlationId: undefined };
      return {
        id: `m${made}`,
        topic: "t",
        group: undefined,
        key: "k",
        body: Buffer.from("b"),
        headers: {},
        time: 0,
        mandatory: false,
        native: undefined,
        ...fields,
      };
    });
    const queue: PartitionQueue = {
      topic: "t",
      partition: 0,
      messages,
      indexes: messages.map((_, index) => index),
      done: 0,
      batch: undefined,
      maxCount: Number.MAX_SAFE_INTEGER,
    };
    const outcomes: PublishOutcome[] = [];
    const limit = createLimit(systemClock, settings.deliveryTimeoutMs, []);
    await producer.write([queue], outcomes, limit);
    limit.end();
    return outcomes;
  };
  return { publish, writes };
}

const all = (outcomes: readonly PublishOutcome[]): string =>
  outcomes.map((outcome) => (outcome.ok ? "ok" : `${outcome.error.code} ${outcome.error.certainty}`)).join(", ");

test("numbers go on from write to write", async () => {
  const { publish, writes } = scripted([]);
  assert.equal(all(await publish(3)), "ok, ok, ok");
  assert.equal(all(await publish(2)), "ok, ok");
  assert.deepEqual(
    writes.map(({ sequence }) => sequence),
    [0, 3],
  );
});

test("a write that got no answer is repeated with its own number, and the broker's 'I have it' is an ok", async () => {
  const { publish, writes } = scripted(["lost", codes.notLeaderOrFollower, "lost", codes.duplicateSequenceNumber]);
  assert.equal(all(await publish(2)), "ok, ok");
  assert.equal(all(await publish(1)), "ok");
  assert.deepEqual(
    writes.map(({ epoch, sequence }) => [epoch, sequence]),
    [
      [0, 0],
      [0, 0],
      [0, 0],
      [0, 0],
      [0, 2],
    ],
  );
});

test("what nobody knows in time is indefinite, and the next write begins a new epoch, which fences it", async () => {
  const { publish, writes } = scripted([codes.none, "silent"], 150);
  assert.equal(all(await publish(1)), "ok");
  assert.equal(all(await publish(2)), "PUBLISH_TIMEOUT indefinite, PUBLISH_TIMEOUT indefinite");
  assert.equal(all(await publish(1)), "ok");
  assert.deepEqual(
    writes.map(({ epoch, sequence }) => [epoch, sequence]),
    [
      [0, 0],
      [0, 1],
      [1, 0],
    ],
  );
});

test("a refusal after a try without an answer is still indefinite; without one it is definite", async () => {
  const { publish } = scripted(["lost", codes.topicAuthorizationFailed, codes.topicAuthorizationFailed]);
  assert.equal(all(await publish(1)), "CONNECTION_LOST indefinite");
  assert.equal(all(await publish(1)), "AUTH definite");
});

test("a refusal that will not pass is definite; no leader until the end as well", async () => {
  const refused = scripted([codes.invalidTopic]);
  assert.equal(all(await refused.publish(1)), "NAME definite");
  const headless = scripted(
    Array.from({ length: 10 }, () => codes.notLeaderOrFollower),
    300,
    200,
  );
  assert.equal(all(await headless.publish(1)), "CONNECTION definite");
});

test("stored, and not by enough replicas: sent again under its number", async () => {
  const { publish, writes } = scripted([codes.notEnoughReplicasAfterAppend, codes.none]);
  assert.equal(all(await publish(1)), "ok");
  assert.deepEqual(
    writes.map(({ sequence }) => sequence),
    [0, 0],
  );
});

test("a batch that is too large is halved until what is too large is alone, and keeps the order", async () => {
  const tooLarge = codes.messageTooLarge;
  const { publish, writes } = scripted([tooLarge, tooLarge, codes.none, tooLarge, codes.none, codes.none]);
  assert.equal(all(await publish(4)), "ok, TOO_LARGE definite, ok, ok");
  assert.deepEqual(
    writes.map(({ ids }) => ids.join(" ")),
    ["m1 m2 m3 m4", "m1 m2", "m1", "m2", "m3", "m4"],
  );
  assert.deepEqual(
    writes.map(({ sequence }) => sequence),
    [0, 0, 0, 1, 1, 2],
  );
});

test("a producer that the broker has forgotten goes on under a new epoch; what may be stored is not sent under it", async () => {
  const forgotten = scripted([codes.none, codes.unknownProducerId, codes.none]);
  await forgotten.publish(1);
  assert.equal(all(await forgotten.publish(1)), "ok");
  assert.deepEqual(
    forgotten.writes.map(({ epoch, sequence }) => [epoch, sequence]),
    [
      [0, 0],
      [0, 1],
      [1, 0],
    ],
  );
  const doubtful = scripted(["lost", codes.outOfOrderSequenceNumber]);
  assert.equal(all(await doubtful.publish(1)), "CONNECTION_LOST indefinite");
  assert.equal(doubtful.writes.length, 2);
});

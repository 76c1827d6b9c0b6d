import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { Admin, Connection, deleteRecordsV2, leaveGroupV5, Producer } from "@platformatic/kafka";
import { idsOf, keep, messageOf, publishAll, startReal, until, type Kept, type Real } from "./real.fixture.ts";

let real: Real;
before(async () => {
  real = await startReal();
});
after(async () => {
  await real[Symbol.asyncDispose]();
});

const numbered = (topic: string, count: number, keys: number) =>
  Array.from({ length: count }, (_, index) => messageOf(topic, { key: `k${index % keys}`, body: Buffer.from(String(index)) }));
const numberOf = ({ body }: { readonly body: unknown }): number => Number(Buffer.from(body as Uint8Array).toString());

for (const options of [{}, { assignment: "eager" }, { groupProtocol: "consumer" }] as const) {
  const name = Object.values(options)[0] ?? "cooperative";
  test(`members come and go under load: nothing is lost or repeated, keys keep their order (${name})`, async () => {
    const topic = real.unique("load");
    const group = real.unique("g");
    const publisher = await real.open();
    const members: Kept[] = [];
    const join = async (): Promise<Kept> => {
      const member = await keep(await real.open(options), { topic, group, credit: { messages: 20, bytes: 1 << 20 } });
      members.push(member);
      return member;
    };
    const first = await join();
    let sent: string[] = [];
    let isOver = false;
    const load = (async () => {
      for (let round = 0; !isOver; round += 1) {
        const batch = Array.from({ length: 40 }, (_, index) =>
          messageOf(topic, { key: `k${index}`, body: Buffer.from(String(round * 40 + index)) }),
        );
        await publishAll(publisher, batch);
        sent = sent.concat(batch.map(({ id }) => id));
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    })();
    load.catch(() => undefined);
    const second = await join();
    await until("the second member has some", () => second.got.length > 50);
    const third = await join();
    await until("the third member has some", () => third.got.length > 50);
    await first.subscription[Symbol.asyncDispose]();
    await until("the others go on", () => second.got.length > 300 && third.got.length > 300);
    isOver = true;
    await load;
    const all = (): string[] => members.flatMap(({ acked }) => idsOf(acked));
    await until("all of it", () => new Set(all()).size >= sent.length);
    assert.deepEqual(all().toSorted(), sent.toSorted(), "each once");
    for (const { got } of members) {
      const last = new Map<string | undefined, number>();
      for (const { message } of got) {
        assert(numberOf(message) > (last.get(message.key) ?? -1), `key ${message.key} out of order`);
        last.set(message.key, numberOf(message));
      }
    }
  });
}

for (const groupProtocol of ["classic", "consumer"] as const) {
  test(`a member that is killed (kill -9) is replaced, its messages are marked, within 10 s (${groupProtocol})`, async (context) => {
    const topic = real.unique("killed");
    const group = real.unique("g");
    const publisher = await real.open();
    await publisher.declare?.({ topics: [topic], groups: [] });
    const file = fileURLToPath(new URL("./holder.fixture.ts", import.meta.url));
    const child = spawn(
      process.execPath,
      [...process.execArgv.filter((flag) => !flag.startsWith("--test")), file, real.address, topic, group, groupProtocol],
      {
        stdio: ["ignore", "pipe", "inherit"],
        env: { ...process.env, NODE_TEST_CONTEXT: undefined },
      },
    );
    try {
      const lines: string[] = [];
      createInterface({ input: child.stdout }).on("line", (line) => lines.push(line));
      await until("the member that will die", () => lines.includes("ready"));
      const messages = numbered(topic, 20, 20);
      await publishAll(publisher, messages);
      await until("it has all", () => Number(lines.at(-1)) === 20);
      const survivor = await keep(await real.open({ groupProtocol }), { topic, group });
      child.kill("SIGKILL");
      const killedAt = performance.now();
      await until("the survivor has all", () => new Set(idsOf(survivor.got)).size === 20, 20_000);
      const tookMs = performance.now() - killedAt;
      context.diagnostic(`takeover after kill -9, ${groupProtocol}: ${(tookMs / 1_000).toFixed(1)} s`);
      assert(tookMs < 10_000, `${tookMs} ms`);
      const marked = survivor.got.filter(({ takenOver }) => takenOver);
      assert(marked.length > 0 && marked.length <= 20);
    } finally {
      child.kill("SIGKILL");
    }
  });
}

test("a commit of a member that the coordinator has put out is refused: what it held goes to another one", async () => {
  const topic = real.unique("late");
  const group = real.unique("g");
  const transport = await real.open({ heartbeatEvery: "5s" });
  const stale = await keep(transport, { topic, group }, false);
  await publishAll(transport, numbered(topic, 10, 10));
  await until("all in hand", () => stale.got.length === 10);
  await putOut(group);
  const next = await keep(await real.open(), { topic, group }, false);
  const outcomes = await stale.subscription.settle(stale.got.slice(0, 10).map((delivery) => ({ kind: "ack", delivery })));
  assert.deepEqual(new Set(outcomes), new Set(["lost"]));
  await until("all again", () => new Set([...idsOf(next.got), ...idsOf(stale.got.slice(10))]).size === 10);
  assert(stale.events.some(({ kind }) => kind === "lost"));
});

test("a member that the coordinator does not have is found out, and ends with an error that may be tried again", async () => {
  const topic = real.unique("estranged");
  const group = real.unique("g");
  const transport = await real.open({ heartbeatEvery: "5s", watchEvery: "100ms" });
  const kept = await keep(transport, { topic, group });
  await putOut(group);
  await until("it is told", () => kept.events.some((event) => event.kind === "failed" && event.error.retryable), 4_000);
});

test("a batch that unpacks to too much is passed over and told; what comes after it arrives", async () => {
  const topic = real.unique("bomb");
  const transport = await real.open({ topics: { partitions: 1 }, maxUnpackedBytes: 1 << 20 });
  const kept = await keep(transport, { topic, group: real.unique("g") });
  const producer = new Producer({ clientId: "bomb", bootstrapBrokers: [real.address] });
  try {
    for (const compression of ["gzip", "zstd", "lz4", "snappy"] as const) {
      const value = Buffer.alloc(4 << 20);
      await producer
        .send({
          messages: [
            { topic, value },
            { topic, value },
          ],
          compression,
          acks: -1,
        })
        .catch((error: unknown) => {
          // snappy packs zeros to a twentieth only: the server may find that too large.
          if (compression !== "snappy") throw error;
        });
    }
    const sound = messageOf(topic);
    await publishAll(transport, [sound]);
    await until("the sound one", () => kept.got.some(({ message }) => message.id === sound.id));
    assert.equal(kept.got.length, 1);
    const gaps = kept.events.filter((event) => event.kind === "gap");
    assert(gaps.reduce((sum, { count }) => sum + (count ?? 0), 0) >= 6);
    assert(gaps.every(({ reason }) => reason.includes("1048576")));
  } finally {
    await producer.close();
  }
});

test("what is no longer kept is told as a gap with its range, and the rest arrives", async () => {
  const topic = real.unique("trimmed");
  const group = real.unique("g");
  const transport = await real.open({ topics: { partitions: 1 } });
  const first = await keep(transport, { topic, group }, false);
  const messages = numbered(topic, 30, 1);
  await publishAll(transport, messages);
  await until("all are there", () => first.got.length === 30);
  await first.subscription[Symbol.asyncDispose]();
  await deleteBefore(topic, 20n);
  const second = await keep(transport, { topic, group });
  await until("the rest", () => second.got.length === 10);
  assert.deepEqual(
    idsOf(second.got),
    messages.slice(20).map(({ id }) => id),
  );
  assert.deepEqual(
    second.events.map((event) => (event.kind === "gap" ? [event.count, event.reason] : event.kind)),
    [[20, `${topic}/0 from 0 to 19: no longer kept`]],
  );
});

test("a consumer that is there before its topic gets all of it once it is made", async () => {
  const topic = real.unique("later");
  const kept = await keep(await real.open({ createTopics: false }), { topic, group: real.unique("g") });
  const reader = await keep(await real.open({ createTopics: false }), { topic });
  const publisher = await real.open();
  const messages = numbered(topic, 20, 5);
  await publishAll(publisher, messages);
  await until("all of it", () => kept.acked.length === 20 && reader.got.length === 20);
});

test("a member with an instance id comes back to what it had, and the others notice nothing", async () => {
  const topic = real.unique("static");
  const group = real.unique("g");
  const open = () => real.open({ instanceId: "one" });
  const firstly = await open();
  const first = await keep(firstly, { topic, group });
  const other = await keep(await real.open({ instanceId: "two" }), { topic, group });
  const publisher = await real.open();
  await publishAll(publisher, numbered(topic, 40, 40));
  await until("all of it", () => first.acked.length + other.acked.length === 40 && other.acked.length > 0);
  const revoked = other.events.length;
  await firstly.close();
  const messages = numbered(topic, 40, 40);
  await publishAll(publisher, messages);
  const again = await keep(await open(), { topic, group });
  await until("the rest", () => first.acked.length + other.acked.length + again.acked.length === 80);
  assert.equal(other.events.length, revoked, "a rebalance");
});

test("a long delay is waited out in a log of its own, and nothing behind it waits", async () => {
  const topic = real.unique("delayed");
  const transport = await real.open({ topics: { partitions: 1 } });
  const kept = await keep(transport, { topic, group: real.unique("g") });
  const dueAt = Date.now() + 11_500;
  const late = messageOf(topic, { deliverAt: dueAt, headers: { kept: "yes" } });
  const now = messageOf(topic);
  await publishAll(transport, [late, now]);
  await until("what is not delayed", () => kept.acked.length === 1);
  await until("the late one", () => kept.acked.length === 2);
  const tookMs = Date.now() - dueAt;
  assert(tookMs >= 0 && tookMs < 2_000, `${tookMs} ms after it was due`);
  const got = kept.got[1]?.message;
  assert.equal(got?.id, late.id);
  assert.equal(got?.topic, topic);
  assert.deepEqual({ ...got?.headers }, { kept: "yes" });
  assert.match(kept.got[1]?.part ?? "", /^waybill\.delay\.10s/);
});

/** As its coordinator would for a member that was silent for too long. */
async function putOut(group: string): Promise<void> {
  const admin = new Admin({ clientId: "putting-out", bootstrapBrokers: [real.address] });
  const connection = new Connection("putting-out");
  try {
    const members = [...((await admin.describeGroups({ groups: [group] })).get(group)?.members.keys() ?? [])];
    assert(members.length > 0);
    await connection.connect(real.broker.host, real.broker.port);
    await leaveGroupV5.api.async(
      connection,
      group,
      members.map((memberId) => ({ memberId, groupInstanceId: null, reason: "put out" })),
    );
  } finally {
    await connection.close();
    await admin.close();
  }
}

async function deleteBefore(topic: string, offset: bigint): Promise<void> {
  const connection = new Connection("deleting");
  try {
    await connection.connect(real.broker.host, real.broker.port);
    await deleteRecordsV2.api.async(connection, [{ name: topic, partitions: [{ partitionIndex: 0, offset }] }], 5_000);
  } finally {
    await connection.close();
  }
}

import assert from "node:assert/strict";
import { startActor } from "../actors.ts";
import type { Case } from "../case.ts";
import { checkHistory } from "../checker.ts";
import { assertValid } from "../crash-run.ts";
import { historyVersion } from "../history.ts";
import { collector, inOrder } from "../recorder.ts";
import { connect, message, publishAll, read } from "../rig.ts";
import { ids, subscribe } from "../taker.ts";

export const diskCases: readonly Case[] = [
  {
    name: "M01 what was acknowledged is on the disk",
    needs: ["keeps", "settle", "fault:holds"],
    async prove(rig) {
      const broker = await rig.freshBroker();
      const transport = await rig.transport(broker);
      const topic = rig.unique("stored");
      await subscribe(rig, transport, { topic, group: rig.unique("g"), credit: { messages: 0, bytes: 0 } });
      for (let round = 0; round < rig.scale(30, 300); round += 1) {
        const batch = Array.from({ length: 1 + Math.floor(rig.random() * 20) }, () => message(rig, topic));
        await publishAll(rig, transport, batch);
        const last = batch.at(-1);
        assert(last !== undefined && (await broker.faults.holds?.(last.id)) === true, "acknowledged, and another reader does not see it");
        rig.saw(batch.length);
      }
    },
  },
  {
    name: "M01 M02 P06 O05 after a loss of power the file opens with all that was acknowledged, and nothing else",
    needs: ["keeps", "settle", "fromEarliest", "reader", "fault:afterPowerLoss"],
    deadlineMs: 60_000,
    async prove(rig) {
      const broker = await rig.freshBroker();
      const transport = await rig.transport(broker);
      const topic = rig.unique("power");
      await subscribe(rig, transport, { topic, group: "g", credit: { messages: 0, bytes: 0 } });
      const sent = Array.from({ length: 60 }, (_, n) => message(rig, topic, { key: "k", body: { n } }));
      for (let at = 0; at < sent.length; at += 3) await publishAll(rig, transport, sent.slice(at, at + 3));
      let states = 0;
      let cut = 0;
      for await (const { broker: copy, whole } of broker.faults.afterPowerLoss?.(rig.random, rig.scale(40, 2_000)) ?? []) {
        try {
          const opened = rig.raw(copy);
          await connect(opened, rig.waitMs);
          try {
            const last = message(rig, topic, { key: "k", body: { n: -1 } });
            await publishAll(rig, opened, [last]);
            const found: { readonly id: string; readonly n: unknown }[] = [];
            const reader = await subscribe(rig, opened, { topic, from: "earliest" });
            await rig.until("the end of the copy", () => ids(reader.got).includes(last.id));
            for (const { message: got } of reader.got)
              if (got.id !== last.id) found.push({ id: got.id, n: (read(got) as { n: unknown }).n });
            // Batches of three were committed one after another: what survives is a prefix of whole ones.
            assert.deepEqual(
              found,
              sent.slice(0, found.length).map(({ id }, n) => ({ id, n })),
              "not a prefix of what was published",
            );
            assert.equal(found.length % 3, 0, "half of a commit");
            if (whole) assert.equal(found.length, sent.length, "acknowledged and written, and it is gone");
            else if (found.length < sent.length) cut += 1;
            await reader.close();
          } finally {
            await opened.close();
          }
        } finally {
          await copy[Symbol.asyncDispose]();
        }
        states += 1;
        rig.saw(sent.length);
      }
      assert(states > 1 && cut > 0, `${states} states, ${cut} of them cut short`);
    },
  },
  {
    name: "M04 changed bytes are never served: the message is left out and told, or the file is refused",
    needs: ["keeps", "settle", "fault:corrupt"],
    async prove(rig) {
      const broker = await rig.freshBroker();
      const transport = await rig.transport(broker);
      const topic = rig.unique("rot");
      const member = rig.unique("g");
      const first = await subscribe(rig, transport, { topic, group: member });
      await first.close();
      const marker = `marker-${rig.unique("m")}`;
      const sent = Array.from({ length: 20 }, (_, n) => message(rig, topic, { key: "k", body: n === 7 ? { marker } : { n } }));
      await publishAll(rig, transport, sent);
      await transport.close();
      await broker.faults.corrupt?.(marker);
      const opened = rig.raw(broker);
      rig.defer(() => opened.close());
      const refused = await connect(opened, rig.waitMs).then(
        () => undefined,
        (error: unknown) => error as { readonly code?: string; readonly remedy?: string },
      );
      if (refused !== undefined) {
        assert.equal(refused.code, "CORRUPT");
        assert.match(refused.remedy ?? "", /salvage/);
        return;
      }
      const taker = await subscribe(rig, opened, { topic, group: member }, { ack: true });
      const told = (): boolean =>
        taker.events.some((event) => event.kind === "gap" || (event.kind === "failed" && event.error.code === "CORRUPT"));
      await rig.until("the loss is told", told);
      if (taker.events.some((event) => event.kind === "gap")) await rig.until("all others", () => taker.got.length >= sent.length - 1);
      for (const { message: got } of taker.got) {
        const was = sent.find((each) => each.id === got.id);
        assert(was !== undefined && was !== sent[7], "a changed message was served");
        assert.deepEqual(read(got), read(was));
      }
      rig.saw(sent.length);
    },
  },
  {
    name: "M04 salvage copies every sound message and lists what is lost",
    needs: ["keeps", "settle", "reader", "fromEarliest", "fault:corrupt", "fault:salvage"],
    async prove(rig) {
      const broker = await rig.freshBroker();
      const transport = await rig.transport(broker);
      const topic = rig.unique("salvage");
      const marker = `marker-${rig.unique("m")}`;
      const sent = Array.from({ length: 20 }, (_, n) => message(rig, topic, { key: "k", body: n === 7 ? { marker } : { n } }));
      await subscribe(rig, transport, { topic, group: "g", credit: { messages: 0, bytes: 0 } });
      await publishAll(rig, transport, sent);
      await transport.close();
      await broker.faults.corrupt?.(marker);
      const saved = await broker.faults.salvage?.();
      assert(saved !== undefined);
      rig.defer(async () => saved.broker[Symbol.asyncDispose]());
      assert.equal(saved.lost, 1);
      const reader = await subscribe(rig, await rig.transport(saved.broker), { topic, from: "earliest" });
      const left = sent.filter((_, n) => n !== 7);
      assert.deepEqual(
        ids(await reader.take(left.length)),
        left.map((each) => each.id),
      );
      rig.saw(sent.length);
    },
  },
  {
    name: "M05 several processes write at once: each gets its turn, nothing is lost or mixed up",
    needs: ["keeps", "settle", "crash"],
    deadlineMs: 90_000,
    unless: (rig) => (rig.target.processes ? undefined : "the target is open to this process alone"),
    async prove(rig) {
      const broker = await rig.freshBroker();
      const topic = rig.unique("turns");
      const group = rig.unique("g");
      const history = collector();
      const common = { run: topic, seed: rig.seed, topic };
      const consumer = startActor(
        rig,
        broker,
        { ...common, role: "consumer", proc: "consumer", inc: 0, group, concurrency: 50, leaseMs: 10_000, attempts: 3 },
        history.write,
      );
      await rig.within("the consumer", consumer.ready, 20_000);
      const count = rig.scale(2_000, 20_000);
      const writers = Array.from({ length: 4 }, (_, n) =>
        startActor(rig, broker, { ...common, role: "producer", proc: `writer${n}`, inc: 0, count, keys: 20, waits: true }, history.write),
      );
      await Promise.all(writers.map((writer) => rig.within("the start of a writer", writer.ready, 30_000)));
      for (const writer of writers) writer.go();
      await Promise.all(writers.map((writer) => rig.within("a writer", writer.done, 60_000)));
      const ok = history.records.flatMap((record) => (record.f === "send" && record.type === "ok" ? [record] : []));
      assert.equal(ok.length, 4 * count);
      // While all four write, none gets less than an eighth of what is written.
      const begun = Math.max(...writers.map(({ script }) => ok.find((record) => record.proc === script.proc)?.tMono ?? 0));
      const ended = Math.min(...writers.map(({ script }) => ok.findLast((record) => record.proc === script.proc)?.tMono ?? 0));
      const during = ok.filter((record) => record.tMono >= begun && record.tMono <= ended);
      for (const { script } of writers) {
        const share = during.filter((record) => record.proc === script.proc).length / during.length;
        assert(share >= 1 / 8, `${script.proc} got ${(share * 100).toFixed(1)} % of ${during.length}`);
      }
      const handled = new Set<string>();
      let read = 0;
      await rig.until(
        "all handled",
        () => {
          for (; read < history.records.length; read += 1) {
            const record = history.records[read];
            if (record?.f === "delivery" && record.type === "handled-ok") handled.add(record.msg);
          }
          return handled.size === 4 * count;
        },
        40_000,
      );
      await Promise.all([consumer, ...writers].map((actor) => rig.within("the end of an actor", actor.stop(), 15_000)));
      history.write({
        v: historyVersion,
        run: topic,
        seed: rig.seed,
        proc: "harness",
        inc: 0,
        tMono: Number(process.hrtime.bigint()),
        f: "drain",
        type: "end",
        reason: "complete",
      });
      assertValid(checkHistory(inOrder(history.records)));
      rig.saw(4 * count);
    },
  },
  {
    name: "M06 a file of an older format opens with all that is in it",
    needs: ["keeps", "settle"],
    unless: (rig) => (rig.target.formats?.older === undefined ? "there is no older format" : undefined),
    async prove(rig) {
      const older = await rig.target.formats?.older?.();
      assert(older !== undefined);
      rig.defer(async () => older.broker[Symbol.asyncDispose]());
      const transport = await rig.transport(older.broker);
      const taker = await subscribe(rig, transport, { topic: older.topic, from: "earliest" });
      assert.deepEqual(ids(await taker.take(older.ids.length)).toSorted(), older.ids.toSorted());
      rig.saw(older.ids.length);
    },
  },
  {
    name: "M06 a file of a newer format is refused, and left as it is",
    needs: ["keeps", "settle"],
    unless: (rig) => (rig.target.formats === undefined ? "the target has no file of a newer format" : undefined),
    async prove(rig) {
      const newer = await rig.target.formats?.newer();
      assert(newer !== undefined);
      rig.defer(async () => newer[Symbol.asyncDispose]());
      for (let round = 0; round < 2; round += 1) {
        const transport = rig.raw(newer);
        await assert.rejects(connect(transport, rig.waitMs), { code: "FILE_VERSION" });
        await transport.close();
      }
    },
  },
];

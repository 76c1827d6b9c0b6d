import assert from "node:assert/strict";
import { brotliCompressSync, gzipSync } from "node:zlib";
import { event, fixed } from "@waybill/core";
import type { Message, StandardSchema } from "@waybill/core";
import { blockRun } from "../block-run.ts";
import { openBus } from "../buses.ts";
import type { Case } from "../case.ts";
import { assertValid, crashRun } from "../crash-run.ts";
import { headers, message, publishAll } from "../rig.ts";
import type { Rig } from "../rig.ts";
import { delivery } from "./bus-publish.ts";
import { offered } from "./publish.ts";

interface Order {
  readonly n: number;
}

/** A Standard Schema by hand: an object with a number `n`. */
const schema: StandardSchema<Order> = {
  "~standard": {
    version: 1,
    vendor: "conformance",
    validate: (value) =>
      typeof value === "object" && value !== null && "n" in value && typeof value.n === "number"
        ? { value: value as Order }
        : { issues: [{ message: "expected a number", path: ["n"] }] },
  },
};

export const badInputCases: readonly Case[] = [
  {
    name: "C06 D14 a handler that throws anything, or never ends, stops nobody else",
    needs: ["groups"],
    async prove(rig) {
      const topic = rig.unique("throws");
      const contract = event<{ readonly kind: string; readonly n: number }>(topic, { key: (body) => body.kind });
      const revoked = Proxy.revocable({}, {});
      revoked.revoke();
      const hostile = new Proxy(
        {},
        { get: (_target, name) => (name === "then" ? undefined : fail()), getPrototypeOf: fail, has: fail, ownKeys: fail },
      );
      const thrown: Readonly<Record<string, unknown>> = {
        undefined: undefined,
        null: null,
        number: 5,
        symbol: Symbol("bad"),
        frozen: Object.freeze({ code: "x" }),
        "frozen error": Object.freeze(new Error("frozen")),
        revoked: revoked.proxy,
        hostile,
        "no message": Object.assign(new Error("gone"), { message: undefined, stack: undefined }),
        cyclic: Object.assign(new Error("cyclic"), { cause: undefined }),
      };
      (thrown["cyclic"] as Error).cause = thrown["cyclic"];
      const kinds = [...Object.keys(thrown), "rejects", "never"];
      const goods = 40;
      let good = 0;
      const bus = await openBus(rig, {}, (bus) => {
        bus.subscribe(
          contract,
          {
            group: "g",
            concurrency: 8,
            timeout: 100,
            grace: 20,
            maxAbandoned: 1_000,
            retry: { attempts: 2, backoff: fixed(5), deadLetter: true },
            ...delivery(rig),
          },
          (body) => {
            if (body.kind === "good") return void (good += 1);
            if (body.kind === "never") return new Promise(() => undefined);
            if (body.kind === "rejects") return Promise.reject(undefined);
            throw thrown[body.kind];
          },
        );
      });
      const counters = () => bus.metrics().groups[topic]?.["g"];
      for (let n = 0; n < goods; n += 1) {
        const kind = kinds[n];
        if (kind !== undefined) await bus.publish(contract, { kind, n });
        await bus.publish(contract, { kind: "good", n });
      }
      await rig.until("the good ones", () => good === goods);
      await rig.until("the bad ones", () => (counters()?.deadLettered ?? 0) + (counters()?.dropped ?? 0) === kinds.length);
      assert.equal(counters()?.failed, kinds.length * 2, "each was tried as often as it was to be");
      if (offered(rig, "publishToGroup")) {
        const letters = await bus.deadLetters(contract, { group: "g" }).list();
        assert.equal(letters.length, kinds.length);
        for (const { cause } of letters) assert(cause.code === "HANDLER" || cause.code === "HANDLER_TIMEOUT", cause.code);
      }
      rig.saw(goods + kinds.length);
    },
  },
  {
    name: "S01 S05 S06 S11 a body that cannot be read ends handled or dead-lettered, and harms nobody",
    needs: ["groups"],
    async prove(rig) {
      const topic = rig.unique("unreadable");
      const contract = event(topic, { version: 2, schema });
      const bad = rig.capabilities.body === "bytes" ? badBytes(rig, topic) : badValues(rig, topic);
      const good: number[] = [];
      let odd = 0;
      const bus = await openBus(rig, { maxDecodedBytes: 1 << 20 }, (bus) => {
        bus.subscribe(
          contract,
          { group: "g", concurrency: 4, retry: { attempts: 3, backoff: fixed(5), deadLetter: true }, ...delivery(rig) },
          (body) => {
            if (body.n < 0) odd += 1;
            else good.push(body.n);
          },
        );
      });
      const transport = await rig.transport();
      for (const [n, { sent }] of bad.entries()) {
        await publishAll(rig, transport, [sent]);
        await bus.publish(contract, { n });
      }
      const counters = () => bus.metrics().groups[topic]?.["g"];
      const ended = (): number => (counters()?.deadLettered ?? 0) + (counters()?.dropped ?? 0) + odd;
      await rig.until("all that is good", () => good.length === bad.length);
      await rig.until("all that is bad", () => ended() === bad.length);
      assert.equal(({} as Record<string, unknown>)["polluted"], undefined, "a prototype was changed");
      if (offered(rig, "publishToGroup")) {
        for (const { message: letter, cause } of await bus.deadLetters(contract, { group: "g" }).list()) {
          const expected = bad.find(({ sent }) => sent.id === letter.id);
          assert(expected !== undefined, "a good message was dead-lettered");
          assert(expected.codes.includes(cause.code), `${cause.code}, expected ${expected.codes.join(" or ")}`);
          assert.equal(cause.attempts, 1, "what cannot be read is not tried again");
        }
      }
      rig.saw(bad.length * 2);
    },
  },
  {
    name: "D15 D17 a message that ends its process is dead-lettered after N + 1 deaths at most, its neighbours untouched",
    needs: ["settle", "crash", "publishToGroup"],
    together: true,
    deadlineMs: 90_000,
    async prove(rig) {
      const attempts = 2;
      const ran = await crashRun(rig, {
        victim: "consumer",
        deaths: 0,
        poison: 1,
        producer: { poison: 1 },
        consumer: { attempts, leaseMs: 1_000 },
      });
      assert(ran.deaths >= 1 && ran.deaths <= attempts + 1, `${ran.deaths} deaths with ${attempts} attempts`);
      assert.equal(ran.verdict.verdict, "valid", JSON.stringify(ran.verdict));
      const bus = await openBus(rig, { broker: ran.broker });
      const letters = await bus.deadLetters(ran.topic, { group: ran.group }).list();
      assert.deepEqual(
        letters.map((letter) => [letter.message.id, letter.cause.code]),
        [["producer.0.0", "CRASH_POISON"]],
      );
      const published = new Set(
        ran.records.flatMap((each) => (each.f === "send" && each.dest === ran.topic && each.type === "ok" ? [each.msg] : [])),
      );
      const handled = new Set(ran.records.flatMap((each) => (each.f === "delivery" && each.type === "handled-ok" ? [each.msg] : [])));
      published.delete("producer.0.0");
      assert.deepEqual([...handled].toSorted(), [...published].toSorted(), "every neighbour was handled, and nothing else");
    },
  },
  {
    name: "D15 D17 a message that blocks its process is dead-lettered after N + 1 of them at most; the next ones take over while these are blocked",
    needs: ["settle", "lease", "crash", "publishToGroup"],
    unless: (rig) =>
      rig.target.processes ? undefined : "the target is not opened by other processes: one that blocks would block the suite",
    together: true,
    deadlineMs: 90_000,
    async prove(rig) {
      const attempts = 2;
      const ran = await blockRun(rig, { attempts, leaseMs: 700, count: 40, at: 3 });
      assert(ran.blocked >= 1 && ran.blocked <= attempts + 1, `${ran.blocked} blocked processes with ${attempts} attempts`);
      assertValid(ran.verdict);
      const bus = await openBus(rig, { broker: ran.broker });
      const letters = await bus.deadLetters(ran.topic, { group: ran.group }).list();
      assert.deepEqual(
        letters.map((letter) => [letter.message.id, letter.cause.code]),
        [[ran.blocking, "CRASH_POISON"]],
      );
      assert.deepEqual([...ran.handled].toSorted(), [...ran.neighbours].toSorted(), "every neighbour was handled, and nothing else");
      for (const { process, attempt } of ran.handedOver) {
        // One more, for a process that was held up by the machine.
        assert((attempt ?? 0) <= process + 2, `attempt ${attempt} at process ${process}: a blocked one took it again`);
      }
      assert(ran.prefetched > 0, "a blocked process had none in hand that it had not handled");
    },
  },
];

interface Bad {
  readonly sent: Message;
  /** What it may be dead-lettered with. */
  readonly codes: readonly string[];
}

function badValues(rig: Rig, topic: string): readonly Bad[] {
  let nested: unknown[] = [];
  for (let depth = 0; depth < 100_000; depth += 1) nested = [nested];
  const bad = (body: unknown, codes: readonly string[], more: Record<string, string> = {}): Bad => ({
    sent: message(rig, topic, { body, headers: offered(rig, "headers") ? headers({ "waybill-version": "2", ...more }) : headers({}) }),
    codes,
  });
  return [
    bad({ m: 1 }, ["VALIDATION"]),
    bad("text", ["VALIDATION"]),
    bad(JSON.parse('{"__proto__":{"polluted":1}}'), ["VALIDATION"]),
    bad(nested, ["VALIDATION", "DECODE"]),
    ...(offered(rig, "headers")
      ? [bad({ n: -1 }, ["UNKNOWN_VERSION"], { "waybill-version": "99" }), bad({ n: -1 }, ["UNKNOWN_VERSION"], { "waybill-version": "x" })]
      : []),
  ];
}

function badBytes(rig: Rig, topic: string): readonly Bad[] {
  const text = (body: string): Uint8Array => new TextEncoder().encode(body);
  const bad = (body: Uint8Array, codes: readonly string[], more: Record<string, string> = {}): Bad => ({
    sent: message(rig, topic, { body, headers: headers({ "content-type": "application/json", "waybill-version": "2", ...more }) }),
    codes,
  });
  const zeros = Buffer.alloc(64 << 20);
  const proto = headers({ "content-type": "application/json", "waybill-version": "2" });
  Object.defineProperty(proto, "__proto__", { value: "polluted", enumerable: true });
  return [
    bad(text('{"m":1}'), ["VALIDATION"]),
    bad(text("{"), ["DECODE"]),
    bad(new Uint8Array(0), ["DECODE"]),
    bad(Uint8Array.of(0xff, 0xfe, 0x00), ["DECODE"]),
    bad(text('{"n":-1,"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}}}'), ["DECODE", "VALIDATION"]),
    bad(text(`${"[".repeat(100_000)}${"]".repeat(100_000)}`), ["DECODE", "VALIDATION"]),
    bad(text('{"n":-1}'), ["UNKNOWN_TYPE"], { "content-type": "application/x-nobody" }),
    bad(text('{"n":-1}'), ["UNKNOWN_TYPE"], { "content-type": "__proto__" }),
    bad(text('{"n":-1}'), ["UNKNOWN_VERSION"], { "waybill-version": "99" }),
    bad(text('{"n":-1}'), ["DECODE"], { "content-encoding": "gzip" }),
    bad(gzipSync('{"n":-1}').subarray(0, 12), ["DECODE"], { "content-encoding": "gzip" }),
    bad(text('{"n":-1}'), ["DECODE"], { "content-encoding": "no-such-encoding" }),
    bad(gzipSync(zeros), ["DECODE"], { "content-encoding": "gzip" }),
    bad(brotliCompressSync(zeros), ["DECODE"], { "content-encoding": "br" }),
    { sent: message(rig, topic, { body: text('{"n":-1}'), headers: proto }), codes: ["DECODE", "VALIDATION"] },
  ];
}

function fail(): never {
  throw new Error("a trap");
}

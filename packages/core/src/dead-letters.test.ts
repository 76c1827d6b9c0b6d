import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { testBus, type TestBus } from "@waybill/testing";
import type { DeadLetters } from "./dead-letter-types.ts";
import { event } from "./contract.ts";
import type { MemoryOptions } from "./memory/options.ts";

const Job = event<{ n: number }>("job");
const shapes: readonly MemoryOptions[] = [{ shape: "queue" }, { shape: "log", partitions: 1 }];
const numbers = (letters: readonly { readonly message: { readonly body: unknown } }[]): number[] =>
  letters.map(({ message }) => (message.body as { n: number }).n);

for (const memory of shapes) {
  describe(`dead letters on a ${memory.shape}`, () => {
    interface Rig {
      readonly t: TestBus;
      readonly letters: DeadLetters;
      readonly handled: { readonly group: string; readonly n: number; readonly attempt: number }[];
      repair(): void;
      /** Virtual time goes on until it is done. */
      during<T>(work: Promise<T>): Promise<T>;
    }

    async function withLetters(count: number, work: (rig: Rig) => Promise<void>): Promise<void> {
      let broken = true;
      const handled: { group: string; n: number; attempt: number }[] = [];
      await using t = await testBus(
        (bus) => {
          for (const group of ["billing", "search"]) {
            bus.subscribe(Job, { group, retry: { attempts: 1 } }, ({ n }, ctx) => {
              if (broken && group === "billing") throw new Error(`no ${n}`);
              handled.push({ group, n, attempt: ctx.attempt });
            });
          }
        },
        { memory },
      );
      for (let n = 0; n < count; n += 1) await t.publish(Job, { n }, { id: `id-${n}`, headers: { tenant: "acme" } });
      await t.advance("1m");
      handled.length = 0;
      await work({
        t,
        handled,
        letters: t.bus.deadLetters(Job, { group: "billing" }),
        repair: () => (broken = false),
        async during(running) {
          const advancing = t.advance("1m");
          const result = await running;
          await advancing;
          return result;
        },
      });
    }

    test("are listed oldest first, as they were, with the cause apart; looking changes nothing", () =>
      withLetters(3, async ({ letters, during }) => {
        for (let times = 0; times < 2; times += 1) {
          const all = await during(letters.list());
          assert.deepEqual(numbers(all), [0, 1, 2]);
          assert.deepEqual([all[1]?.message.id, all[1]?.message.topic, all[1]?.message.headers["tenant"]], ["id-1", "job", "acme"]);
          assert.equal(
            Object.keys(all[1]?.message.headers ?? {}).some((name) => name.startsWith("waybill-dead")),
            false,
          );
          assert.match(all[1]?.cause.text ?? "", /no 1/);
        }
        assert.equal((await during(letters.list({ limit: 2 }))).length, 2);
        assert.deepEqual(await during(letters.list({ limit: 0 })), []);
        assert.equal(await during(letters.count()), 3);
      }));

    test("are replayed to their group alone, with the same id and fresh attempts", () =>
      withLetters(3, async ({ t, letters, handled, repair, during }) => {
        assert.deepEqual(await during(letters.replay({ dryRun: true })), { matched: 3, replayed: 0, left: 3 });
        assert.deepEqual(handled, []);
        repair();
        assert.deepEqual(await during(letters.replay({ where: ({ message }) => message.id !== "id-1" })), {
          matched: 2,
          replayed: 2,
          left: 1,
        });
        await t.advance("1m");
        assert.deepEqual(
          handled,
          [0, 2].map((n) => ({ group: "billing", n, attempt: 1 })),
        );
        assert.deepEqual(numbers(await during(letters.list())), [1]);
        assert.deepEqual(
          t
            .attempts("id-0")
            .map(({ group, state }) => `${group} ${state}`)
            .toSorted(),
          ["billing failed", "billing handled", "search handled"],
        );
      }));

    test("may be edited on the way, and those that fail again come back with a new cause", () =>
      withLetters(2, async ({ t, letters, handled, repair, during }) => {
        assert.equal(
          (await during(letters.replay({ edit: ({ message }) => ({ body: { n: (message.body as { n: number }).n + 10 } }) }))).replayed,
          2,
        );
        await t.advance("1m");
        const again = await during(letters.list());
        assert.deepEqual(
          numbers(again).toSorted((a, b) => a - b),
          [10, 11],
        );
        assert.match(again[0]?.cause.text ?? "", /no 1[01]/);
        repair();
        await during(letters.replay());
        await t.advance("1m");
        assert.deepEqual(
          handled.map(({ n }) => n).toSorted((a, b) => a - b),
          [10, 11],
        );
      }));

    test("are replayed at a rate, and a signal ends it between two", () =>
      withLetters(6, async ({ t, letters, handled, repair }) => {
        repair();
        const stop = new AbortController();
        const replaying = letters.replay({ rate: 1, signal: stop.signal });
        await t.advance("2500ms");
        assert.equal(handled.length, 3);
        stop.abort();
        await t.advance("1m");
        const report = await replaying;
        assert.equal(report.replayed, 3);
        assert.equal(handled.length, 3);
        const left = letters.count();
        await t.advance("1m");
        assert.equal(await left, 3);
      }));

    test("are discarded", () =>
      withLetters(3, async ({ letters, during }) => {
        const where = ({ message }: { readonly message: { readonly id: string } }): boolean => message.id === "id-1";
        assert.equal(await during(letters.discard({ where, dryRun: true })), 1);
        assert.equal(await during(letters.count()), 3);
        assert.equal(await during(letters.discard({ where })), 1);
        assert.deepEqual(
          numbers(await during(letters.list())).toSorted((a, b) => a - b),
          [0, 2],
        );
      }));

    test("stay when the caller's own function throws, and can be had again", () =>
      withLetters(3, async ({ letters, during }) => {
        const where = ({ message }: { readonly message: { readonly id: string } }): boolean => {
          if (message.id === "id-1") throw new Error("no such tenant");
          return false;
        };
        await during(assert.rejects(letters.discard({ where }), { message: "no such tenant" }));
        assert.deepEqual(numbers(await during(letters.list())), [0, 1, 2]);
      }));

    test("stay, all of them, around one that is replayed far behind", () =>
      withLetters(450, async ({ t, letters, handled, repair, during }) => {
        repair();
        const chosen = ({ message }: { readonly message: { readonly id: string } }): boolean => message.id === "id-420";
        assert.deepEqual(await during(letters.replay({ where: chosen })), { matched: 1, replayed: 1, left: 449 });
        await t.advance("1m");
        assert.deepEqual(
          handled.map(({ n }) => n),
          [420],
        );
        const left = new Set(numbers(await during(letters.list())));
        assert.equal(left.size, 449);
        assert.equal(left.has(420), false);
        assert.equal(await during(letters.count()), 449);
      }));

    test("a process that dies during a replay loses none: the next replay goes on, with the same ids", () =>
      withLetters(4, async ({ t, letters, handled, repair, during }) => {
        repair();
        void letters.replay({ rate: 1 }).catch(() => undefined);
        await t.advance("1500ms");
        await t.crash();
        await t.advance("1m");
        await during(t.bus.deadLetters(Job, { group: "billing" }).replay());
        await t.advance("1m");
        assert.deepEqual(new Set(handled.map(({ n }) => n)), new Set([0, 1, 2, 3]));
        assert.equal(await during(t.bus.deadLetters(Job, { group: "billing" }).count()), 0);
      }));
  });
}

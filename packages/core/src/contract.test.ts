import assert from "node:assert/strict";
import { test } from "node:test";
import { type } from "arktype";
import * as v from "valibot";
import { z } from "zod";
import { createBus } from "./bus.ts";
import type { Context } from "./bus-types.ts";
import { command, event, request, validate } from "./contract.ts";
import { isWaybillError } from "./errors.ts";
import { memory } from "./memory/memory.ts";
import { waitFor } from "./wait.fixture.ts";

const Priced = event("contract.priced", { schema: z.object({ id: z.string(), total: z.coerce.number() }), key: (order) => order.id });

test("publish takes the input type and handlers get the output type", async () => {
  await using bus = createBus({ name: "contract", transport: memory() });
  const totals: number[] = [];
  bus.subscribe(Priced, { group: "types" }, (order, ctx: Context) => {
    const total: number = order.total;
    totals.push(total);
    return ctx.message.id;
  });
  await bus.start();
  await bus.publish(Priced, { id: "a", total: "12.5" });
  // @ts-expect-error: `id` is a string
  await assert.rejects(bus.publish(Priced, { id: 1, total: 2 }), (error) => isWaybillError(error, "VALIDATION"));
  await waitFor(() => totals.length === 1);
  assert.deepEqual(totals, [12.5]);
});

test("any Standard Schema will do", async () => {
  const schemas = [z.object({ n: z.number() }), v.object({ n: v.number() }), type({ n: "number" })];
  for (const schema of schemas) {
    assert.deepEqual(await validate(schema, { n: 1 }, "test"), { n: 1 });
    await assert.rejects(
      async () => validate(schema, { n: "secret" }, "test"),
      (error) => isWaybillError(error, "VALIDATION") && error.message.includes("n:") && !error.message.includes("secret"),
    );
  }
});

test("an older version is lifted step by step; a newer one, or one without an upcast, is dead-lettered", async () => {
  const Third = event("contract.versions", {
    version: 3,
    schema: z.object({ name: z.string(), tags: z.array(z.string()) }),
    upcast: { 2: (older: { name: string }) => ({ ...older, tags: [] }) },
  });
  const Second = event<{ name: string }>("contract.versions", { version: 2 });
  const First = event<{ label: string }>("contract.versions");
  const Ninth = event<{ name: string }>("contract.versions", { version: 9 });
  await using bus = createBus({ name: "contract", transport: memory() });
  const seen: unknown[] = [];
  bus.subscribe(Third, { group: "versions" }, (body) => void seen.push(body));
  await bus.start();
  await bus.publish(Second, { name: "lifted" });
  await bus.publish(First, { label: "too old" });
  await bus.publish(Ninth, { name: "too new" });
  await waitFor(() => bus.metrics().groups["contract.versions"]?.["versions"]?.deadLettered === 2);
  assert.deepEqual(seen, [{ name: "lifted", tags: [] }]);
  const letters = await bus.deadLetters(Third, { group: "versions" }).list();
  assert.deepEqual(
    letters.map(({ cause }) => cause.code),
    ["UNKNOWN_VERSION", "UNKNOWN_VERSION"],
  );
});

test("every wrong option of a contract is named", () => {
  const wrong = { version: 0, schema: {}, key: "id", keys: true, upcast: { 7: "no" } };
  assert.throws(
    () => event("contract.wrong", wrong as never),
    (error) =>
      isWaybillError(error, "CONFIG") &&
      ["version:", "schema:", "key:", "keys:", "upcast.7:"].every((path) => error.message.includes(path)),
  );
  assert.throws(
    () => event("no spaces"),
    (error) => isWaybillError(error, "NAME"),
  );
});

test("commands and requests without a destination are definite errors", async () => {
  await using bus = createBus({ name: "contract", transport: memory() });
  await bus.start();
  const Charge = command<{ id: string }>("contract.charge");
  const Quote = request("contract.quote", { request: z.object({}), reply: z.object({ price: z.number() }) });
  await assert.rejects(bus.publish(Charge, { id: "1" }), (error) => isWaybillError(error, "UNROUTABLE") && error.certainty === "definite");
  await assert.rejects(bus.request(Quote, {}), (error) => isWaybillError(error, "NO_RESPONDERS"));
});

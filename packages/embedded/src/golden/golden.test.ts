import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import { gunzipSync } from "node:zlib";
import { formatVersion } from "../sql/schema.ts";
import { salvage } from "../salvage/salvage.ts";
import { message, never, openTransport, publishAll, take, tempFile, until } from "../test.fixture.ts";
import { goldenGroups, goldenMessages } from "./golden.fixture.ts";

for (let format = 1; format <= formatVersion; format++) {
  test(`a file of format ${format} opens with all that is in it`, async (t) => {
    const path = tempFile(t);
    writeFileSync(path, gunzipSync(readFileSync(new URL(`./format-${format}.db.gz`, import.meta.url))));
    const transport = await openTransport(t, { path });
    assert.deepEqual(await transport.check!({ topics: ["orders.paid"], groups: goldenGroups }), []);

    const reader = await take(transport, { pattern: "orders.*", from: "earliest" });
    const all = goldenMessages.filter(({ group }) => group === undefined);
    await until("all for everybody", () => reader.got.length === all.length);
    const plain = ({ body, ...rest }: (typeof all)[number]) => ({
      ...rest,
      body: body === null ? null : Buffer.from(body as Uint8Array).toString(),
    });
    assert.deepEqual(
      reader.got.map((delivery) => plain(delivery.message)),
      all.map(plain),
    );

    const billing = await take(transport, { topic: "orders.placed", group: "billing" }, { ack: true });
    await until("what billing had not settled", () => billing.got.length === 3);
    const got = new Map(billing.got.map((delivery) => [delivery.message.id, delivery]));
    assert.deepEqual([...got.keys()].toSorted(), ["g-2", "g-3", "g-4"]);
    assert.equal(got.get("g-2")?.attempt, 2);
    assert.equal(got.get("g-2")?.note, "second try");
    assert.equal(got.get("g-3")?.attempt, 1);

    const search = await take(transport, { topic: "orders.placed", group: "search" }, { ack: true });
    await until("all of search", () => search.got.length === 6);
    assert(search.got.some(({ message }) => message.id === "g-5" && message.group === "search"));

    const letters = await transport.browse!({
      topic: "dead-letters.billing",
      group: "dead-letters",
      after: undefined,
      limit: 9,
      signal: never,
    });
    assert.deepEqual(
      letters.map(({ message: { id, headers } }) => [id, headers["cause"]]),
      [["g-7", "for the test"]],
    );

    assert.deepEqual(await transport.store.applied("billing", ["g-1", "g-2"]), [true, false]);
    const rows = await transport.store.outbox.take({ owner: "test", limit: 9, leaseMs: 1000 });
    assert.deepEqual(
      rows.map(({ message: { id, topic, key } }) => [id, topic, key]),
      [["g-8", "orders.shipped", "k"]],
    );
    assert.deepEqual(
      (await transport.client.query("select * from stock")).map((row) => ({ ...row })),
      [{ sku: "a", count: 5 }],
    );
  });
}

for (let format = 1; format <= formatVersion; format++) {
  test(`a file of format ${format} is salvaged whole`, async (t) => {
    const path = tempFile(t);
    writeFileSync(path, gunzipSync(readFileSync(new URL(`./format-${format}.db.gz`, import.meta.url))));
    const to = `${path}.salvaged`;
    const report = await salvage({ from: path, to });
    assert.deepEqual(report.lost, []);
    const transport = await openTransport(t, { path: to });
    await publishAll(transport, [message("orders.paid", "later", { id: "later" })]);
    const reader = await take(transport, { pattern: "orders.*", from: "earliest" });
    const ids = [...goldenMessages.filter(({ group }) => group === undefined).map(({ id }) => id), "later"];
    await until("all for everybody", () => reader.got.length === ids.length);
    assert.deepEqual(
      reader.got.map((delivery) => delivery.message.id),
      ids,
    );
  });
}

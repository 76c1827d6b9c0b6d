import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { test } from "node:test";
import { readOrders, type InputLine } from "./input.ts";

async function read(...chunks: (string | Uint8Array)[]): Promise<InputLine[]> {
  async function* bytes(): AsyncGenerator<Uint8Array> {
    for (const chunk of chunks) yield typeof chunk === "string" ? Buffer.from(chunk) : chunk;
  }
  const lines: InputLine[] = [];
  for await (const line of readOrders(bytes())) lines.push(line);
  return lines;
}
const good = '{"id":"a-1","customer":"Ada","sku":"anvil","quantity":2}';
const order = { id: "a-1", customer: "Ada", sku: "anvil", quantity: 2 };

test("each line is an order; empty lines are skipped and counted; the last needs no end", async () => {
  assert.deepEqual(await read(`${good}\n\n  \r\n${good}\r\n${good}`), [
    { line: 1, ok: true, order },
    { line: 4, ok: true, order },
    { line: 5, ok: true, order },
  ]);
  assert.deepEqual(await read(""), []);
});

test("chunks may end anywhere, within a character too", async () => {
  const bytes = Buffer.from(`{"id":"ü1","customer":"Zoë","sku":"file","quantity":1}\n{"customer":"Zoë","sku":"file","quantity":1}\n`);
  const lines = await read(...Array.from(bytes, (_, at) => bytes.subarray(at, at + 1)));
  assert.deepEqual(
    lines.map(({ ok }) => ok),
    [false, true],
  );
  assert.deepEqual(lines[1], { line: 2, ok: true, order: { customer: "Zoë", sku: "file", quantity: 1 } });
});

test("a malformed line is told by number and reason, without its content, and the rest goes on", async () => {
  const bad: [string | Uint8Array, RegExp][] = [
    ["{", /not JSON/],
    ["secret-words", /not JSON/],
    ["null", /object/],
    ["[]", /object/],
    ['{"sku":"anvil","quantity":1}', /customer/],
    ['{"customer":"x","sku":"unobtainium","quantity":1}', /sku: no such article/],
    ['{"customer":"x","sku":"anvil","quantity":"1"}', /quantity/],
    ['{"customer":"x","sku":"anvil","quantity":0}', /quantity/],
    ['{"customer":"x","sku":"anvil","quantity":1.5}', /quantity/],
    ['{"customer":"x","sku":"anvil","quantity":1,"price":0}', /fields that an order does not have/],
    ['{"customer":"x","sku":"anvil","quantity":1,"__proto__":{"id":"p"}}', /fields/],
    ['{"id":"../x","customer":"x","sku":"anvil","quantity":1}', /id/],
    ['{"id":"","customer":"x","sku":"anvil","quantity":1}', /id/],
    [Uint8Array.of(0x22, 0xff, 0x22), /UTF-8/],
    [`{"customer":"${"x".repeat(20_000)}","sku":"anvil","quantity":1}`, /longer than/],
    ["[".repeat(16_000), /not JSON/],
  ];
  const chunks = bad.flatMap(([text]) => [text, "\n"]);
  const lines = await read(...chunks, good);
  assert.equal(lines.length, bad.length + 1);
  for (const [at, [, reason]] of bad.entries()) {
    const line = lines[at];
    assert.equal(line?.line, at + 1);
    const told = line.ok ? "taken" : line.reason;
    assert.match(told, reason);
    assert.doesNotMatch(told, /secret-words|unobtainium/);
  }
  assert.deepEqual(lines.at(-1), { line: bad.length + 1, ok: true, order });
});

test("an endless line is not kept", async () => {
  const chunk = Buffer.alloc(65_536, 0x61);
  const lines = await read(...Array.from({ length: 200 }, () => chunk), `\n${good}\n`);
  assert.deepEqual(
    lines.map(({ line, ok }) => [line, ok]),
    [
      [1, false],
      [2, true],
    ],
  );
});

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Logger } from "./log.ts";
import { guardLogger, safeText, silentLogger } from "./log.ts";

void test("plain text of any language stays as it is", () => {
  for (const text of ["", "order o-1 failed", "Größe 10 €", "注文", "👩‍🚀 ok", 'a "quoted" \\ back'] as const)
    assert.equal(safeText(text), text);
});

void test("what breaks, colours or turns a line is escaped", () => {
  assert.equal(safeText("a\r\nb\tc"), "a\\r\\nb\\tc");
  assert.equal(safeText("\u001b[31mred\u009b0m\u0000\u007f"), "\\x1b[31mred\\x9b0m\\x00\\x7f");
  assert.equal(safeText("a\u2028b\u2029c\u202ed\u2066e\ufefff"), "a\\u2028b\\u2029c\\u202ed\\u2066e\\ufefff");
  assert.equal(safeText("x\ud800y\udc00z"), "x\\ud800y\\udc00z");
});

void test("the result never exceeds its cap and never ends in half a character", () => {
  const texts = ["x".repeat(600), "\u0000".repeat(600), "👩".repeat(300), "\ud800".repeat(513), "ab\n".repeat(200)];
  for (const text of texts) {
    for (const max of [1, 2, 3, 4, 5, 6, 7, 50, 511, 512]) {
      const safe = safeText(text, max);
      assert.ok(safe.length <= max, `${safe.length} > ${max}`);
      assert.ok(safe.isWellFormed());
      assert.ok(safe.endsWith("…"));
      assert.doesNotMatch(safe, /\\(x.?|u.{0,3})?…$/);
    }
  }
  assert.equal(safeText("x".repeat(512)), "x".repeat(512));
  assert.equal(safeText("x".repeat(513)), `${"x".repeat(511)}…`);
});

void test("100 MB are cut before they are looked through", { timeout: 5_000 }, () => {
  assert.equal(safeText("\n".repeat(100_000_000), 10), "\\n\\n\\n\\n…");
});

void test("a guarded logger writes through and swallows what the logger throws", () => {
  const lines: unknown[][] = [];
  const own = {
    prefix: "p",
    debug(fields: object, text: string) {
      lines.push([this.prefix, fields, text]);
    },
    info() {
      throw new Error("disk full");
    },
    warn() {},
    error() {},
  };
  const logger: Logger = guardLogger(own);
  logger.debug({ topic: "a" }, "text");
  logger.info({}, "text");
  assert.deepEqual(lines, [["p", { topic: "a" }, "text"]]);
  assert.equal(guardLogger(silentLogger), silentLogger);
  silentLogger.error({}, "nothing");
});

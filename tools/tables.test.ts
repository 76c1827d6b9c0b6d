import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { errorCodes } from "@waybill/core";
import { insert, markdown } from "./tables.ts";

test("docs/errors.md and the list of error codes hold each other", () => {
  const page = readFileSync(new URL("../docs/errors.md", import.meta.url), "utf8");
  const table = page.slice(page.indexOf("<!-- generated:errors -->"), page.indexOf("<!-- /generated:errors -->"));
  const documented = [...table.matchAll(/^\| `(\w+)` \|/gm)].map((match) => match[1]);
  assert.deepEqual(documented, Object.keys(errorCodes));
  const mentioned = [...page.matchAll(/`([A-Z][A-Z_]{2,})`/g)].map((match) => match[1] ?? "");
  assert.deepEqual(
    mentioned.filter((code) => !(code in errorCodes)),
    [],
  );
});

test("a table goes between its markers, and only there", () => {
  const table = markdown(["a", "b"], [["1", "x | y"]]);
  assert.equal(table, "| a | b |\n| --- | --- |\n| 1 | x \\| y |");
  const page = "top\n<!-- generated:t -->\nold\n<!-- /generated:t -->\nend\n";
  const once = insert(page, "t", table);
  assert.equal(once, `top\n<!-- generated:t -->\n${table}\n<!-- /generated:t -->\nend\n`);
  assert.equal(insert(once, "t", table), once);
  assert.throws(() => insert("no markers", "t", table), /markers of the table t/);
});

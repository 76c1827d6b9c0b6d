import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { snippetsDirectory, snippetsOf, writeSnippets } from "./snippets.ts";

const page = [
  "# A page",
  "",
  "```ts",
  "const a = 1;",
  "```",
  "",
  "- item",
  "  ```ts check",
  "  const b = 2;",
  "  ```",
  "",
  "```sh",
  "npm test",
  "```",
];

test("fences are found with their line and kind, and others are left alone", () => {
  assert.deepEqual(snippetsOf("a.md", page.join("\n")), [
    { page: "a.md", line: 4, run: true, code: "const a = 1;" },
    { page: "a.md", line: 9, run: false, code: "const b = 2;" },
  ]);
});

test("a fence that would silently not run is refused", () => {
  for (const info of ["typescript", "js", "ts run", "ts  check me"]) {
    assert.throws(() => snippetsOf("a.md", `\`\`\`${info}\n\`\`\``), /a\.md:1: write the fence as/);
  }
  assert.throws(() => snippetsOf("a.md", "text\n```ts\nconst a = 1;\n"), /a\.md:2: the fence has no end/);
});

test("files keep the lines of their page, and old ones go", () => {
  const root = mkdtempSync(join(tmpdir(), "waybill-snippets-"));
  try {
    mkdirSync(join(root, snippetsDirectory), { recursive: true });
    writeFileSync(join(root, snippetsDirectory, "old-1.test.ts"), "");
    writeFileSync(join(root, "docs", "a.md"), page.join("\n"));
    mkdirSync(join(root, "packages", "core"), { recursive: true });
    writeFileSync(join(root, "packages", "core", "README.md"), "```ts\nlet c;\n```\n");
    assert.equal(writeSnippets(root).length, 3);
    assert.deepEqual(readdirSync(join(root, snippetsDirectory)).toSorted(), [
      "a-4.test.ts",
      "a-9.check.ts",
      "packages-core-README-2.test.ts",
    ]);
    const lines = readFileSync(join(root, snippetsDirectory, "a-4.test.ts"), "utf8").split("\n");
    assert.equal(lines[4 - 1], "const a = 1;");
  } finally {
    rmSync(root, { recursive: true });
  }
});

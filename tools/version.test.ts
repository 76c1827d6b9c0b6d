import assert from "node:assert/strict";
import { cpSync, globSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { packageViolations, type PackageJson } from "./boundaries.ts";
import { bump } from "./version.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const manifests = [
  "package.json",
  "package-lock.json",
  "packages/*/package.json",
  "examples/*/package.json",
  "bench/package.json",
  "brokers/package.json",
];

test("a bump leaves every package, pin and lockfile entry at the new version and all else alone", () => {
  const copy = mkdtempSync(join(tmpdir(), "waybill-version-"));
  try {
    for (const path of globSync(manifests, { cwd: root })) {
      mkdirSync(dirname(join(copy, path)), { recursive: true });
      cpSync(join(root, path), join(copy, path));
    }
    const paths = bump(copy, "7.8.9-beta.1");
    assert.ok(paths.length >= 8);
    for (const path of paths) {
      const json = JSON.parse(readFileSync(join(copy, path), "utf8")) as PackageJson;
      assert.deepEqual(packageViolations(path, json, "7.8.9-beta.1"), []);
    }
    const lock = readFileSync(join(copy, "package-lock.json"), "utf8");
    const before = readFileSync(join(root, "package-lock.json"), "utf8");
    const after = lock.split("\n");
    const changed = before.split("\n").filter((line, index) => line !== after[index]);
    assert.ok(changed.length > paths.length);
    for (const line of changed) assert.match(line, /"(version|@waybill\/[a-z-]+)": "/);
    const version = (JSON.parse(before) as PackageJson).version ?? "";
    bump(copy, version);
    assert.equal(readFileSync(join(copy, "package-lock.json"), "utf8"), before);
  } finally {
    rmSync(copy, { recursive: true });
  }
});

test("what is not a version is refused and nothing is written", () => {
  assert.throws(() => bump(join(root, "no-such-folder"), "1.2"), /not a version: 1\.2/);
});

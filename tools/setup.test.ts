import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { chmodSync, cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const setup = fileURLToPath(new URL("./setup.mjs", import.meta.url));
const lock = { lockfileVersion: 3, packages: { "": {}, "node_modules/a": { version: "1.0.0", integrity: "x" } } };

/** A project with its own copy of setup.mjs and an npm that writes down that it ran. */
function project(npm: string): { root: string; run: () => { status: number | null; error: string }; calls: () => string[] } {
  const root = mkdtempSync(join(tmpdir(), "waybill-setup-"));
  mkdirSync(join(root, "tools"));
  mkdirSync(join(root, "bin"));
  cpSync(setup, join(root, "tools", "setup.mjs"));
  writeFileSync(join(root, "package-lock.json"), JSON.stringify(lock));
  const calls = join(root, "calls");
  writeFileSync(join(root, "bin", "npm"), `#!/bin/sh\necho "$@" >> ${calls}\ncd ${root}\n${npm}\n`);
  chmodSync(join(root, "bin", "npm"), 0o755);
  symlinkSync(process.execPath, join(root, "bin", "node"));
  return {
    root,
    run: () => {
      const env = { PATH: [join(root, "bin"), "/usr/bin", "/bin"].join(delimiter) };
      const done = spawnSync(process.execPath, [join(root, "tools", "setup.mjs")], { env, encoding: "utf8" });
      return { status: done.status, error: done.stderr };
    },
    calls: () => (existsSync(calls) ? readFileSync(calls, "utf8").trim().split("\n") : []),
  };
}

const skip = process.platform === "win32" ? "needs a POSIX shell" : false;

test("installs once, again when the lockfile asks for something else, and otherwise does nothing", { skip }, () => {
  const { root, run, calls } = project("mkdir -p node_modules && cp package-lock.json node_modules/.package-lock.json");
  try {
    assert.equal(run().status, 0);
    assert.deepEqual(calls(), ["ci --no-audit --no-fund --loglevel=error --include=dev --include=optional"]);
    assert.deepEqual(run(), { status: 0, error: "" });
    assert.equal(calls().length, 1);
    const next = { ...lock, packages: { ...lock.packages, "node_modules/a": { version: "1.0.1", integrity: "y" } } };
    writeFileSync(join(root, "package-lock.json"), JSON.stringify(next));
    assert.equal(run().status, 0);
    assert.equal(calls().length, 2);
  } finally {
    rmSync(root, { recursive: true });
  }
});

test("links the bundled Node when npm has dropped the link", { skip }, () => {
  const { root, run } = project("mkdir -p node_modules/.bin && cp package-lock.json node_modules/.package-lock.json");
  try {
    const bundled = join(root, "node_modules", `node-${process.platform}-${process.arch}`, "bin", "node");
    mkdirSync(dirname(bundled), { recursive: true });
    symlinkSync(process.execPath, bundled);
    assert.equal(run().status, 0);
    assert.equal(spawnSync(join(root, "node_modules", ".bin", "node"), ["-p", "1 + 1"], { encoding: "utf8" }).stdout, "2\n");
  } finally {
    rmSync(root, { recursive: true });
  }
});

test("says why the installation failed, and fails", { skip }, () => {
  const { root, run } = project("echo no network >&2; exit 7");
  try {
    const { status, error } = run();
    assert.equal(status, 1);
    assert.match(error, /no network[^]*npm ci failed \(exit code 7\)/);
  } finally {
    rmSync(root, { recursive: true });
  }
});

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import { cached, cacheFolder, fillCache, installLock } from "./cache.ts";
import { privateFolder } from "./private-folder.fixture.ts";

const folder = privateFolder();
process.env["WAYBILL_BROKERS_CACHE"] = join(folder.path, "cache");
after(() => folder.remove());

test("a folder is in the cache when it is whole, and not before", async () => {
  let partial = "";
  const filled = await fillCache("whole", async (path) => {
    partial = path;
    writeFileSync(join(path, "file"), "");
    assert.equal(cached("whole"), undefined);
  });
  assert.equal(filled, cached("whole"));
  assert.deepEqual(readdirSync(filled), ["file"]);
  assert.equal(existsSync(partial), false);
});

test("one that failed is not taken for whole, nor is what a killed one left", async () => {
  mkdirSync(join(cacheFolder(), "partial-of-a-killed-one"));
  await assert.rejects(
    fillCache("half", async (path) => {
      writeFileSync(join(path, "file"), "");
      throw new Error("no network");
    }),
    /no network/,
  );
  assert.equal(cached("half"), undefined);
  assert.deepEqual(
    readdirSync(cacheFolder()).filter((name) => name.startsWith("partial-")),
    [],
  );
});

test("one installs at a time", async () => {
  const order: string[] = [];
  const work = (name: string) => async (): Promise<void> => {
    order.push(`${name} begins`);
    await new Promise((resolve) => setImmediate(resolve));
    order.push(`${name} ends`);
  };
  await Promise.all([installLock(work("a")), installLock(work("b"))]);
  assert.deepEqual(order, ["a begins", "a ends", "b begins", "b ends"]);
});

test("the lock of another process is waited for, and goes with that process", { timeout: 30_000 }, async () => {
  const cache = new URL("cache.ts", import.meta.url).href;
  const program = `import { installLock } from ${JSON.stringify(cache)};
    await installLock(() => new Promise((resolve) => { process.stdout.write("held"); setTimeout(resolve, 600_000); }));`;
  const child = spawn(process.execPath, ["--disable-warning=ExperimentalWarning", "--input-type=module", "--eval", program], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  try {
    await once(child.stdout, "data");
    let killed = false;
    const mine = installLock(async () => killed);
    const first = await Promise.race([mine, new Promise<string>((resolve) => setTimeout(() => resolve("waits"), 500))]);
    assert.equal(first, "waits");
    killed = true;
    child.kill("SIGKILL");
    assert.equal(await mine, true);
  } finally {
    child.kill("SIGKILL");
  }
});

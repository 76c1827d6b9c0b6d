import assert from "node:assert/strict";
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { after, test } from "node:test";
import { find } from "./find.ts";
import { privateFolder } from "./private-folder.fixture.ts";
import { runCommand, type Server } from "./server.ts";

const folder = privateFolder();
const path = process.env["PATH"] ?? "";
process.env["WAYBILL_BROKERS_CACHE"] = join(folder.path, "cache");
after(() => {
  process.env["PATH"] = path;
  folder.remove();
});

/** A server that this machine does not have and cannot install. */
const absent: Server = {
  name: "redis",
  title: "Redis 0.1",
  clusters: false,
  ways: ["the package redis-zero"],
  find: async () => undefined,
  install: async () => {
    throw new Error("apt-get needs root");
  },
  container: { image: "redis:0.1", home: "redis-server" },
  plan: () => Promise.reject(new Error("not planned here")),
  ask: async () => "",
  defaultPort: 1,
};

/** A stand-in for docker's command: writes down what it is told; `image inspect` fails until an image was pulled. */
function fakeDocker(): string {
  const bin = join(folder.path, "bin");
  const log = join(folder.path, "docker.log");
  mkdirSync(bin, { recursive: true });
  writeFileSync(
    join(bin, "docker"),
    `#!/bin/sh\necho "$@" >> '${log}'\nif [ "$1" = pull ]; then touch '${log}.pulled'; fi\n` +
      `if [ "$1" = image ]; then test -e '${log}.pulled'; exit; fi\n`,
  );
  chmodSync(join(bin, "docker"), 0o755);
  process.env["PATH"] = `${bin}${delimiter}${path}`;
  return log;
}

test("with none of the ways the error names them all, and why each failed", async () => {
  process.env["PATH"] = join(folder.path, "nothing");
  await assert.rejects(find(absent), (error: Error) => {
    for (const part of ["Redis 0.1", "apt-get needs root", "no docker", "the package redis-zero", "redis:0.1", "WAYBILL_REDIS_URL"]) {
      assert.ok(error.message.includes(part), `${part} is not in: ${error.message}`);
    }
    return true;
  });
});

test("what is installed comes before all else", async () => {
  const here = { version: "0.1.2", home: "here" };
  assert.equal(await find({ ...absent, find: async () => here, install: () => assert.fail("installed") }), here);
});

test("Docker comes last; an image that is there already is not asked for again", { skip: process.platform !== "linux" }, async () => {
  const log = fakeDocker();
  const found = await find(absent);
  assert.equal(found.version, "0.1");
  assert.equal(found.home, "redis-server");
  await runCommand(found, { program: found.home, args: ["--port", "1"], cwd: folder.path, env: { LC_ALL: "C" } }, 10_000);
  await find({ ...absent, install: () => assert.fail("installed") });
  const lines = readFileSync(log, "utf8").trim().split("\n");
  assert.equal(lines.filter((line) => line.startsWith("pull")).length, 1);
  const run = lines.find((line) => line.startsWith("run")) ?? "";
  for (const part of ["--rm", "--network host", `--workdir ${folder.path}`, "--env LC_ALL", "--env WAYBILL_BROKER_NODE"]) {
    assert.ok(run.includes(part), `${part} is not in: ${run}`);
  }
  assert.ok(run.endsWith("--entrypoint redis-server redis:0.1 --port 1"));
});

// Whole runs, each a process like `npm start`.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { expectedCause, orderOf } from "./seed.ts";

interface Outcome {
  readonly orders: number;
  readonly shipped: number;
  readonly deadLettered: number;
  readonly retried: number;
  readonly rejected: number;
  readonly kills: number;
  readonly lost: number;
  readonly duplicateEffects: number;
  readonly ok: boolean;
}
interface Ended {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
  /** Of the last line. */
  readonly json: Outcome;
}

const flags = ["--conditions=@waybill/source", "--disable-warning=ExperimentalWarning"];
const entry = fileURLToPath(new URL("./main.ts", import.meta.url));

async function start(args: readonly string[], options: { readonly stdin?: string } = {}): Promise<Ended> {
  const child = spawn(process.execPath, [...flags, entry, ...args], {
    stdio: ["pipe", "pipe", "pipe"],
    env: { ...process.env, NO_COLOR: "1" },
  });
  let out = "";
  let err = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (out += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (err += text));
  child.stdin.on("error", () => {});
  child.stdin.end(options.stdin ?? "");
  const timer = setTimeout(() => child.kill("SIGKILL"), 110_000);
  const code = await new Promise<number | null>((resolve, reject) => child.once("error", reject).once("close", resolve));
  clearTimeout(timer);
  const last = out.trimEnd().split("\n").at(-1) ?? "";
  return { code, out, err, json: last.startsWith("{") ? (JSON.parse(last) as Outcome) : (undefined as never) };
}

function deadIn(seed: number, orders: number): number {
  return Array.from({ length: orders }, (_, index) => orderOf(seed, index)).filter(({ id }) => expectedCause(seed, id) !== undefined)
    .length;
}

function assertOk(ended: Ended, seed: number, orders: number): void {
  const { json } = ended;
  assert.ok(json !== undefined, `no outcome: ${ended.out}${ended.err}`);
  const dead = deadIn(seed, orders);
  assert.deepEqual(
    { ...json, retried: 0, kills: 0 },
    {
      orders,
      shipped: orders - dead,
      deadLettered: dead,
      retried: 0,
      rejected: 0,
      kills: 0,
      lost: 0,
      duplicateEffects: 0,
      ok: true,
    },
    ended.out + ended.err,
  );
  assert.equal(ended.code, 0);
}

describe("the order system", { concurrency: 1 }, () => {
  test("300 orders end as their seed says", { timeout: 120_000 }, async () => {
    const ended = await start(["--orders", "300", "--seed", "7"]);
    assertOk(ended, 7, 300);
    assert.ok(ended.json.retried >= 10, `retried ${ended.json.retried}`);
    assert.equal(ended.json.kills, 0);
  });

  test("chaos changes nothing, with everything in one file", { timeout: 120_000 }, async () => {
    const ended = await start(["--orders", "300", "--seed", "8", "--chaos", "--kills", "8"]);
    assertOk(ended, 8, 300);
    assert.ok(ended.json.kills >= 8, `kills ${ended.json.kills}`);
  });

  test("chaos changes nothing, with the data in a file of its own", { timeout: 120_000 }, async () => {
    const directory = mkdtempSync(join(tmpdir(), "orders-test-"));
    try {
      const ended = await start(["--orders", "150", "--seed", "9", "--chaos", "--kills", "4", "--store", join(directory, "store.db")]);
      assertOk(ended, 9, 150);
      assert.ok(ended.json.kills >= 4, `kills ${ended.json.kills}`);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  for (const [sabotage, found] of [
    ["ack-early", "lost"],
    ["skip-inbox", "duplicateEffects"],
    ["drop-outbox", "lost"],
  ] as const) {
    test(`${sabotage} is found out`, { timeout: 120_000 }, async () => {
      const ended = await start(["--orders", "100", "--sabotage", sabotage, "--kills", "4"]);
      assert.equal(ended.code, 1, ended.out + ended.err);
      assert.equal(ended.json.ok, false);
      assert.ok(ended.json[found] > 0, ended.out);
      assert.match(ended.out, /Audit: NOT ok/);
    });
  }

  test("an input's malformed lines are told by number, and the rest is processed", { timeout: 120_000 }, async () => {
    const lines = Array.from({ length: 30 }, (_, index) => JSON.stringify(orderOf(1, index)));
    lines[4] = "{";
    lines[9] = '{"customer":"x","sku":"anvil","quantity":0}';
    lines[20] = lines[19] ?? "";
    const ended = await start(["--input", "-"], { stdin: lines.join("\n") });
    assert.equal(ended.code, 0, ended.out + ended.err);
    assert.deepEqual([ended.json.orders, ended.json.rejected, ended.json.ok], [27, 3, true]);
    assert.match(ended.err, /line 5: not JSON/);
    assert.match(ended.err, /line 10: quantity/);
    assert.match(ended.err, /line 21: another order has this id/);
  });

  test("orders come over HTTP until a signal; a later run goes on with the same data", { timeout: 120_000 }, async () => {
    const directory = mkdtempSync(join(tmpdir(), "orders-test-"));
    try {
      let posted: Promise<number[]> | undefined;
      const ended = await startUntilPosted(directory, (port) => (posted ??= postOrders(port)));
      assert.deepEqual(await posted, [202, 202, 400]);
      assert.equal(ended.code, 0, ended.out + ended.err);
      assert.deepEqual([ended.json.orders, ended.json.ok], [2, true]);

      const input = join(directory, "more.ndjson");
      writeFileSync(input, `${JSON.stringify(orderOf(1, 0))}\n`);
      const again = await start(["--input", input, "--data", directory]);
      assert.deepEqual([again.code, again.json.orders, again.json.ok], [0, 3, true], again.out + again.err);
      const other = await start(["--orders", "1", "--data", directory, "--seed", "99"]);
      assert.deepEqual([other.code, other.out], [1, ""]);
      assert.match(other.err, /seed/);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  test("a store whose messages are gone is refused, not audited as if they had never been", { timeout: 120_000 }, async () => {
    const directory = mkdtempSync(join(tmpdir(), "orders-test-"));
    try {
      const store = join(directory, "store.db");
      const first = await start(["--orders", "5", "--store", store]);
      assert.equal(first.code, 0, first.out + first.err);
      const second = await start(["--orders", "5", "--store", store]);
      assert.deepEqual([second.code, second.out], [1, ""]);
      assert.match(second.err, /--store: it holds 5 orders of an earlier run/);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  test("wrong options and a transport that cannot be end it with a reason", { timeout: 120_000 }, async () => {
    const wrong = await start(["--sabotage", "coffee"]);
    assert.deepEqual([wrong.code, wrong.out], [2, ""]);
    assert.match(wrong.err, /--sabotage: expected/);
    assert.equal((await start(["--transport", "pigeon"])).code, 2);
    const unknown = await start(["--transport", "pigeon:coop"]);
    assert.equal(unknown.code, 1);
    assert.match(unknown.err, /embedded:.*memory:/);
    assert.equal((await start(["--input", "/nowhere/at-all"])).code, 2);
  });
});

test("no service outlives its supervisor, whatever ends it", { timeout: 120_000 }, async () => {
  const directory = mkdtempSync(join(tmpdir(), "orders-test-"));
  try {
    const child = spawn(process.execPath, [...flags, entry, "--rate", "50", "--data", directory], { stdio: ["ignore", "pipe", "ignore"] });
    const gone = new Promise((resolve) => child.once("close", resolve));
    const port = await new Promise<string>((resolve, reject) => {
      child.once("error", reject);
      child.stdout.setEncoding("utf8").on("data", (text: string) => {
        const found = /http:\/\/127\.0\.0\.1:(\d+)/.exec(text)?.[1];
        if (found !== undefined) resolve(found);
      });
    });
    child.kill("SIGKILL");
    // Its output is closed only when no service holds it either.
    await gone;
    await assert.rejects(async () => {
      const deadline = performance.now() + 20_000;
      while (performance.now() < deadline) await fetch(`http://127.0.0.1:${port}/health`);
    });
    // All that was written stands, and is finished by whoever comes next.
    const ended = await start(["--orders", "20", "--data", directory]);
    assert.deepEqual([ended.code, ended.json.ok, ended.json.lost], [0, true, 0], ended.out + ended.err);
    assert.ok(ended.json.orders >= 20);
  } finally {
    rmSync(directory, { recursive: true });
  }
});

async function postOrders(port: number): Promise<number[]> {
  const order = { customer: "Ada", sku: "anvil", quantity: 2 };
  const statuses: number[] = [];
  for (const body of [{ ...order, id: "first" }, order, { ...order, sku: "nothing" }]) {
    statuses.push((await fetch(`http://127.0.0.1:${port}/orders`, { method: "POST", body: JSON.stringify(body) })).status);
  }
  return statuses;
}

/** Runs without generated orders; when `post` is done it gets its signal, like Ctrl-C. */
async function startUntilPosted(directory: string, post: (port: number) => Promise<unknown>): Promise<Ended> {
  const child = spawn(process.execPath, [...flags, entry, "--rate", "0", "--data", directory], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  let out = "";
  let err = "";
  let posting = false;
  child.stderr.setEncoding("utf8").on("data", (text: string) => (err += text));
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    out += text;
    const port = /http:\/\/127\.0\.0\.1:(\d+)/.exec(out)?.[1];
    if (port === undefined || posting) return;
    posting = true;
    void post(Number(port)).finally(() => child.kill("SIGINT"));
  });
  const timer = setTimeout(() => child.kill("SIGKILL"), 110_000);
  const code = await new Promise<number | null>((resolve, reject) => child.once("error", reject).once("close", resolve));
  clearTimeout(timer);
  return { code, out, err, json: JSON.parse(out.trimEnd().split("\n").at(-1) ?? "") as Outcome };
}

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { test } from "node:test";
import { promisify } from "node:util";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { isWaybillError } from "./errors.ts";
import type { ConnectionPool, Lease, PoolOptions } from "./pool.ts";
import { createPool } from "./pool.ts";
import { createVirtualClock } from "./virtual-clock.ts";

interface Link {
  readonly id: number;
  alive: boolean;
}

/** A pool of links on a virtual clock, with a record of what was opened and destroyed. */
function make(options: Partial<PoolOptions<Link>> = {}) {
  const clock = createVirtualClock();
  const opened: Link[] = [];
  const destroyed: number[] = [];
  let most = 0;
  const pool = createPool<Link>({
    name: "links",
    create: async () => {
      const link = { id: opened.length + 1, alive: true };
      opened.push(link);
      most = Math.max(most, opened.length - destroyed.length);
      return link;
    },
    destroy: (link) => {
      link.alive = false;
      destroyed.push(link.id);
    },
    max: 2,
    acquireTimeout: "1s",
    clock,
    ...options,
  });
  return { pool, clock, opened, destroyed, most: () => most };
}

const turns = async (count = 3) => {
  for (let n = 0; n < count; n++) await new Promise((resolve) => setImmediate(resolve));
};
const code =
  (expected: Parameters<typeof isWaybillError>[1], text = "") =>
  (error: unknown) =>
    isWaybillError(error, expected) && error.certainty === "definite" && error.message.includes(text);

void test("what is released is handed out again, at the end of a block too", async () => {
  const { pool, opened } = make();
  const first = await pool.acquire();
  first.release();
  first.release();
  {
    await using lease = await pool.acquire();
    assert.equal(lease.value.id, 1);
    assert.equal(pool.stats().held.length, 1);
  }
  assert.equal(opened.length, 1);
  assert.deepEqual([pool.stats().idle, pool.stats().held.length], [1, 0]);
  assert.deepEqual(await pool.close(), []);
});

void test("never more than max, first come first served", async () => {
  const { pool, opened, most } = make({ max: 3, acquireTimeout: "1m" });
  const order: number[] = [];
  let running = 0;
  await Promise.all(
    Array.from({ length: 200 }, async (_, n) => {
      await using lease = await pool.acquire();
      order.push(n);
      running += 1;
      assert.ok(running <= 3 && lease.value.alive);
      await turns(1);
      running -= 1;
      if (n % 17 === 0) lease.discard();
    }),
  );
  assert.deepEqual(
    order,
    Array.from({ length: 200 }, (_, n) => n),
  );
  assert.ok(most() <= 3 && opened.length > 3);
  await pool.close();
});

void test("one that is being destroyed counts, until its time is over", async () => {
  let finish = (): void => {};
  const { pool, clock, opened } = make({
    max: 1,
    destroy: () => new Promise<void>((resolve) => (finish = resolve)),
    destroyTimeout: "500ms",
  });
  (await pool.acquire()).discard();
  const second = pool.acquire();
  await turns();
  assert.equal(opened.length, 1);
  finish();
  (await second).discard();
  const third = pool.acquire();
  await turns();
  assert.equal(opened.length, 2, "this one hangs");
  await clock.advance(500);
  (await third).release();
  assert.equal(opened.length, 3);
});

void test("waiting in vain names who holds them, and for how long", async () => {
  const { pool, clock } = make();
  const lease = await pool.acquire({ holder: "relay" });
  clock.tick(250);
  await pool.acquire({ holder: "consumer\nbilling" });
  const waiting = assert.rejects(
    pool.acquire(),
    code("POOL_TIMEOUT", '"links": none of 2 came free in 1000 ms; held by "relay" for 1250 ms, "consumer\\nbilling" for 1000 ms'),
  );
  const quick = assert.rejects(pool.acquire({ timeout: "100ms" }), code("POOL_TIMEOUT", "in 100 ms"));
  assert.equal(pool.stats().waiting, 2);
  await clock.advance(1_000);
  await Promise.all([waiting, quick]);
  assert.equal(pool.stats().waiting, 0);
  assert.deepEqual(pool.stats().held, [
    { holder: "relay", heldMs: 1_250 },
    { holder: "consumer\nbilling", heldMs: 1_000 },
  ]);
  lease.release();
  (await pool.acquire()).release();
});

void test("a signal ends the wait, and the place in the queue", async () => {
  const { pool, clock } = make({ max: 1 });
  const lease = await pool.acquire();
  const controller = new AbortController();
  const aborted = assert.rejects(pool.acquire({ signal: controller.signal }), code("ABORTED"));
  const next = pool.acquire();
  controller.abort();
  await aborted;
  await assert.rejects(pool.acquire({ signal: controller.signal }), code("ABORTED"));
  lease.release();
  (await next).release();
  assert.equal(clock.pending, 0, "no timer is left");
});

void test("a create that fails tells one who waits, and loses no place", async () => {
  let fail = true;
  const refused = new Error("refused");
  const { pool } = make({
    max: 2,
    create: async () => {
      if (fail) throw refused;
      return { id: 0, alive: true };
    },
  });
  const results = await Promise.allSettled(Array.from({ length: 10 }, () => pool.acquire()));
  assert.ok(results.every((result) => result.status === "rejected" && result.reason === refused));
  assert.equal(pool.stats().failedCreates, 10);
  assert.equal(pool.stats().open, 0);
  fail = false;
  const leases = await Promise.all([pool.acquire(), pool.acquire()]);
  assert.equal(pool.stats().open, 2);
  for (const lease of leases) lease.release();

  const throwing = createPool<Link>({ name: "x", create: () => assert.fail("now"), destroy() {}, max: 1, acquireTimeout: "1s" });
  for (let n = 0; n < 3; n++) await assert.rejects(throwing.acquire(), /now/);
});

void test("a create that hangs is told to give up; what comes too late is destroyed", async () => {
  const destroyed: number[] = [];
  const late = Promise.withResolvers<Link>();
  let calls = 0;
  let told: AbortSignal | undefined;
  const { pool, clock } = make({
    max: 1,
    create: ({ signal }) => {
      calls += 1;
      told ??= signal;
      return calls === 1 ? late.promise : { id: calls, alive: true };
    },
    destroy: (link) => void destroyed.push(link.id),
  });
  const first = assert.rejects(pool.acquire(), code("POOL_TIMEOUT", "none is held, 1 being opened"));
  await clock.advance(1_000);
  await first;
  assert.equal(told?.aborted, true);
  const lease = await pool.acquire();
  assert.equal(lease.value.id, 2);
  late.resolve({ id: 1, alive: true });
  await turns();
  assert.deepEqual(destroyed, [1]);
  lease.release();
});

void test("one that came for somebody who left goes to the next, or waits idle", async () => {
  const gate = Promise.withResolvers<void>();
  const { pool, clock } = make({
    max: 1,
    create: async () => {
      await gate.promise;
      return { id: 1, alive: true };
    },
  });
  const gone = assert.rejects(pool.acquire({ timeout: 10 }), code("POOL_TIMEOUT"));
  await clock.advance(10);
  await gone;
  gate.resolve();
  await turns();
  assert.equal(pool.stats().idle, 1);
  assert.equal((await pool.acquire()).value.id, 1);
});

void test("an unhealthy one is destroyed and another taken; one that does not answer, too", async () => {
  const verdicts = new Map<number, () => Promise<boolean> | boolean>();
  const { pool, clock, destroyed } = make({ check: (link) => (verdicts.get(link.id) ?? (() => true))(), max: 3 });
  const leases = await Promise.all([pool.acquire(), pool.acquire(), pool.acquire()]);
  for (const lease of leases) lease.release();
  verdicts.set(3, () => false);
  verdicts.set(2, () => Promise.reject(new Error("dead")));
  const healthy = await pool.acquire();
  assert.equal(healthy.value.id, 1);
  assert.deepEqual(destroyed, [3, 2]);
  assert.equal(pool.stats().failedChecks, 2);
  healthy.release();
  verdicts.set(1, () => new Promise(() => {}));
  const after = pool.acquire({ timeout: "10s" });
  await clock.advance(1_000);
  assert.equal((await after).value.id, 4);
  assert.deepEqual(destroyed, [3, 2, 1]);
});

void test("idle ones go after their time, down to min; old ones go in any case", async () => {
  const { pool, clock, destroyed } = make({ max: 4, min: 1, idleTimeout: "1s", maxAge: "10s" });
  const leases = await Promise.all([pool.acquire(), pool.acquire(), pool.acquire()]);
  for (const lease of leases) lease.release();
  await clock.advance(900);
  assert.equal(pool.stats().idle, 3);
  await clock.advance(600);
  assert.equal(pool.stats().idle, 1);
  await clock.advance(5_000);
  assert.equal(pool.stats().idle, 1, "min stays");
  await clock.advance(5_000);
  assert.equal(pool.stats().idle, 0, "too old");
  assert.deepEqual(
    destroyed.toSorted((a, b) => a - b),
    [1, 2, 3],
  );
  assert.equal(clock.pending, 0);

  const young = make({ maxAge: "1s" });
  const lease = await young.pool.acquire();
  young.clock.tick(1_000);
  lease.release();
  assert.deepEqual(young.destroyed, [1], "old when it came back");
});

void test("fill opens up to min and tells the first failure", async () => {
  const { pool, opened } = make({ max: 5, min: 3 });
  await pool.fill();
  await pool.fill();
  assert.equal(opened.length, 3);
  assert.equal(pool.stats().idle, 3);
  const failing = make({ min: 2, create: () => Promise.reject(new Error("refused")) });
  await assert.rejects(failing.pool.fill(), /refused/);
  await turns();
  assert.equal(failing.pool.stats().open, 0);
});

void test("close refuses those who wait, waits for leases, destroys all, and is harmless twice", async () => {
  const { pool, destroyed } = make();
  const [a, b] = await Promise.all([pool.acquire(), pool.acquire()]);
  const waiting = assert.rejects(pool.acquire(), code("CLOSED"));
  const closing = pool.close();
  assert.equal(pool.close(), closing);
  await waiting;
  await assert.rejects(pool.acquire(), code("CLOSED"));
  await assert.rejects(pool.fill(), code("CLOSED"));
  a.release();
  await turns();
  assert.deepEqual(destroyed, [1]);
  b.discard();
  assert.deepEqual(await closing, []);
  assert.deepEqual(destroyed, [1, 2]);
  await pool[Symbol.asyncDispose]();
  assert.equal(pool.stats().open, 0);
});

void test("close ends in time though leases are kept, creates hang and destroys hang, and names the leases", async () => {
  let hangs = false;
  const { pool, clock } = make({
    max: 3,
    create: async () => (hangs ? new Promise<Link>(() => {}) : { id: 1, alive: true }),
    destroy: () => new Promise<void>(() => {}),
    destroyTimeout: "200ms",
  });
  const kept = await pool.acquire({ holder: "forgetful" });
  hangs = true;
  const opening = assert.rejects(pool.acquire(), code("CLOSED"));
  await turns();
  const closing = pool.close({ timeout: "300ms" });
  await opening;
  await clock.advance(300);
  await clock.advance(200);
  assert.deepEqual(await closing, [{ holder: "forgetful", heldMs: 300 }]);
  kept.release();
  assert.equal(pool.stats().held.length, 0);
  assert.equal(clock.pending, 0);
});

void test("a lease that became garbage is named, and its place is free again", { timeout: 20_000 }, async () => {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  const destroyed: number[] = [];
  const pool = createPool<Link>({
    name: "links",
    create: () => ({ id: 1, alive: true }),
    destroy: (link) => void destroyed.push(link.id),
    max: 1,
    acquireTimeout: "10s",
  });
  await forget(pool);
  const waiting = pool.acquire({ holder: "next" });
  while (pool.stats().leaked.length === 0) {
    collect();
    await turns(1);
  }
  assert.equal(pool.stats().leaked[0]?.holder, "leaker");
  (await waiting).release();
  assert.deepEqual(destroyed, [1]);
  assert.deepEqual(
    (await pool.close()).map(({ holder }) => holder),
    ["leaker"],
  );
});

async function forget(pool: ConnectionPool<Link>): Promise<void> {
  await pool.acquire({ holder: "leaker" });
}

void test("random use: no place is lost, none is handed to two", { timeout: 60_000 }, async () => {
  let seed = 7;
  const random = (): number => (seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648) / 2_147_483_648;
  const inUse = new Set<Link>();
  let alive = 0;
  let most = 0;
  const pool = createPool<Link>({
    name: "links",
    create: async () => {
      await turns(1);
      if (random() < 0.2) throw new Error("refused");
      alive += 1;
      most = Math.max(most, alive);
      return { id: 0, alive: true };
    },
    destroy: async (link) => {
      link.alive = false;
      await turns(1);
      alive -= 1;
    },
    check: () => random() < 0.9,
    max: 5,
    acquireTimeout: "30s",
  });
  const use = async (): Promise<void> => {
    const signal = random() < 0.1 ? AbortSignal.abort() : undefined;
    let lease: Lease<Link>;
    try {
      lease = await pool.acquire(signal === undefined ? {} : { signal });
    } catch {
      return;
    }
    assert.ok(lease.value.alive && !inUse.has(lease.value));
    inUse.add(lease.value);
    await turns(Math.floor(random() * 3));
    inUse.delete(lease.value);
    if (random() < 0.2) lease.discard();
    else lease.release();
  };
  await Promise.all(
    Array.from({ length: 20 }, async () => {
      for (let n = 0; n < 50; n++) await use();
    }),
  );
  assert.ok(most <= 5, String(most));
  assert.deepEqual(await pool.close(), []);
  assert.equal(alive, 0);
  assert.equal(pool.stats().open, 0);
});

void test("wrong options are refused, all at once", () => {
  assert.throws(
    () => createPool({ name: "", create: 1, destroy() {}, max: 0, acquireTimeout: "soon" } as never),
    (error) =>
      code("CONFIG", "pool.name")(error) &&
      code("CONFIG", "pool.create")(error) &&
      code("CONFIG", "pool.max")(error) &&
      code("CONFIG", "pool.acquireTimeout")(error),
  );
  assert.throws(() => make({ min: 3 }), code("CONFIG", "pool.min"));
});

void test("a process whose only work is a wait for the pool goes on until it is over", { timeout: 30_000 }, async () => {
  const source = `
    import { createPool } from ${JSON.stringify(new URL("pool.ts", import.meta.url).href)};
    const pool = createPool({ name: "x", max: 1, acquireTimeout: 30, create: () => 1, destroy() {} });
    await pool.acquire({ holder: "first" });
    await pool.acquire().catch((error) => console.log(error.code));
    console.log((await pool.close({ timeout: 20 })).map(({ holder }) => holder));`;
  const { stdout } = await promisify(execFile)(process.execPath, ["--input-type=module", "--eval", source]);
  assert.equal(stdout, "POOL_TIMEOUT\n[ 'first' ]\n");
});

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { event } from "./contract.ts";
import { WaybillError } from "./errors.ts";
import type { Store } from "./store/store.ts";
import { transactWith, type TransactHost } from "./transact.ts";
import { createVirtualClock, type VirtualClock } from "./virtual-clock.ts";

const Reserved = event<{ id: string }>("reserved");

type Step = "enqueue" | "commit" | "rollback";

/** Writes down its steps and never answers one of them. */
function silentStore(step: Step | undefined): { readonly store: Store; readonly steps: Step[] } {
  const steps: Step[] = [];
  const does = (name: Step) => (): Promise<void> => {
    steps.push(name);
    return name === step ? new Promise(() => undefined) : Promise.resolve();
  };
  const store = {
    name: "silent",
    joins: () => false,
    begin: () => ({ tx: undefined, enqueue: does("enqueue"), commit: does("commit"), rollback: does("rollback") }),
  } as unknown as Store;
  return { store, steps };
}

function hostOf(clock: VirtualClock, store: Store): TransactHost {
  return {
    clock,
    store,
    transport: { name: "fake" },
    publishing: {
      async publishInto(take: (message: unknown) => void) {
        take({ id: "a" });
      },
    },
    wire: { toBytes: (message: unknown) => message },
    mustBeOpen: () => undefined,
    relays: { ensure: async () => undefined },
  } as unknown as TransactHost;
}

/** The code that it ended with, after so many seconds each. */
async function endedAfter(
  step: Step | undefined,
  seconds: readonly number[],
  error?: WaybillError,
): Promise<[(string | undefined)[], Step[]]> {
  const clock = createVirtualClock();
  const { store, steps } = silentStore(step);
  let ended: string | undefined;
  transactWith(hostOf(clock, store), async ({ publish }) => {
    await publish(Reserved as never, { id: "a" });
    if (error !== undefined) throw error;
  }).then(
    () => (ended = "ok"),
    ({ code }: WaybillError) => (ended = code),
  );
  const seen: (string | undefined)[] = [];
  for (const each of seconds) {
    // Once before anything is due, for the promises that are on their way.
    await clock.advance(0);
    await clock.advance(each * 1_000);
    seen.push(ended);
  }
  return [seen, steps];
}

void describe("transact", () => {
  void test("enqueues and commits", async () => {
    assert.deepEqual(await endedAfter(undefined, [0]), [["ok"], ["enqueue", "commit"]]);
  });

  void test("waits 30 s at most for each of its last steps", async () => {
    assert.deepEqual(await endedAfter("enqueue", [29, 2]), [
      [undefined, "TX_UNKNOWN"],
      ["enqueue", "rollback"],
    ]);
    assert.deepEqual(await endedAfter("commit", [29, 2]), [
      [undefined, "TX_UNKNOWN"],
      ["enqueue", "commit", "rollback"],
    ]);
  });

  void test("waits 30 s at most for a rollback, and tells what went before it", async () => {
    assert.deepEqual(await endedAfter("rollback", [29, 2], new WaybillError("HANDLER", "no")), [[undefined, "HANDLER"], ["rollback"]]);
  });
});

import assert from "node:assert/strict";
import { test } from "node:test";
import { message, unique, until, withServer } from "./integration.fixture.ts";

// An alarm from the start: no disk has so much room.
const server = withServer("rabbitmq", { settings: { "disk_free_limit.absolute": "900000GB" } });

test("a broker that takes nothing makes publishes wait; what was not written is a definite error", async () => {
  const transport = await server.transport();
  const publish = async (count: number, limitMs: number): Promise<readonly string[]> => {
    const outcomes = await transport.publish(
      Array.from({ length: count }, () => message(unique("blocked"))),
      { signal: AbortSignal.timeout(limitMs) },
    );
    return outcomes.map((outcome) => (outcome.ok ? "ok" : `${outcome.error.code} ${outcome.error.certainty}`));
  };
  let first: readonly string[] = [];
  // The broker says that it is blocked when the first one has come: that one is on its way.
  await until("a publish that is held back", async () => {
    first = await publish(2, 300);
    return first.every((outcome) => outcome === "ABORTED definite");
  });
  const begun = performance.now();
  assert.deepEqual(
    await publish(3, 200),
    Array.from({ length: 3 }, () => "ABORTED definite"),
  );
  assert(performance.now() - begun >= 190, "it did not wait");
  const closing = performance.now();
  await transport.close();
  assert(performance.now() - closing < 5_000, "closing waited for the broker");
});

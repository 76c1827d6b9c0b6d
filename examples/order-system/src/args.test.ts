import assert from "node:assert/strict";
import { test } from "node:test";
import { parseArguments, type Arguments } from "./args.ts";

function run(...argv: string[]): Arguments {
  const parsed = parseArguments(argv);
  assert.equal(parsed.kind, "run", parsed.kind === "wrong" ? parsed.problem : parsed.kind);
  return (parsed as { readonly arguments: Arguments }).arguments;
}
function problem(...argv: string[]): string {
  const parsed = parseArguments(argv);
  assert.equal(parsed.kind, "wrong");
  return (parsed as { readonly problem: string }).problem;
}

test("without options: the embedded transport, no end, no faults", () => {
  assert.deepEqual(run(), {
    orders: undefined,
    rate: undefined,
    seed: undefined,
    input: undefined,
    port: 0,
    transport: "embedded",
    store: undefined,
    data: undefined,
    keep: false,
    chaos: false,
    kills: 20,
    sabotage: undefined,
  });
});

test("every option is read", () => {
  const line = "--orders 20000 --rate 12.5 --seed=7 --port 8080 --transport embedded:x.db --store s.db --data d --keep --chaos --kills 25";
  const all = run(...line.split(" "));
  assert.deepEqual(all, {
    orders: 20_000,
    rate: 12.5,
    seed: 7,
    input: undefined,
    port: 8080,
    transport: "embedded:x.db",
    store: "s.db",
    data: "d",
    keep: true,
    chaos: true,
    kills: 25,
    sabotage: undefined,
  });
  assert.equal(run("--input", "-").input, "-");
  assert.equal(run("--seed", "0").seed, 0);
  assert.equal(run("--rate", "0").rate, 0);
  assert.equal(parseArguments(["--help"]).kind, "help");
  assert.equal(parseArguments(["-h"]).kind, "help");
});

test("sabotage brings its chaos", () => {
  for (const name of ["ack-early", "skip-inbox", "drop-outbox"] as const) {
    assert.equal(run("--sabotage", name).sabotage, name);
    assert.equal(run("--sabotage", name).chaos, true);
  }
});

test("what is wrong is named", () => {
  assert.match(problem("--order", "5"), /--order/);
  assert.match(problem("surplus"), /surplus/);
  assert.match(problem("--orders"), /--orders/);
  for (const value of ["0", "-1", "1e3", "x", "", "2.5", "999999999999999999"])
    assert.match(problem(`--orders=${value}`), /--orders: expected/, value);
  for (const value of ["-1", "x", "", "Infinity", "NaN", "1e9"]) assert.match(problem(`--rate=${value}`), /--rate: expected/, value);
  assert.match(problem("--seed", "4294967296"), /--seed/);
  assert.match(problem("--port", "65536"), /--port/);
  assert.match(problem("--sabotage", "coffee"), /--sabotage: expected ack-early, skip-inbox, drop-outbox/);
  assert.match(problem("--input", "a", "--orders", "5"), /--input and --orders/);
  assert.match(problem("--rate", "0", "--orders", "5"), /--rate 0/);
  assert.match(problem("--kills", "30"), /--kills needs --chaos/);
  assert.match(problem("--data", ""), /--data/);
  assert.match(problem("--orders=x", "--rate=y"), /--orders.*--rate/);
});

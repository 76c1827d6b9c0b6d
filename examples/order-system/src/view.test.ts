import assert from "node:assert/strict";
import { test } from "node:test";
import { stripVTControlCharacters } from "node:util";
import { frame, logLine, openScreen, type Scene } from "./view.ts";

const scene: Scene = {
  title: "http://127.0.0.1:8080/orders  seed 1  embedded",
  elapsedMs: 3_725_000,
  services: [
    { name: "shop", up: true, done: 12_345, perSecond: 20.04, depth: undefined },
    { name: "inventory", up: true, done: 12_340, perSecond: 20, depth: 5 },
    { name: "payment", up: false, done: 12_300, perSecond: 0, depth: 40 },
    { name: "shipping", up: true, done: 12_299, perSecond: 19.96, depth: "the transport does not tell" },
  ],
  latency: { p50Ms: 12, p99Ms: 210, maxMs: 12_345 },
  retried: 31,
  deadLettered: 4,
  rejected: 2,
  kills: 3,
  status: "Ctrl-C drains and audits",
  notes: ["kill 1: shop, before", "a note with\u001b[31m control\ncharacters"],
};

test("the frame tells rates, latency, retries, dead letters and depth of each service", () => {
  const text = frame(scene, 80, false).join("\n");
  for (const part of [
    "1:02:05",
    "12,345",
    "20.0",
    "inventory",
    "5",
    "40",
    "p50 12 ms",
    "p99 210 ms",
    "12.3 s",
    "retries 31",
    "dead letters 4",
    "rejected 2",
    "kills 3",
    "○ payment",
  ]) {
    assert.ok(text.includes(part), part);
  }
});

test("no line is wider than the terminal, and without colour there is no escape", () => {
  for (const columns of [1, 10, 24, 40, 80, 200]) {
    for (const color of [false, true]) {
      for (const line of frame(scene, columns, color)) {
        assert.ok(stripVTControlCharacters(line).length <= columns, `${columns}: ${line}`);
        if (!color) assert.ok(!line.includes("\u001b"), line);
      }
    }
  }
});

test("the log is one line of the same", () => {
  assert.equal(
    logLine(scene),
    "1:02:05  orders 12345  shipped 12299 (20.0/s)  waiting 45  retries 31  dead letters 4  p50 12 ms  p99 210 ms  kills 3",
  );
});

test("the screen draws in place, one write a frame, and shows the cursor again", () => {
  const writes: string[] = [];
  const screen = openScreen({ write: (text) => writes.push(text), rows: 10 });
  screen.draw(["a", "b"]);
  screen.draw(["c", "d"]);
  screen.draw(Array.from({ length: 30 }, (_, at) => `line ${at}`));
  screen.draw(["e"]);
  screen.close();
  screen.close();
  screen.draw(["late"]);
  assert.equal(writes.length, 6);
  assert.equal(writes[0], "\u001b[?25l");
  assert.doesNotMatch(writes[1] ?? "", /A\r/);
  assert.ok(writes[2]?.startsWith("\u001b[2A\r"));
  assert.equal(writes[3]?.split("\n").length, 10);
  assert.ok(writes[4]?.startsWith("\u001b[9A\r"));
  assert.equal(writes[5], "\u001b[?25h");
});

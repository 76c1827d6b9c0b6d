import assert from "node:assert/strict";
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { test } from "node:test";
import { tell, type Diagnostics } from "./diagnostics.ts";

void test("nothing is made while nobody listens; who listens is told under the channel's name", () => {
  const gap: Diagnostics["waybill:gap"] = { bus: "b", topic: "t", group: "g", count: 3, reason: "overflow" };
  tell("waybill:gap", () => assert.fail("made for nobody"));
  const heard: unknown[] = [];
  const listener = (message: unknown, name: string | symbol): void => void heard.push([name, message]);
  subscribe("waybill:gap", listener);
  tell("waybill:gap", () => gap);
  tell("waybill:status", () => assert.fail("another channel"));
  unsubscribe("waybill:gap", listener);
  tell("waybill:gap", () => assert.fail("nobody listens any longer"));
  assert.deepEqual(heard, [["waybill:gap", gap]]);
});

import assert from "node:assert/strict";
import { test } from "node:test";
import type { BusStatus, SubscriptionStatus } from "./bus-types.ts";
import { WaybillError } from "./errors.ts";
import { healthOf } from "./health.ts";

const subscription: SubscriptionStatus = {
  state: "running",
  topic: "order.placed",
  group: "billing",
  running: 0,
  unsettled: 0,
  abandoned: 0,
  healthy: true,
  error: undefined,
};
const status: BusStatus = {
  state: "started",
  transport: "connected",
  healthy: true,
  publishing: { buffered: 0, bufferedBytes: 0, waiting: 0 },
  subscriptions: [subscription],
};

void test("all is well", () => {
  assert.deepEqual(healthOf(status), { live: true, ready: true, reasons: [] });
});

void test("what heals by itself is live and not ready", () => {
  assert.deepEqual(healthOf({ ...status, healthy: false, transport: "disconnected" }), {
    live: true,
    ready: false,
    reasons: ["the transport is disconnected"],
  });
  assert.deepEqual(healthOf({ ...status, healthy: false, state: "starting", transport: "connecting" }), {
    live: true,
    ready: false,
    reasons: ["the bus is starting"],
  });
  assert.deepEqual(healthOf({ ...status, healthy: false }), { live: true, ready: false, reasons: ["an outbox cannot be sent"] });
  const starting = { ...subscription, state: "starting" as const, healthy: false };
  assert.deepEqual(healthOf({ ...status, healthy: false, subscriptions: [subscription, starting] }), {
    live: true,
    ready: false,
    reasons: ['subscription "billing" of "order.placed" is starting'],
  });
});

void test("what only a restart helps is not live", () => {
  const failed = {
    ...subscription,
    state: "failed" as const,
    healthy: false,
    error: new WaybillError("AUTH", "refused\nfor amqp://u:s3cr3t@host"),
  };
  assert.deepEqual(healthOf({ ...status, healthy: false, subscriptions: [failed] }), {
    live: false,
    ready: false,
    reasons: ['subscription "billing" of "order.placed" is failed (AUTH: refused\\nfor amqp://***@host)'],
  });
  const stuck = { ...subscription, abandoned: 7, healthy: false };
  assert.deepEqual(healthOf({ ...status, healthy: false, subscriptions: [stuck] }), {
    live: false,
    ready: false,
    reasons: ['subscription "billing" of "order.placed" is running, 7 handlers run on after their time'],
  });
  assert.equal(healthOf({ ...status, healthy: false, state: "closed" }).live, false);
});

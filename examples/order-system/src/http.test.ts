import assert from "node:assert/strict";
import { connect } from "node:net";
import { after, before, test } from "node:test";
import { listen, type HttpDoor, type Placed } from "./http.ts";
import type { NewOrder } from "./contracts.ts";

let door: HttpDoor;
let ready = true;
let answer: Omit<Placed, "id"> = { outcome: "taken" };
const placed: NewOrder[] = [];

before(async () => {
  door = await listen(0, {
    ready: () => ready,
    place(order) {
      placed.push(order);
      return Promise.resolve({ id: order.id ?? "given", ...answer });
    },
    state: (id) => (id === "known" ? { id, state: "paid" } : undefined),
  });
});
after(() => door.close(100));

const order = { customer: "Ada", sku: "anvil", quantity: 2 };
async function post(
  body: string | Uint8Array,
  path = "/orders",
  method = "POST",
): Promise<{ status: number; body: Record<string, unknown>; headers: Headers }> {
  const response = await fetch(`http://127.0.0.1:${door.port}${path}`, { method, ...(method === "POST" ? { body } : {}) });
  return { status: response.status, body: (await response.json()) as Record<string, unknown>, headers: response.headers };
}

test("an order is taken and told its id", async () => {
  const response = await post(JSON.stringify({ ...order, id: "http-1" }));
  assert.deepEqual([response.status, response.body], [202, { id: "http-1" }]);
  assert.equal(response.headers.get("location"), "/orders/http-1");
  assert.deepEqual(placed.at(-1), { ...order, id: "http-1" });
  assert.deepEqual((await post(JSON.stringify(order))).body, { id: "given" });
});

test("what is no order is told why, and goes no further", async () => {
  const before = placed.length;
  for (const [body, reason] of [
    ["{", /not JSON/],
    ["", /not JSON/],
    [JSON.stringify({ ...order, quantity: -1 }), /quantity/],
    [JSON.stringify({ ...order, sku: "nothing" }), /sku/],
    [JSON.stringify([order]), /object/],
    [JSON.stringify({ ...order, admin: true }), /fields/],
  ] as const) {
    const response = await post(body);
    assert.equal(response.status, 400, body);
    assert.match(String(response.body["error"]), reason);
  }
  assert.equal(placed.length, before);
});

test("too large is 413, told or not", async () => {
  assert.equal((await post("x".repeat(20_000))).status, 413);
  const chunked = await new Promise<string>((resolve, reject) => {
    const socket = connect(door.port, "127.0.0.1");
    let text = "";
    socket.setEncoding("utf8").on("data", (part: string) => (text += part));
    socket.on("error", reject).on("close", () => resolve(text));
    socket.write(
      `POST /orders HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n${(20_000).toString(16)}\r\n${"x".repeat(20_000)}\r\n0\r\n\r\n`,
    );
  });
  assert.match(chunked, /^HTTP\/1\.1 413 /);
});

test("a used id is 409; what the shop cannot take now is 503, and so is all while it is not ready", async () => {
  answer = { outcome: "used" };
  assert.equal((await post(JSON.stringify(order))).status, 409);
  answer = { outcome: "failed", reason: "no quote" };
  const failed = await post(JSON.stringify(order));
  assert.deepEqual([failed.status, failed.body, failed.headers.get("retry-after")], [503, { error: "no quote" }, "1"]);
  answer = { outcome: "taken" };
  ready = false;
  assert.equal((await post(JSON.stringify(order))).status, 503);
  assert.equal((await post("", "/health", "GET")).status, 503);
  ready = true;
  assert.equal((await post("", "/health", "GET")).status, 200);
});

test("an order tells where it is; other paths and methods are refused", async () => {
  assert.deepEqual((await post("", "/orders/known", "GET")).body, { id: "known", state: "paid" });
  assert.equal((await post("", "/orders/unknown", "GET")).status, 404);
  assert.equal((await post("", "/", "GET")).status, 404);
  assert.equal((await post("", "/orders/../etc", "GET")).status, 404);
  const wrong = await post("", "/orders", "GET");
  assert.deepEqual([wrong.status, wrong.headers.get("allow")], [405, "POST"]);
});

import assert from "node:assert/strict";
import { createServer, type AddressInfo } from "node:net";
import { test } from "node:test";
import { startProxy } from "@waybill/conformance";
import { event, isWaybillError, type TransportStatus } from "@waybill/core";
import { unique, until, withServer } from "./integration.fixture.ts";
import { rabbitmq } from "./transport.ts";

const server = withServer("rabbitmq");
const place = (): string => `${server.running.host}:${server.running.port}`;

for (const [what, url, code] of [
  ["a wrong password", () => `amqp://guest:hunter2@${place()}`, "AUTH"],
  ["an unknown virtual host", () => `amqp://guest:guest@${place()}/nowhere`, "AUTH"],
  ["TLS on a port without it", () => `amqps://guest:guest@${place()}`, "TLS"],
] as const) {
  test(`${what} ends the start at once, and says what to do`, async () => {
    const bus = server.bus({ url: url() });
    const error: unknown = await bus.start().then(
      () => assert.fail("started"),
      (thrown: unknown) => thrown,
    );
    assert(isWaybillError(error, code), String(error));
    assert(error.remedy.length > 20);
    assert.doesNotMatch(`${error.message} ${String(error.cause)} ${error.remedy}`, /hunter2/);
  });
}

test("an exchange of another type ends the start, and is named", async () => {
  const name = unique("other");
  await server.transport({ exchanges: [{ name, type: "fanout" }] });
  await assert.rejects(server.bus({ exchanges: [{ name, type: "direct" }] }).start(), (error) => {
    assert(isWaybillError(error, "TOPOLOGY"));
    return error.message.includes(name);
  });
});

test("of several addresses the next one is taken, at the start and when a connection is lost", async () => {
  const deaf = createServer(() => undefined).listen(0, "127.0.0.1");
  await new Promise((resolve) => deaf.once("listening", resolve));
  const { port } = deaf.address() as AddressInfo;
  const { host, port: to } = server.running;
  const [first, second] = [await startProxy({ host, port: to }), await startProxy({ host, port: to })];
  try {
    const url = [`127.0.0.1:${port}`, `127.0.0.1:${first.port}`, `127.0.0.1:${second.port}`].map((at) => `amqp://guest:guest@${at}`);
    const bus = server.bus({ url, connectTimeout: "300ms" });
    const placed = event<number>(unique("failover"));
    const handled: number[] = [];
    bus.subscribe(placed, { group: "g" }, (number) => void handled.push(number));
    await bus.start();
    await bus.publish(placed, 1);
    await until("the first", () => handled.includes(1));
    assert(first.traffic().open > 0 && second.traffic().open === 0, "the deaf one is passed over, the next one taken");
    await first.close();
    await bus.publish(placed, 2);
    await until("the second", () => handled.includes(2));
    assert(second.traffic().open > 0);
    await bus.close({ drain: "2s" });
  } finally {
    await Promise.all([first.close(), second.close()]);
    deaf.close();
  }
});

test("connecting is given up when its signal fires, and can be tried again", async () => {
  const deaf = createServer(() => undefined).listen(0, "127.0.0.1");
  await new Promise((resolve) => deaf.once("listening", resolve));
  const { port } = deaf.address() as AddressInfo;
  const transport = rabbitmq({ url: [`amqp://127.0.0.1:${port}`, server.running.url], connectTimeout: "400ms" });
  const statuses: TransportStatus[] = [];
  const onStatus = (status: TransportStatus): void => void statuses.push(status);
  try {
    const begun = performance.now();
    await assert.rejects(transport.connect({ signal: AbortSignal.timeout(100), onStatus }), { code: "ABORTED" });
    assert(performance.now() - begun < 380, "it waited for the peer");
    await transport.connect({ signal: AbortSignal.timeout(20_000), onStatus });
    assert.equal(statuses.at(-1), "connected");
  } finally {
    await transport.close();
    deaf.close();
  }
});

import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, createServer } from "node:net";
import type { AddressInfo, Socket } from "node:net";
import { after, afterEach, beforeEach, describe, it } from "node:test";
import { startProxy } from "./proxy.ts";
import type { Proxy } from "./proxy.ts";
import { until as untilWithin, within } from "./wait.ts";

const waitMs = 5_000;
const until = (what: string, condition: () => boolean): Promise<void> => untilWithin(what, waitMs, condition);

/** Keeps what each connection says, and answers nothing by itself. */
interface Peer {
  readonly socket: Socket;
  text(): string;
  /** Data events so far. */
  packets(): number;
  over(): string | undefined;
}

function peer(socket: Socket): Peer {
  const parts: Buffer[] = [];
  let over: string | undefined;
  socket.on("data", (bytes) => void parts.push(bytes));
  socket.on("end", () => void (over ??= "end"));
  socket.on("error", (error: NodeJS.ErrnoException) => void (over ??= error.code ?? "error"));
  socket.on("close", () => void (over ??= "close"));
  return { socket, text: () => Buffer.concat(parts).toString("latin1"), packets: () => parts.length, over: () => over };
}

describe("the proxy", () => {
  const accepted: Peer[] = [];
  const dialled: Peer[] = [];
  const server = createServer({ noDelay: true }, (socket) => void accepted.push(peer(socket)));
  let proxy: Proxy;

  async function dial(): Promise<{ client: Peer; serving: Peer }> {
    const before = accepted.length;
    const socket = connect({ host: proxy.host, port: proxy.port, noDelay: true });
    const client = peer(socket);
    dialled.push(client);
    await once(socket, "connect");
    await until("the other end", () => accepted.length > before);
    const serving = accepted.at(-1);
    assert(serving !== undefined);
    return { client, serving };
  }

  beforeEach(async () => {
    if (!server.listening) {
      server.listen(0, "127.0.0.1");
      await once(server, "listening");
    }
    proxy = await startProxy({ host: "127.0.0.1", port: (server.address() as AddressInfo).port });
  });
  afterEach(async () => {
    await within("close", waitMs, proxy.close());
    assert.equal(proxy.traffic().open, 0);
    for (const each of [...accepted.splice(0), ...dialled.splice(0)]) each.socket.destroy();
  });
  after(async () => {
    await new Promise((resolve) => server.close(resolve));
  });

  it("passes both ways, counts each connection, and passes the end on with all before it", async () => {
    const { client, serving } = await dial();
    const other = await dial();
    client.socket.write("four");
    serving.socket.write("seven b");
    other.client.socket.write("x");
    await until("all", () => serving.text() === "four" && client.text() === "seven b" && other.serving.text() === "x");
    const counted = proxy.connections().map(({ id, toServer, toClient }) => ({ id, toServer, toClient }));
    assert.deepEqual(counted, [
      { id: 0, toServer: 4, toClient: 7 },
      { id: 1, toServer: 1, toClient: 0 },
    ]);
    const large = "z".repeat(8 << 20);
    serving.socket.end(large);
    client.socket.pause();
    await until("the server's end is on its way", () => serving.socket.writableEnded);
    client.socket.resume();
    await until("the end", () => client.over() === "end");
    assert.equal(client.text().length, 7 + large.length);
    client.socket.end();
    await until("the end of the connection", () => proxy.traffic().open === 1);
    const { toServer, toClient, connections, cuts } = proxy.traffic();
    assert.deepEqual({ toServer, toClient, connections, cuts }, { toServer: 5, toClient: 7 + large.length, connections: 2, cuts: 0 });
  });

  it("holds no more than a little of what a slow side does not take", async () => {
    const { client, serving } = await dial();
    serving.socket.pause();
    const chunk = Buffer.alloc(1 << 20);
    for (let at = 0; at < 64; at += 1) client.socket.write(chunk);
    let passed = -1;
    await until("a stand-still", () => {
      const before = passed;
      passed = proxy.traffic().toServer;
      return passed > 0 && before === passed && client.socket.writableLength > 0;
    });
    assert(client.socket.writableLength > 40 << 20, "the proxy took it all in");
    serving.socket.resume();
    await until("all of it", () => proxy.traffic().toServer === 64 << 20);
  });

  it("cuts now, both ends", async () => {
    const { client, serving } = await dial();
    client.socket.write("a");
    await until("it", () => serving.text() === "a");
    assert.equal(proxy.cut(), 1);
    await until("both resets", () => client.over() === "ECONNRESET" && serving.over() === "ECONNRESET");
    const again = await dial();
    again.client.socket.write("b");
    await until("a new connection", () => again.serving.text() === "b");
    assert.equal(proxy.traffic().cuts, 1);
  });

  for (const direction of ["toServer", "toClient"] as const) {
    it(`cuts after the n-th further byte ${direction}, to the byte`, async () => {
      for (const bytes of [0, 1, 2, 7, 99, 100]) {
        const { client, serving } = await dial();
        const [from, to] = direction === "toServer" ? [client, serving] : [serving, client];
        from.socket.write("before");
        await until("what was before", () => to.text() === "before");
        proxy.cutAfter(bytes, direction);
        to.socket.write("the other direction is not counted");
        await until("the other direction", () => from.text() !== "");
        from.socket.write("x".repeat(100));
        await until("the cut", () => to.over() !== undefined && from.over() !== undefined);
        assert.equal(to.text(), `before${"x".repeat(bytes)}`);
        assert.equal(to.over(), "ECONNRESET");
      }
    });
  }

  it("counts both directions where none is named, and cuts one connection", async () => {
    const [first, second] = [await dial(), await dial()];
    proxy.cutAfter(6);
    first.client.socket.write("abc");
    await until("the first three", () => first.serving.text() === "abc");
    second.serving.socket.write("defgh");
    await until("the cut", () => second.client.over() === "ECONNRESET");
    assert.equal(second.client.text(), "def");
    first.client.socket.write("still");
    await until("the other connection", () => first.serving.text() === "abcstill");
    assert.equal(proxy.traffic().cuts, 1);
  });

  it("is a black hole both ways: nothing is heard, not even an end, until it is healed by a reset", async () => {
    const { client, serving } = await dial();
    const idle = await dial();
    proxy.blackHole("both");
    client.socket.write("lost");
    serving.socket.write("lost too");
    serving.socket.end();
    const late = connect({ host: proxy.host, port: proxy.port });
    dialled.push(peer(late));
    late.write("into the hole");
    await until("the swallowing", () => proxy.traffic().swallowed === 4 + 8 + 13);
    assert.equal(client.over(), undefined);
    assert.equal(serving.text() + client.text(), "");
    proxy.heal();
    await until("the reset", () => client.over() === "ECONNRESET" && dialled.at(-1)?.over() === "ECONNRESET");
    idle.client.socket.write("whole");
    await until("what lost nothing goes on", () => idle.serving.text() === "whole");
  });

  it("is a black hole one way", async () => {
    const { client, serving } = await dial();
    proxy.blackHole("toClient");
    serving.socket.write("lost");
    client.socket.write("heard");
    await until("one way", () => serving.text() === "heard" && proxy.traffic().swallowed === 4);
    assert.equal(client.text(), "");
    serving.socket.destroy();
    client.socket.write("on and on");
    await until("more swallowed or nobody there", () => proxy.connections().length <= 1);
    assert.equal(client.over(), undefined, "the end was lost too");
  });

  it("delays, in order, and no longer than asked when healed", async () => {
    const { client, serving } = await dial();
    proxy.latency(60);
    const begun = performance.now();
    client.socket.write("a");
    await until("it is on its way", () => proxy.traffic().connections === 1);
    client.socket.write("b");
    await until("both", () => serving.text() === "ab");
    assert(performance.now() - begun >= 59);
    proxy.heal();
    const [healed] = [performance.now()];
    serving.socket.write("c");
    await until("the next", () => client.text() === "c");
    assert(performance.now() - healed < 1_000);
  });

  it("writes one byte at a time", async () => {
    const { client, serving } = await dial();
    proxy.slice(1);
    const text = "0123456789".repeat(20);
    client.socket.write(text);
    await until("all of it", () => serving.text() === text);
    assert(serving.packets() > text.length / 4, `${serving.packets()} packets of ${text.length} bytes`);
  });

  it("refuses new connections, and lets the old ones be", async () => {
    const { client, serving } = await dial();
    proxy.refuse();
    const refused = peer(connect({ host: proxy.host, port: proxy.port }));
    dialled.push(refused);
    await until("the refusal", () => refused.over() !== undefined);
    client.socket.write("still here");
    await until("the old one", () => serving.text() === "still here");
    assert.equal(proxy.traffic().refused, 1);
    proxy.heal();
    await dial();
  });

  it("resets who comes while nobody serves", async () => {
    await new Promise((resolve) => server.close(resolve));
    const alone = peer(connect({ host: proxy.host, port: proxy.port }));
    dialled.push(alone);
    await until("the reset", () => alone.over() !== undefined);
    await until("nothing open", () => proxy.traffic().open === 0);
  });

  it("leaves nothing open when it is closed in the middle of everything", async () => {
    const open = await Promise.all([0, 1, 2].map(async () => dial()));
    proxy.latency(10_000);
    for (const { client } of open) client.socket.write("never");
    proxy.blackHole("toServer");
    for (const { serving } of open) serving.socket.end();
    await within("close", waitMs, proxy.close());
    await within("a second close", waitMs, proxy.close());
    await until("the resets", () => open.every(({ client }) => client.over() !== undefined));
    assert.equal(proxy.traffic().open, 0);
  });
});

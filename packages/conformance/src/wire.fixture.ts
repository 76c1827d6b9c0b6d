import { startProxy } from "./proxy.ts";
import type { ConformanceTarget } from "./target.ts";
import { deadAfterMs, startWireServer } from "./wire-server.fixture.ts";
import { wireTransport } from "./wire-transport.fixture.ts";
import type { Wrong } from "./wire-transport.fixture.ts";

/** A target with a network, and with a server that can be stopped, killed and frozen. */
export function wireTarget(wrong?: Wrong): ConformanceTarget {
  return {
    name: "wire",
    processes: false,
    async start() {
      const server = await startWireServer();
      const proxy = await startProxy({ host: "127.0.0.1", port: server.port });
      return {
        connection: proxy.port,
        version: "0",
        faults: {
          stop: server.stop,
          kill: server.stop,
          start: server.start,
          pause: server.pause,
          resume: server.resume,
          block: server.block,
          unblock: server.unblock,
          network: { ...proxy, direct: server.port, noticesWithinMs: 2 * deadAfterMs },
        },
        async [Symbol.asyncDispose]() {
          await proxy.close();
          await server[Symbol.asyncDispose]();
        },
      };
    },
    open: (connection) => wireTransport(Number(connection), wrong),
  };
}

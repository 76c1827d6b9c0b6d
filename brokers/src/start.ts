// Starting a broker: found or installed, planned, its processes started, waited for, and handed over.
import { fromEnvironment } from "./environment.ts";
import { find } from "./find.ts";
import { nodeProcess, type NodeProcess } from "./node-process.ts";
import type { Installed, NodePlan, Plan, Server } from "./server.ts";
import { servers } from "./servers.ts";
import type { BrokerName, BrokerNode, RunningBroker, StartOptions } from "./types.ts";
import { watch, type Watch } from "./watch.ts";
import { setTimeout as delay } from "node:timers/promises";

const formWithinMs = 60_000;

/** Installs only; for the test runner before the tests. Nothing to do when an address in the environment stands for it. */
export async function installBroker(name: BrokerName): Promise<void> {
  const server = servers[name];
  if (fromEnvironment(server) === undefined) await find(server);
}

/**
 * Installs the server if it is missing (one at a time across processes), starts it on free ports of 127.0.0.1, and
 * resolves when it serves. When this process ends without disposing of it, in whatever way, the broker ends too.
 */
export async function startBroker(name: BrokerName, options: StartOptions = {}): Promise<RunningBroker> {
  const server = servers[name];
  const nodes = options.nodes ?? 1;
  if (nodes > 1 && !server.clusters) throw new Error(`${server.title} has no cluster here: only rabbitmq, rabbitmq4, kafka and nats have`);
  if (options.listeners !== undefined && name !== "kafka") throw new Error(`${server.title} has no listeners: only kafka has`);
  const given = await fromEnvironment(server)?.(options);
  if (given !== undefined) return given;
  const installed = await find(server);
  const watched = await watch(name);
  try {
    const plan = await server.plan({
      watch: watched,
      installed,
      nodes,
      settings: options.settings ?? {},
      advertise: async (index, port, listener = 0) => (await options.advertise?.(index, port, listener)) ?? { host: "127.0.0.1", port },
      listeners: options.listeners ?? 1,
    });
    return await bringUp(server, plan, watched, installed);
  } catch (cause) {
    await watched.end();
    throw cause;
  }
}

async function bringUp(server: Server, plan: Plan, watched: Watch, { wrap = (command) => command }: Installed): Promise<RunningBroker> {
  if (plan.endSignal !== undefined) watched.tell({ endSignal: plan.endSignal });
  if (plan.side !== undefined) await nodeProcess(watched, `${server.title}'s side process`, "side", wrap(plan.side)).start(async () => "");
  let ended: Promise<void> | undefined;
  let version = "";
  const processes = plan.nodes.map((node, index) =>
    nodeProcess(watched, `${server.title}, node ${index + 1}`, `node-${index + 1}`, wrap(node.command)),
  );
  const start = async (process: NodeProcess, index: number): Promise<void> => {
    version = await process.start((plan.nodes[index] as NodePlan).probe);
  };
  if (plan.firstAlone === true) await start(processes[0] as NodeProcess, 0);
  await Promise.all(processes.map(start));
  if (plan.formed !== undefined) await becomesOne(server, plan.formed, processes);
  const nodes = plan.nodes.map((node, index) => brokerNode(node, processes[index] as NodeProcess, plan));
  return {
    name: server.name,
    version,
    mine: true,
    settings: plan.settings,
    nodes,
    host: "127.0.0.1",
    port: plan.nodes[0]?.port ?? 0,
    url: plan.url,
    [Symbol.asyncDispose]: () => (ended ??= watched.end()),
  };
}

async function becomesOne(server: Server, formed: () => Promise<void>, processes: readonly NodeProcess[]): Promise<void> {
  const end = performance.now() + formWithinMs;
  for (;;) {
    try {
      await formed();
      return;
    } catch (cause) {
      if (performance.now() < end) {
        await delay(100);
        continue;
      }
      const logs = processes.map((process) => process.log()).join("\n");
      throw new Error(`${server.title}: no cluster within ${formWithinMs / 1000} s:\n${logs}`, { cause });
    }
  }
}

const processOf = new WeakMap<BrokerNode, NodeProcess>();

/** The process id of a node that runs, for people; 0 for one that does not. */
export function pidOf(node: BrokerNode): number {
  return processOf.get(node)?.pid() ?? 0;
}

function brokerNode(plan: NodePlan, process: NodeProcess, { stopSignal }: Plan): BrokerNode {
  const node: BrokerNode = {
    host: "127.0.0.1",
    port: plan.port,
    ports: plan.ports,
    stop: () => process.stop(stopSignal),
    async kill() {
      await process.kill();
      plan.cleanUp?.();
    },
    async start() {
      await process.start(plan.probe);
    },
    pause: () => process.freeze(),
    resume: () => process.thaw(),
  };
  processOf.set(node, process);
  return node;
}

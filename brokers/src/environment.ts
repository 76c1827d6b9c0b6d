// A server whose address is in the environment, such as WAYBILL_RABBITMQ_URL: used as it is, never stopped or killed.
import type { Server } from "./server.ts";
import type { BrokerName, BrokerNode, RunningBroker, StartOptions } from "./types.ts";

/** Such as WAYBILL_KAFKA_URL. */
export function environmentName(name: BrokerName): string {
  return `WAYBILL_${name.toUpperCase()}_URL`;
}

/**
 * Undefined when the environment names no address for this server. Several addresses, separated by commas, are the nodes
 * of one cluster; the first may hold the credentials for all.
 */
export function fromEnvironment(server: Server): ((options: StartOptions) => Promise<RunningBroker>) | undefined {
  const variable = environmentName(server.name);
  const value = process.env[variable];
  if (value === undefined || value.trim() === "") return undefined;
  return async (options) => {
    const [first = "", ...others] = value.split(",").map((part) => part.trim());
    const scheme = first.slice(0, first.indexOf("://") + 3);
    const urls = [first, ...others.map((other) => (other.includes("://") ? other : scheme + other))].map((text) => {
      if (scheme.length <= 3 || !URL.canParse(text)) throw new Error(`${variable} is not an address such as ${server.name}://host:port`);
      return new URL(text);
    });
    if (options.nodes !== undefined && urls.length < options.nodes) {
      throw new Error(`${variable} names ${urls.length} of the ${options.nodes} nodes that this needs`);
    }
    for (const refused of ["advertise", "listeners", "settings"] as const) {
      if (options[refused] !== undefined) throw new Error(`${variable} stands for a running server: ${refused} cannot be applied to it`);
    }
    const nodes = urls.map((url) => foreignNode(url, server, variable));
    const version = await server.ask(urls[0] as URL);
    return {
      name: server.name,
      version,
      mine: false,
      settings: {},
      nodes,
      host: nodes[0]?.host ?? "",
      port: nodes[0]?.port ?? 0,
      url: first,
      [Symbol.asyncDispose]: async () => {},
    };
  };
}

function foreignNode(url: URL, server: Server, variable: string): BrokerNode {
  const refuse = (what: string): never => {
    throw new Error(`${server.title} is the one of ${variable}: it is not ours to ${what}`);
  };
  return {
    host: url.hostname,
    port: Number(url.port || server.defaultPort),
    ports: {},
    stop: async () => refuse("stop"),
    kill: async () => refuse("kill"),
    start: async () => refuse("start"),
    pause: () => refuse("pause"),
    resume: () => refuse("resume"),
  };
}

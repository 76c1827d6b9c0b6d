import { join } from "node:path";
import { pathToFileURL } from "node:url";

/** Where messages go, and how to let go of it. */
export interface Server {
  /** For `openTransport`. */
  readonly url: string;
  /** Where its messages are: in the run's directory, with the server that ends with the run, or with a server that stays. */
  readonly messages: "directory" | "run" | "elsewhere";
  /** Kills the server and starts it again with what it kept; undefined: there is none, or it is not ours. */
  readonly restart: (() => Promise<void>) | undefined;
  stop(): Promise<void>;
}

const brokerNames = ["rabbitmq", "rabbitmq4", "kafka"] as const;
type BrokerName = (typeof brokerNames)[number];

export const serverNames: readonly string[] = ["embedded", ...brokerNames];

/** A name starts what it needs; a URL is of something that runs already. Undefined: neither. */
export async function startServer(transport: string, directory: string): Promise<Server | undefined> {
  // No server: the file is all there is.
  if (transport === "embedded") {
    const { href } = pathToFileURL(join(directory, "messages.db"));
    return { url: href.replace(/^file:/, "embedded:"), messages: "directory", restart: undefined, stop };
  }
  const broker = brokerNames.find((name) => name === transport);
  if (broker !== undefined) return startOwn(broker);
  // Each service is a process of its own, and would have a memory of its own.
  if (/^memory:/i.test(transport)) throw new Error("--transport: memory: lives in one process, and these are four");
  return transport.includes(":") ? { url: transport, messages: "elsewhere", restart: undefined, stop } : undefined;
}

const stop = (): Promise<void> => Promise.resolve();

/** A real server, found on this machine or installed. */
async function startOwn(name: BrokerName): Promise<Server> {
  const { startBroker } = await import("@waybill/brokers");
  const broker = await startBroker(name);
  const [node] = broker.nodes;
  return {
    url: broker.url,
    messages: broker.mine ? "run" : "elsewhere",
    restart:
      broker.mine && node !== undefined
        ? async () => {
            await node.kill();
            await node.start();
          }
        : undefined,
    stop: async () => broker[Symbol.asyncDispose](),
  };
}

export type BrokerName = "rabbitmq" | "rabbitmq4" | "kafka" | "redis" | "redis8" | "valkey" | "nats" | "postgres";

export interface Address {
  readonly host: string;
  readonly port: number;
}

export interface StartOptions {
  /** Nodes of the cluster. Default 1; 3 for rabbitmq, rabbitmq4, kafka, nats. */
  readonly nodes?: 1 | 3;
  /** What each node says its address is (a proxy's), by node index. Default: its own. */
  readonly advertise?: (index: number, port: number, listener: number) => Address | Promise<Address>;
  /** Kafka alone: so many listeners for clients, each with a port (`client1`, `client2` … after the first) and an advertised address of its own. Default 1. */
  readonly listeners?: number;
  /** Server settings added to (or replacing) the starter's own, in the server's own names. */
  readonly settings?: Readonly<Record<string, string>>;
}

export interface BrokerNode {
  readonly host: string;
  readonly port: number;
  /** Its other ports: rabbitmq `management`, nats `monitor`. */
  readonly ports: Readonly<Record<string, number>>;
  /** Cleanly, within a bound; `start()` brings it back on the same ports and data. */
  stop(): Promise<void>;
  /** SIGKILL of every process of the node; resolves when they are gone. */
  kill(): Promise<void>;
  /** Resolves when it serves. Nothing to do when it does. */
  start(): Promise<void>;
  /** SIGSTOP of every process of the node; returns when they stand still. */
  pause(): void;
  /** SIGCONT. */
  resume(): void;
}

export interface RunningBroker extends AsyncDisposable {
  readonly name: BrokerName;
  /** As the server says it. */
  readonly version: string;
  /** False: an address from the environment; then stop, kill, start, pause and resume throw. */
  readonly mine: boolean;
  /** Those that differ from the server's defaults. */
  readonly settings: Readonly<Record<string, string>>;
  readonly nodes: readonly BrokerNode[];
  /** Of the first node. */
  readonly host: string;
  readonly port: number;
  readonly url: string;
}

// What a kind of server has to say about itself; one file per kind implements it.
import type { Address, BrokerName } from "./types.ts";
import type { Watch } from "./watch.ts";

/** Where its files are; opaque to the others. */
export interface Installed {
  readonly version: string;
  readonly home: string;
}

export interface Command {
  readonly program: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** Another user to run it as, for a server that refuses root. */
  readonly user?: { readonly uid: number; readonly gid: number };
}

export interface NodePlan {
  readonly port: number;
  readonly ports: Readonly<Record<string, number>>;
  readonly command: Command;
  /** Throws while the node does not serve; else the version as the server says it. */
  probe(): Promise<string>;
  /** After a SIGKILL: what the server would have removed from the system itself. */
  cleanUp?(): void;
}

export interface Plan {
  readonly settings: Readonly<Record<string, string>>;
  readonly nodes: readonly NodePlan[];
  /** A process that the nodes share, started before them. */
  readonly side?: Command;
  readonly url: string;
  readonly stopSignal: NodeJS.Signals;
  readonly endSignal?: NodeJS.Signals;
  /** The first node serves before the others start. */
  readonly firstAlone?: boolean;
  /** Throws while the nodes do not form one cluster. */
  formed?(): Promise<void>;
}

export interface PlanOptions {
  readonly watch: Watch;
  readonly installed: Installed;
  readonly nodes: number;
  readonly settings: Readonly<Record<string, string>>;
  advertise(index: number, port: number): Promise<Address>;
}

export interface Server {
  readonly name: BrokerName;
  /** With its version, as in an error: `RabbitMQ 3.10`. */
  readonly title: string;
  readonly clusters: boolean;
  /** In words, for the error when none worked. */
  readonly ways: readonly string[];
  find(): Promise<Installed | undefined>;
  /** Under the lock; throws when this machine does not offer this way. */
  install(): Promise<Installed>;
  plan(options: PlanOptions): Promise<Plan>;
  /** Asks a server whose address came from the environment: its version, or an error. */
  ask(url: URL): Promise<string>;
  readonly defaultPort: number;
}

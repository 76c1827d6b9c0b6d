// What a kind of server has to say about itself; one file per kind implements it.
import { run } from "./run.ts";
import type { Address, BrokerName } from "./types.ts";
import type { Watch } from "./watch.ts";

/** Where its files are, in its kind's own terms. */
export interface Installed {
  readonly version: string;
  readonly home: string;
  /** Not among the machine's own programs: what makes a command of this server one that the machine can run. */
  readonly wrap?: (command: Command) => Command;
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
  advertise(index: number, port: number, listener?: number): Promise<Address>;
  readonly listeners: number;
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
  /** An image of Docker with the server, and its `home` in there. */
  readonly container: { readonly image: string; readonly home: string };
  plan(options: PlanOptions): Promise<Plan>;
  /** Asks a server whose address came from the environment: its version, or an error. */
  ask(url: URL): Promise<string>;
  readonly defaultPort: number;
}

/** Runs one of the server's programs to its end. */
export async function runCommand({ wrap }: Installed, command: Command, timeoutMs: number): Promise<void> {
  const { program, args, env, cwd, user } = wrap === undefined ? command : wrap(command);
  await run(program, args, {
    timeoutMs,
    env: { ...process.env, ...env },
    ...(cwd === undefined ? {} : { cwd }),
    ...(user === undefined ? {} : { user }),
  });
}

import { fork, type ChildProcess } from "node:child_process";
import { fileURLToPath } from "node:url";
import { serviceNames, type ServiceName } from "./contracts.ts";
import type { FromService, Settings, ToService } from "./ipc.ts";

export interface SupervisorOptions {
  /** Of a service that is about to be started. */
  settings(service: ServiceName): Settings;
  onMessage(service: ServiceName, message: FromService): void;
  /** A line that a service wrote. */
  onLine(service: ServiceName, line: string): void;
  /** A service is gone and will be started again. */
  onDeath(service: ServiceName, killed: boolean): void;
  /** It cannot go on: a service failed at its start, or dies again and again. */
  onFailure(error: Error): void;
}

export interface Supervisor {
  /** Resolves when all services are ready; rejects when one fails or takes too long. */
  start(): Promise<void>;
  ready(service: ServiceName): boolean;
  /** Resolves when the service is ready, false when it is not within `withinMs`. */
  whenReady(service: ServiceName, withinMs: number): Promise<boolean>;
  /** False: it is not running now. */
  tell(service: ServiceName, message: ToService): boolean;
  /** SIGKILL. It is started again. False: it was not ready. */
  kill(service: ServiceName): boolean;
  /** Asks all services to drain and end, and kills those that do not in `withinMs`. Afterwards no process is left. */
  stop(withinMs: number): Promise<void>;
}

const startTimeoutMs = 30_000;
const maxUnaskedDeaths = 5;
const entry = fileURLToPath(new URL("./services/main.ts", import.meta.url));

interface Child {
  readonly service: ServiceName;
  readonly process: ChildProcess;
  readonly lastLines: string[];
  readonly gone: Promise<void>;
  ready: boolean;
  killed: boolean;
}

/** Starts the services as processes of their own and starts again those that die. */
export function createSupervisor(options: SupervisorOptions): Supervisor {
  const children = new Map<ServiceName, Child>();
  const waiters = new Set<() => void>();
  let stopping = false;
  let unaskedDeaths = 0;
  let failure: Error | undefined;

  const wake = (): void => {
    for (const waiter of waiters) waiter();
  };
  const fail = (error: Error): void => {
    if (failure !== undefined || stopping) return;
    failure = error;
    wake();
    options.onFailure(error);
  };

  const launch = (service: ServiceName): void => {
    const child = forkService(service, options);
    children.set(service, child);
    child.process.on("message", (message: FromService) => {
      if (message.kind === "ready") {
        child.ready = true;
        clearTimeout(late);
        wake();
      } else if (message.kind === "failed") {
        fail(new Error(`${service}: ${message.text}`));
      }
      options.onMessage(service, message);
    });
    const late = setTimeout(
      () => fail(new Error(`${service} is not ready after ${startTimeoutMs / 1000} s${tail(child)}`)),
      startTimeoutMs,
    );
    void child.gone.then(() => {
      clearTimeout(late);
      const wasReady = child.ready;
      child.ready = false;
      if (stopping || children.get(service) !== child) return;
      if (!child.killed && !wasReady) return fail(new Error(`${service} ended at its start (${ending(child.process)})${tail(child)}`));
      if (!child.killed && ++unaskedDeaths > maxUnaskedDeaths) {
        return fail(new Error(`${service} and others ended by themselves ${unaskedDeaths} times (${ending(child.process)})${tail(child)}`));
      }
      options.onDeath(service, child.killed);
      return launch(service);
    });
    child.process.send({ kind: "settings", settings: options.settings(service) } satisfies ToService, () => {});
  };

  const until = (condition: () => boolean, withinMs: number): Promise<boolean> =>
    new Promise((resolve) => {
      const check = (): void => {
        const met = condition();
        if (!met && failure === undefined && !stopping) return;
        finish(met);
      };
      const timer = setTimeout(() => finish(condition()), withinMs);
      const finish = (met: boolean): void => {
        clearTimeout(timer);
        waiters.delete(check);
        resolve(met);
      };
      waiters.add(check);
      check();
    });

  return {
    async start() {
      for (const service of serviceNames) launch(service);
      const all = await until(() => serviceNames.every((service) => children.get(service)?.ready === true), startTimeoutMs + 1000);
      if (!all) throw failure ?? new Error("the services are not ready in time");
    },
    ready: (service) => children.get(service)?.ready === true,
    whenReady: (service, withinMs) => until(() => children.get(service)?.ready === true, withinMs),
    tell(service, message) {
      const child = children.get(service);
      if (child === undefined || !child.ready || !child.process.connected) return false;
      child.process.send(message, () => {});
      return true;
    },
    kill(service) {
      const child = children.get(service);
      if (child === undefined || !child.ready) return false;
      child.ready = false;
      child.killed = true;
      return child.process.kill("SIGKILL");
    },
    async stop(withinMs) {
      stopping = true;
      wake();
      const all = [...children.values()];
      for (const child of all) if (child.process.connected) child.process.send({ kind: "stop" } satisfies ToService, () => {});
      const timer = setTimeout(() => {
        for (const child of all) child.process.kill("SIGKILL");
      }, withinMs);
      await Promise.all(all.map((child) => child.gone));
      clearTimeout(timer);
    },
  };
}

function forkService(service: ServiceName, options: SupervisorOptions): Child {
  const child = fork(entry, [service], {
    stdio: ["ignore", "pipe", "pipe", "ipc"],
    // A process group of its own: Ctrl-C is for the supervisor, and would end a service that is just starting.
    detached: process.platform !== "win32",
    execArgv: process.execArgv.filter((flag) => !flag.startsWith("--test") && !flag.startsWith("--inspect")),
  });
  const lastLines: string[] = [];
  const onLine = (line: string): void => {
    lastLines.push(line);
    if (lastLines.length > 12) lastLines.shift();
    options.onLine(service, line);
  };
  eachLine(child.stdout, onLine);
  eachLine(child.stderr, onLine);
  const gone = new Promise<void>((resolve) => {
    child.once("error", (error) => {
      onLine(error.message);
      if (child.pid === undefined) resolve();
    });
    child.once("close", () => resolve());
  });
  return { service, process: child, lastLines, gone, ready: false, killed: false };
}

function eachLine(stream: NodeJS.ReadableStream | null, onLine: (line: string) => void): void {
  let rest = "";
  stream?.setEncoding("utf8");
  stream?.on("data", (text: string) => {
    const lines = (rest + text).split("\n");
    rest = (lines.pop() ?? "").slice(-4096);
    for (const line of lines) if (line.trim() !== "") onLine(line.slice(0, 4096));
  });
  stream?.on("end", () => {
    if (rest.trim() !== "") onLine(rest);
  });
}

function ending(child: ChildProcess): string {
  return child.signalCode === null ? `exit code ${child.exitCode}` : child.signalCode;
}

function tail(child: Child): string {
  return child.lastLines.length === 0 ? "" : `\n${child.lastLines.map((line) => `  ${child.service}: ${line}`).join("\n")}`;
}

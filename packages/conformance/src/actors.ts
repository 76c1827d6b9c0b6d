import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { isForChildren } from "./suite-process.ts";
import type { ChildLine, ChildOrder } from "./child.ts";
import type { UnsequencedRecord } from "./history.ts";
import { historyVersion } from "./history.ts";
import type { Rig } from "./rig.ts";
import { act } from "./script.ts";
import type { Script } from "./script.ts";
import type { Broker } from "./target.ts";

export interface Actor {
  readonly script: Script;
  readonly ready: Promise<void>;
  /** A producer has published all; never, when it crashed. */
  readonly done: Promise<void>;
  readonly exited: Promise<"crashed" | "ended">;
  /** Who waits begins. */
  go(): void;
  /** As by kill -9. */
  kill(): void;
  /** SIGTERM: it drains, and ends by itself. */
  terminate(): void;
  /** Gracefully; harmless after a crash. */
  stop(): Promise<void>;
}

/** Starts an actor: a child process where the target can be opened by one, else a bus in this process that is abandoned when it dies. */
export function startActor(rig: Rig, broker: Broker, script: Script, write: (record: UnsequencedRecord) => void): Actor {
  return rig.target.processes ? startChild(rig, broker, script, write) : startHere(rig, broker, script, write);
}

const crashRecord = (script: Script): UnsequencedRecord => ({
  v: historyVersion,
  run: script.run,
  seed: script.seed,
  proc: script.proc,
  inc: script.inc,
  tMono: Number(process.hrtime.bigint()),
  f: "process",
  type: "crash",
});

function startHere(rig: Rig, broker: Broker, script: Script, write: (record: UnsequencedRecord) => void): Actor {
  const exited = Promise.withResolvers<"crashed" | "ended">();
  const transport = rig.raw(broker);
  const stored = script.role === "consumer" ? script.store : undefined;
  const store = stored === undefined ? undefined : rig.target.store?.(broker.connection, { joined: stored === "joined" });
  let dead = false;
  const go = Promise.withResolvers<void>();
  const die = (): Promise<never> => {
    dead = true;
    broker.faults.crash?.(transport);
    write(crashRecord(script));
    exited.resolve("crashed");
    return new Promise<never>(() => undefined);
  };
  const acting = act(script, {
    transport,
    store,
    write: (record) => {
      if (!dead) write(record);
    },
    go: go.promise,
    die,
  });
  acting.ready.catch((error: unknown) => exited.reject(error));
  const stop = async (): Promise<void> => {
    if (dead) return;
    await acting.stop();
    exited.resolve("ended");
  };
  rig.defer(async () => {
    if (dead) await transport.close();
    await acting.bus.close({ drain: 0 });
    // Whoever crashed did not get to it.
    await store?.close();
  });
  return {
    script,
    ready: acting.ready,
    done: acting.done,
    exited: exited.promise,
    go: () => go.resolve(),
    kill: () => void die(),
    terminate: () => void stop(),
    stop,
  };
}

function startChild(rig: Rig, broker: Broker, script: Script, write: (record: UnsequencedRecord) => void): Actor {
  const ready = Promise.withResolvers<void>();
  const done = Promise.withResolvers<void>();
  const exited = Promise.withResolvers<"crashed" | "ended">();
  const order: ChildOrder = { module: rig.module?.href ?? "", connection: broker.connection, script };
  const child = spawn(
    process.execPath,
    [...process.execArgv.filter(isForChildren), fileURLToPath(new URL("./child.ts", import.meta.url)), JSON.stringify(order)],
    {
      stdio: ["pipe", "ignore", "pipe", "pipe"],
      env: { ...process.env, NODE_TEST_CONTEXT: undefined },
    },
  );
  let complaint = "";
  child.stderr?.setEncoding("utf8").on("data", (text: string) => (complaint = (complaint + text).slice(-4_000)));
  child.stdin?.on("error", () => undefined);
  const lines = createInterface({ input: child.stdio[3] as NodeJS.ReadableStream });
  lines.on("line", (text) => {
    const line = parse(text);
    if (line === undefined) return;
    if ("record" in line) write(line.record);
    else (line.told === "ready" ? ready : done).resolve();
  });
  let status: { readonly code: number | null; readonly signal: string | null } | undefined;
  let drained = false;
  const ended = (): void => {
    if (status === undefined || !drained) return;
    if (status.signal === "SIGKILL") {
      // After the last of its own records: the pipe is drained before this.
      write(crashRecord(script));
      exited.resolve("crashed");
    } else if (status.code === 0) exited.resolve("ended");
    else exited.reject(new Error(`${script.proc} ended with ${status.code ?? status.signal}: ${complaint}`));
  };
  lines.on("close", () => {
    drained = true;
    ended();
  });
  child.on("exit", (code, signal) => {
    status = { code, signal };
    ended();
  });
  exited.promise.catch((error: unknown) => ready.reject(error));
  ready.promise.catch(() => undefined);
  rig.defer(async () => {
    if (status === undefined) child.kill("SIGKILL");
    await exited.promise.catch(() => undefined);
  });
  return {
    script,
    ready: ready.promise,
    done: done.promise,
    exited: exited.promise,
    go: () => void child.stdin?.write("go\n"),
    kill: () => void child.kill("SIGKILL"),
    terminate: () => void child.kill("SIGTERM"),
    async stop() {
      child.stdin?.end();
      await exited.promise;
    },
  };
}

/** The last line of a killed process may be cut short. */
function parse(text: string): ChildLine | undefined {
  try {
    return JSON.parse(text) as ChildLine;
  } catch {
    return undefined;
  }
}

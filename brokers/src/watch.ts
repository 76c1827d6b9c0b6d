// This side of the watcher: what a broker asks of it.
import { spawn, type ChildProcess } from "node:child_process";
import { randomBytes } from "node:crypto";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { Root } from "./process-tree.ts";

export interface Request {
  readonly root?: Root;
  /** Sent to the roots first at the end, for a server that leaves something in the system when it is killed. */
  readonly endSignal?: NodeJS.Signals;
  /** How many to reserve. */
  readonly ports?: number;
  /** Of the reserved: no longer held, for a server that wants the port of every address. */
  readonly release?: readonly number[];
}

export interface Reply {
  readonly folder?: string;
  readonly ports?: readonly number[];
}

export interface Watch {
  /** Unique to this broker; the mark of a node is `<id>/<node>`. */
  readonly id: string;
  /** Its data folder; removed at the end. */
  readonly folder: string;
  reservePorts(count: number): Promise<readonly number[]>;
  tell(request: Request): void;
  /** Kills every process of the broker and removes its folder; throws when something is left. Twice is harmless. */
  end(): Promise<void>;
}

const replyWithinMs = 20_000;
const endWithinMs = 45_000;

/** Starts the watcher of one broker. It keeps nobody's event loop alive. */
export async function watch(name: string): Promise<Watch> {
  const id = randomBytes(8).toString("hex");
  const script = fileURLToPath(new URL("watcher.ts", import.meta.url));
  const child = spawn(process.execPath, ["--disable-warning=ExperimentalWarning", script, id, name], {
    detached: true,
    stdio: ["pipe", "pipe", "pipe"],
    env: { ...process.env, NODE_OPTIONS: "", NODE_V8_COVERAGE: "", NODE_TEST_CONTEXT: "" },
  });
  let errors = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => (errors = (errors + text).slice(-4_000)));
  child.stdin.on("error", () => {});
  const ended = new Promise<number | undefined>((resolve) => {
    child.once("error", () => resolve(undefined));
    child.once("exit", (code) => resolve(code ?? undefined));
  });
  const waiting: ((reply: Reply) => void)[] = [];
  createInterface({ input: child.stdout }).on("line", (line) => waiting.shift()?.(JSON.parse(line) as Reply));
  const next = (): Promise<Reply> =>
    within(
      replyWithinMs,
      `the watcher of ${name}`,
      new Promise<Reply>((resolve, reject) => {
        waiting.push(resolve);
        void ended.then(() => reject(new Error(`the watcher of ${name} ended: ${errors}`)));
      }),
    );
  unref(child);
  const { folder } = await next();
  if (folder === undefined) throw new Error(`the watcher of ${name} named no folder`);
  const tell = (request: Request): void => {
    if (child.stdin.writable) child.stdin.write(`${JSON.stringify(request)}\n`);
  };
  return {
    id,
    folder,
    tell,
    async reservePorts(count) {
      const answered = next();
      tell({ ports: count });
      return (await answered).ports ?? [];
    },
    async end() {
      child.stdin.end();
      const code = await within(endWithinMs, `the end of ${name}`, ended);
      if (code !== 0) throw new Error(`not everything of ${name} was removed: ${errors}`);
    },
  };
}

/** `promise`, or an error that names `what` after `limitMs`. */
export async function within<T>(limitMs: number, what: string, promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: nothing within ${limitMs} ms`)), limitMs);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

function unref(child: ChildProcess): void {
  child.unref();
  for (const stream of [child.stdin, child.stdout, child.stderr]) {
    (stream as unknown as { unref?: () => void } | null)?.unref?.();
  }
}

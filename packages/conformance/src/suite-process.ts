import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { CaseResult } from "./case.ts";
import { textOf } from "./table.ts";
import type { Broker } from "./target.ts";
import { within } from "./wait.ts";

/** What goes to the process, and comes back; errors as text. */
export interface SuiteOrder {
  readonly module: string;
  readonly seed: number;
  readonly full: boolean;
  readonly waitMs?: number;
}
export interface RunOrder {
  readonly run: string;
}
export type SuiteAnswer =
  | { readonly told: "ready"; readonly server: Pick<Broker, "version" | "borrowed"> }
  | { readonly failed: string }
  | { readonly result: CaseResult };

export interface SuiteProcess {
  /** What its cases run on. */
  readonly server: Pick<Broker, "version" | "borrowed">;
  /** Runs the case of this name; rejects when the process has ended. */
  run(name: string): Promise<CaseResult>;
  close(): Promise<void>;
}

const startMs = 120_000;
const closeMs = 30_000;

/**
 * A process that runs cases. Under `node:test` itself every promise costs some thirty times more (its hooks follow each of
 * them), and collections of garbage last long enough to be what a case about time or memory measures.
 */
export async function startSuiteProcess(order: SuiteOrder): Promise<SuiteProcess> {
  const child = fork(fileURLToPath(new URL("./suite-child.ts", import.meta.url)), [JSON.stringify(order)], {
    execArgv: process.execArgv.filter(isForChildren),
    env: { ...process.env, NODE_TEST_CONTEXT: undefined },
  });
  const ready = Promise.withResolvers<Pick<Broker, "version" | "borrowed">>();
  const gone = Promise.withResolvers<void>();
  const waiting = new Map<string, PromiseWithResolvers<CaseResult>>();
  let end: Error | undefined;
  const ended = (why: string): void => {
    end ??= new Error(`the process of the suite ${why}`);
    for (const one of [ready, ...waiting.values()]) one.reject(end);
    waiting.clear();
    gone.resolve();
  };
  child.once("error", (error) => ended(`cannot be started: ${textOf(error)}`));
  child.once("exit", (code, signal) => ended(`ended with ${signal ?? `exit code ${code}`}`));
  child.on("message", (answer: SuiteAnswer) => {
    if ("told" in answer) ready.resolve(answer.server);
    else if ("failed" in answer) ready.reject(new Error(`the target cannot be started: ${answer.failed}`));
    else {
      waiting.get(answer.result.name)?.resolve(answer.result);
      waiting.delete(answer.result.name);
    }
  });
  ready.promise.catch(() => undefined);
  const close = async (): Promise<void> => {
    if (child.connected) child.disconnect();
    await within("the end of the suite's process", closeMs, gone.promise).finally(() => child.kill("SIGKILL"));
  };
  let server: Pick<Broker, "version" | "borrowed">;
  try {
    server = await within("the start of the target", startMs, ready.promise);
  } catch (error) {
    await close().catch(() => undefined);
    throw error;
  }
  return {
    server,
    async run(name) {
      if (end !== undefined) throw end;
      const result = Promise.withResolvers<CaseResult>();
      waiting.set(name, result);
      child.send({ run: name } satisfies RunOrder);
      return result.promise;
    },
    close,
  };
}

/** Of the flags of this process: what says how modules are found, not what says how tests are run. */
export function isForChildren(argument: string): boolean {
  return argument.startsWith("--conditions") || argument.startsWith("--disable-warning");
}

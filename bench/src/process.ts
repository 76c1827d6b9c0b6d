import { fork } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Bench, Readings } from "./bench.ts";

/** Of one process of a bench: one that hangs must not hold up the others for ever. */
const limitMs = 120_000;

export interface Ask {
  readonly name: string;
  readonly rounds: number;
  readonly scale: number;
  readonly directory: string;
}
export type Answer = { readonly readings: Readings } | { readonly error: string };

/** Runs the bench in a new process and gives what it read. */
export async function measureApart(bench: Bench, rounds: number, scale: number): Promise<Readings> {
  const directory = await mkdtemp(join(tmpdir(), "waybill-bench-"));
  try {
    return await ask({ name: bench.name, rounds, scale, directory });
  } finally {
    await rm(directory, { recursive: true, force: true, maxRetries: 5 });
  }
}

function ask(question: Ask): Promise<Readings> {
  const execArgv = process.execArgv.includes("--expose-gc") ? process.execArgv : [...process.execArgv, "--expose-gc"];
  const child = fork(fileURLToPath(new URL("child.ts", import.meta.url)), [], { execArgv, serialization: "advanced" });
  return new Promise<Readings>((resolve, reject) => {
    const timer = setTimeout(() => {
      child.kill("SIGKILL");
      reject(new Error(`no result within ${limitMs / 1000} s`));
    }, limitMs);
    child.once("message", (answer: Answer) => {
      if ("readings" in answer) resolve(answer.readings);
      else reject(new Error(answer.error));
    });
    child.once("error", reject);
    child.once("exit", (code, signal) => {
      clearTimeout(timer);
      reject(new Error(`its process ended with ${signal ?? `code ${code}`}`));
    });
    child.send(question);
  });
}

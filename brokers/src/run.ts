// Commands of the installation, with a bound.
import { spawn } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";

export interface RunOptions {
  readonly timeoutMs: number;
  readonly cwd?: string;
  readonly env?: NodeJS.ProcessEnv;
  readonly user?: { readonly uid: number; readonly gid: number };
}

/** Runs a command to its end and gives what it wrote to its standard output; an error holds its last lines. */
export function run(command: string, args: readonly string[], options: RunOptions): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      stdio: ["ignore", "pipe", "pipe"],
      env: options.env ?? process.env,
      timeout: options.timeoutMs,
      killSignal: "SIGKILL",
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
      ...options.user,
    });
    let output = "";
    let all = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      output += text;
      all = (all + text).slice(-20_000);
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => (all = (all + text).slice(-20_000)));
    child.once("error", (cause) => reject(new Error(`${command} cannot be run`, { cause })));
    child.once("close", (code, signal) => {
      if (code === 0) resolve(output);
      else reject(new Error(`${command} ${args[0] ?? ""}: ${code ?? signal ?? ""}\n${lastLines(all)}`));
    });
  });
}

/** The last lines of a log, without credentials in URLs. */
export function lastLines(text: string, count = 20): string {
  const lines = text.trimEnd().split("\n").slice(-count);
  return lines.map((line) => line.slice(0, 500).replaceAll(/:\/\/[^\s/@]*@/g, "://…@")).join("\n");
}

/** The full path of a program on the PATH, or in one of `more`. */
export function findProgram(name: string, more: readonly string[] = []): string | undefined {
  for (const folder of [...(process.env["PATH"] ?? "").split(delimiter), ...more]) {
    if (folder === "" || folder.includes("node_modules")) continue;
    const path = join(folder, name);
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      continue;
    }
  }
  return undefined;
}

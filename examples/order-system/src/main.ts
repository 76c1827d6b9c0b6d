// npm start: the order system from its first order to its audit.
import { accessSync, constants, mkdirSync, mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArguments, usage, type Arguments } from "./args.ts";
import { createReport } from "./report.ts";
import { run, type RunResult } from "./run.ts";
import { serverNames, startServer } from "./servers.ts";
import { jsonLine, summary } from "./summary.ts";

const defaultRate = 20;
const defaultOrders = 500;

async function main(argv: readonly string[]): Promise<number> {
  const parsed = parseArguments(argv);
  if (parsed.kind === "help") {
    console.log(usage);
    return 0;
  }
  const problem = parsed.kind === "wrong" ? parsed.problem : inputProblem(parsed.arguments.input);
  if (parsed.kind === "wrong" || problem !== undefined) {
    console.error(`${problem}\nnpm start -- --help tells what there is`);
    return 2;
  }
  const args = parsed.arguments;
  const directory = openDirectory(args);
  const server = await startServer(args.transport, directory);
  if (server === undefined) {
    console.error(`--transport: expected a URL or one of ${serverNames.join(", ")}`);
    return 2;
  }
  if (args.data !== undefined && server.messages === "run") {
    await server.stop();
    console.error(`--data: the messages of ${args.transport} go with its server; start one that stays and give its URL`);
    return 2;
  }
  const report = createReport({ out: process.stdout, err: process.stderr, env: process.env });
  let result: RunResult;
  try {
    result = await run({
      arguments: args,
      server,
      directory,
      orders: ordersOf(args, report.live),
      ratePerSecond: args.rate ?? (args.orders === undefined && !args.chaos ? defaultRate : undefined),
      report,
      signal: stopSignal(),
    });
  } finally {
    await server.stop();
  }
  for (const line of summary(result, args)) console.log(line);
  if (args.keep || args.data !== undefined) console.log(`The files are in ${directory}`);
  console.log(jsonLine(result));
  return result.audit.ok && result.failure === undefined ? 0 : 1;
}

/** How many are generated; undefined: until a signal. */
function ordersOf(args: Arguments, live: boolean): number | undefined {
  if (args.orders !== undefined || args.input !== undefined) return args.orders;
  return args.chaos || (!live && args.rate !== 0) ? defaultOrders : undefined;
}

function openDirectory(args: Arguments): string {
  if (args.data !== undefined) {
    const directory = resolve(args.data);
    try {
      mkdirSync(directory, { recursive: true });
    } catch (error) {
      throw new Error(`--data: ${directory} cannot be made`, { cause: error });
    }
    return directory;
  }
  const directory = mkdtempSync(join(tmpdir(), "waybill-orders-"));
  // At any end of this process but a SIGKILL.
  if (!args.keep) process.once("exit", () => rmSync(directory, { recursive: true, force: true, maxRetries: 3 }));
  return directory;
}

/** npm hands on the signal that the terminal has given to both: within this time two are one. */
const sameSignalMs = 700;

/** Fires at the first signal; the second ends the process, and with it the services. */
function stopSignal(): AbortSignal {
  const stop = new AbortController();
  let firstAt = 0;
  const onSignal = (): void => {
    if (stop.signal.aborted && performance.now() - firstAt > sameSignalMs) process.exit(130);
    if (stop.signal.aborted) return;
    firstAt = performance.now();
    stop.abort();
  };
  for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(name, onSignal);
  return stop.signal;
}

function inputProblem(input: string | undefined): string | undefined {
  if (input === undefined || input === "-") return undefined;
  try {
    accessSync(input, constants.R_OK);
    return statSync(input).isDirectory() ? `--input: ${input} is a directory` : undefined;
  } catch {
    return `--input: ${input} cannot be read`;
  }
}

process.exitCode = await main(process.argv.slice(2)).catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error);
  return 1;
});
// An input that goes on would keep the process.
process.stdin.destroy();

import { createReadStream } from "node:fs";
import { join, resolve } from "node:path";
import { createBus, type Bus } from "@waybill/core";
import { openTransport } from "@waybill/transports";
import type { Arguments } from "./args.ts";
import { audit, type AuditReport } from "./audit.ts";
import { createChaos, pace, type Chaos } from "./chaos.ts";
import { serviceNames } from "./contracts.ts";
import { hasStore, openDatabase, prepareDatabase, type Database, type Prepared } from "./database.ts";
import { untilFinished, type Ending } from "./finish.ts";
import { fired, generate, sleepUntil } from "./generator.ts";
import { readOrders } from "./input.ts";
import { createIntake, type Incoming, type Intake } from "./intake.ts";
import { readProgress } from "./progress.ts";
import type { Report } from "./report.ts";
import { watchScene } from "./scene.ts";
import { expectedCause, randomOf } from "./seed.ts";
import type { Server } from "./servers.ts";
import { abortable, countAhead, fromInput, generated } from "./source.ts";
import { createSupervisor, type Supervisor } from "./supervisor.ts";
import { watchTransport, type Watch } from "./watch.ts";

export interface RunOptions {
  readonly arguments: Arguments;
  readonly server: Server;
  /** Files of the run go there. */
  readonly directory: string;
  /** How many orders are generated; undefined: until the signal. */
  readonly orders: number | undefined;
  readonly ratePerSecond: number | undefined;
  readonly report: Report;
  /** Ends the intake; what is under way is finished, then audited. */
  readonly signal: AbortSignal;
}

export interface RunResult {
  readonly audit: AuditReport;
  readonly rejected: number;
  readonly kills: number;
  /** How often chaos killed the server of the messages; undefined: it could not. */
  readonly restarts: number | undefined;
  readonly ending: Ending;
  /** From the first order that could come to the last that ended. */
  readonly elapsedMs: number;
  /** Why it ended before its time. */
  readonly failure: Error | undefined;
}

/** Orders that are under way at once, at most: the customers wait rather than the queues grow. */
const maxUnfinished = 1000;
const wakeMs = 50;
const startMs = 30_000;
const drainMs = 15_000;
const stallMs = 90_000;
const readAhead = 2000;

/** The whole run: services up, orders in, everything finished, services down, audit. Rejects when it cannot start. */
export async function run(options: RunOptions): Promise<RunResult> {
  const args = options.arguments;
  const transport = await openTransport(options.server.url);
  const store = args.store === undefined ? (hasStore(transport) ? undefined : join(options.directory, "services.db")) : resolve(args.store);
  const database = openDatabase(store, transport);
  const bus = createBus({ name: "observer", transport });
  try {
    await bus.start({ signal: AbortSignal.timeout(startMs) });
    const prepared = await prepareDatabase(database, args.seed);
    const known = prepared.orders.generator + prepared.orders.input + prepared.orders.http;
    if (known > 0 && areGone(options)) {
      throw new Error(
        `--store: it holds ${known} orders of an earlier run, whose messages are gone; give another file, or keep both (--data, and the URL of a server that stays)`,
      );
    }
    return await withServices(options, bus, { database, store }, prepared);
  } finally {
    await bus.close({ drain: 2000 });
    await database.close();
  }
}

/** The messages of an earlier run. */
function areGone({ server, arguments: args }: RunOptions): boolean {
  return server.messages === "run" || (server.messages === "directory" && args.data === undefined);
}

interface Data {
  readonly database: Database;
  /** For the services; undefined: the transport's own. */
  readonly store: string | undefined;
}

async function withServices(options: RunOptions, bus: Bus, { database, store }: Data, prepared: Prepared): Promise<RunResult> {
  const { arguments: args, report, signal } = options;
  const { seed } = prepared;
  const progress = readProgress(database.reader);
  const watch = watchTransport(bus);
  const receipts = { generator: prepared.orders.generator, input: prepared.orders.input };
  const broken = new AbortController();
  let failure: Error | undefined;
  let port = args.port;
  let kills = 0;
  let restarts = 0;
  let rejected = 0;
  let total = options.orders;
  let status = "starting";

  const unfinished = (): number => {
    if (args.sabotage === undefined) return progress.done("shop") - progress.done("shipping") - watch.deadLettered;
    // Where effects and messages may be there twice, neither shipments nor dead letters are orders.
    return progress.openOrders().filter((id) => expectedCause(seed, id) === undefined).length;
  };
  const reject = (line: number | undefined, reason: string): void => {
    rejected += 1;
    report.rejected(line, reason);
  };

  const supervisor: Supervisor = createSupervisor({
    settings: (service) => ({
      service,
      seed,
      transport: options.server.url,
      store,
      port,
      sabotage: args.sabotage,
    }),
    onMessage(service, message) {
      if (message.kind === "answers") intake.answered(message.answers);
      else if (message.kind === "at") chaos.reached(service);
      else if (message.kind === "ready" && service === "shop") {
        port = message.port ?? port;
        intake.shopReady();
      }
    },
    onLine: (service, line) => report.note(`${service}: ${line}`, true),
    onDeath(service, killed) {
      if (!killed) report.note(`${service} ended by itself and is started again`, true);
    },
    onFailure(error) {
      failure = error;
      broken.abort();
    },
  });

  const intake: Intake = createIntake({
    room() {
      const underWay = unfinished();
      if (!args.chaos) return maxUnfinished - underWay;
      const paced = pace(total, kills, args.kills) - intake.taken;
      // A service is armed and nothing is under way: one more, or chaos and customers would wait for each other.
      return Math.min(underWay <= 0 && chaos.waiting ? Math.max(1, paced) : paced, maxUnfinished - underWay);
    },
    send: (orders) => supervisor.tell("shop", { kind: "orders", orders }),
    onTaken({ source }) {
      if (source !== "http") receipts[source] += 1;
    },
    onUsed: ({ line }) => reject(line, "another order has this id"),
    onFailed: (reason) => report.note(`shop: ${reason}; handed in again`, false),
  });

  const { restart } = options.server;
  const restartServer =
    restart === undefined
      ? undefined
      : async (): Promise<void> => {
          restarts += 1;
          report.note(`restart ${restarts} of ${args.transport}`, true);
          await restart();
        };
  const chaos: Chaos = createChaos({
    random: randomOf(seed),
    sabotage: args.sabotage,
    async unfinished() {
      await watch.refresh();
      return unfinished() + intake.waiting;
    },
    progressOf: (service) => progress.done(service),
    whenReady: (service, withinMs) => supervisor.whenReady(service, withinMs),
    arm: (service, moment) => supervisor.tell(service, { kind: "arm", moment }),
    kill: (service) => supervisor.kill(service),
    restartServer,
    enough: () => kills >= args.kills,
    onKill(service, moment) {
      kills += 1;
      report.note(`kill ${kills}: ${service}, ${moment}`, false);
    },
  });

  const state = (): string => `${serviceNames.map((name) => progress.done(name)).join()} ${watch.deadLettered} ${kills}`;
  const wakeTimer = setInterval(() => intake.wake(), wakeMs);
  const stallTimer = watchStall(
    state,
    () => intake.waiting > 0,
    () => {
      failure = new Error(`nothing has moved for ${stallMs / 1000} s, and orders wait for the shop`);
      broken.abort();
    },
  );
  let stopShowing: (() => Promise<void>) | undefined;
  try {
    await supervisor.start();
    const title = `http://127.0.0.1:${port}/orders  seed ${seed}  ${bus.transport.name}`;
    report.title(title);
    status = args.chaos ? "chaos; Ctrl-C ends the intake" : "Ctrl-C drains and audits";
    stopShowing = report.show(
      watchScene({
        title,
        progress,
        watch,
        ready: (service) => supervisor.ready(service),
        rejected: () => rejected,
        kills: () => (args.chaos ? kills : undefined),
        status: () => (signal.aborted ? "draining; Ctrl-C again ends at once" : status),
        notes: () => report.notes,
      }),
    );
    const startedAt = performance.now();
    const intakeEnd = AbortSignal.any([signal, broken.signal]);
    let source = sourceOf(options, prepared, intakeEnd, reject);
    if (args.chaos && total === undefined) ({ total, source } = await countAhead(source, readAhead));
    const chaosEnd = new AbortController();
    const chaosDone = args.chaos ? chaos.run(AbortSignal.any([broken.signal, chaosEnd.signal])) : Promise.resolve();
    await Promise.race([intake.run(source, intakeEnd), fired(broken.signal)]);
    while (args.chaos && kills < args.kills && unfinished() > 0 && !intakeEnd.aborted) await sleepUntil(performance.now() + 20, intakeEnd);
    chaosEnd.abort();
    await chaosDone;

    status = "finishing what is under way";
    const ending = await untilFinished({
      async estimate() {
        await watch.refresh();
        return unfinished();
      },
      async open() {
        await watch.refresh();
        return args.sabotage === undefined ? progress.openOrders().length - (await watch.deadNow()) : unfinished();
      },
      empty: () => isEmpty(database, watch),
      progress: state,
      signal: broken.signal,
    });
    const elapsedMs = performance.now() - startedAt;
    await supervisor.stop(drainMs);
    await stopShowing();
    stopShowing = undefined;
    const facts = {
      seed,
      receipts,
      deadOrders: await watch.deadOrders(),
      queues: await watch.queues(),
      outboxRows: await database.outboxRows(),
    };
    return {
      audit: audit(database.reader, facts),
      rejected,
      kills,
      restarts: restart === undefined ? undefined : restarts,
      ending,
      elapsedMs,
      failure,
    };
  } finally {
    clearInterval(wakeTimer);
    clearInterval(stallTimer);
    await supervisor.stop(drainMs);
    await stopShowing?.();
  }
}

/** As far as anybody can tell; false when nobody can just now. */
async function isEmpty(database: Database, watch: Watch): Promise<boolean> {
  try {
    const queues = await watch.queues();
    return (await database.outboxRows()) === 0 && queues.every(({ depth }) => typeof depth !== "number" || depth === 0);
  } catch {
    return false;
  }
}

function sourceOf(
  options: RunOptions,
  prepared: Prepared,
  signal: AbortSignal,
  onRejected: (line: number, reason: string) => void,
): AsyncIterable<Incoming> {
  const { input } = options.arguments;
  if (input !== undefined) {
    const bytes: AsyncIterable<Uint8Array> = input === "-" ? process.stdin : createReadStream(input);
    return fromInput(readOrders(abortable(bytes, signal)), prepared.run, onRejected);
  }
  const { orders: count, ratePerSecond } = options;
  return generated(generate({ seed: prepared.seed, from: prepared.orders.generator, count, ratePerSecond, signal }));
}

/** Calls back once when the state has stayed the same for `stallMs` while somebody waits. */
function watchStall(state: () => string, waiting: () => boolean, onStall: () => void): NodeJS.Timeout {
  let last = "";
  let changedAt = performance.now();
  let told = false;
  return setInterval(() => {
    const now = state();
    if (now !== last || !waiting()) {
      last = now;
      changedAt = performance.now();
    } else if (!told && performance.now() - changedAt > stallMs) {
      told = true;
      onStall();
    }
  }, 1000);
}

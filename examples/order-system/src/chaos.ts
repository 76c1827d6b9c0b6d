import type { Sabotage } from "./args.ts";
import type { ServiceName } from "./contracts.ts";
import { serviceNames } from "./contracts.ts";
import { sleepUntil } from "./generator.ts";
import type { Moment } from "./ipc.ts";

export interface ChaosOptions {
  /** In [0, 1). */
  readonly random: () => number;
  readonly sabotage: Sabotage | undefined;
  /** Orders that are handed in and neither shipped nor dead-lettered, read now. */
  unfinished(): Promise<number>;
  /** How far a service has come: any number that grows with its work. */
  progressOf(service: ServiceName): number;
  whenReady(service: ServiceName, withinMs: number): Promise<boolean>;
  /** False: the service is not running. */
  arm(service: ServiceName, moment: Moment): boolean;
  kill(service: ServiceName): boolean;
  /** Kills the server of the messages, after every few kills, and starts it again. Undefined: there is none to kill. */
  readonly restartServer: (() => Promise<void>) | undefined;
  onKill(service: ServiceName, moment: Moment | "any"): void;
  /** There were as many kills as were asked for. */
  enough(): boolean;
}

export interface Chaos {
  /** A service is armed, and no order has come to it yet. */
  readonly waiting: boolean;
  /** A service has reached the moment it was armed for. */
  reached(service: ServiceName): void;
  /** Kills until the signal fires. */
  run(signal: AbortSignal): Promise<void>;
}

const armedMs = 700;
/** Where a sabotage shows it is worth waiting for. */
const tellingMs = 5000;
const readyMs = 20_000;
const sparedMs = 3000;
/** Between two kills: time for the killed one to do something before its next death; more of it when there were enough. */
const pauseMs = { least: 50, most: 500 };
const killsPerRestart = 7;
const longPauseMs = { least: 1000, most: 3000 };

/** Where each service stops for a kill: the places between two steps that must not come apart. */
const momentsOf: Readonly<Record<ServiceName, readonly Moment[]>> = {
  shop: ["before", "during", "committed"],
  inventory: ["before", "during", "after"],
  payment: ["before", "during", "after"],
  shipping: ["before", "during", "after"],
};

/** Where each sabotage shows: every other kill goes there. */
const telling: Readonly<Record<Sabotage, { readonly services: readonly ServiceName[]; readonly moment: Moment }>> = {
  "ack-early": { services: ["inventory", "shipping"], moment: "before" },
  "skip-inbox": { services: ["inventory", "shipping"], moment: "committed" },
  "drop-outbox": { services: ["shop"], moment: "committed" },
};

interface Choice {
  readonly service: ServiceName;
  readonly moment: Moment;
  readonly waitMs: number;
}

/**
 * Kills services one after another, each at a chosen moment of its work and each while orders are unfinished. A service that
 * has done nothing since its last death is spared for a while, so that no message is blamed for what the chaos does.
 */
export function createChaos(options: ChaosOptions): Chaos {
  let arrived: (() => void) | undefined;
  let target: ServiceName | undefined;
  const lastKills = new Map<ServiceName, { readonly progress: number; readonly atMs: number }>();

  const pick = <T>(from: readonly T[]): T => from[Math.floor(options.random() * from.length)]!;

  function choose(round: number): Choice | undefined {
    const spared = (service: ServiceName): boolean => {
      const last = lastKills.get(service);
      return last !== undefined && options.progressOf(service) <= last.progress && performance.now() - last.atMs < sparedMs;
    };
    const focus = options.sabotage === undefined ? undefined : telling[options.sabotage];
    if (focus !== undefined && round % 2 === 0) {
      const services = focus.services.filter((service) => !spared(service));
      if (services.length > 0) return { service: pick(services), moment: focus.moment, waitMs: tellingMs };
    }
    const services = serviceNames.filter((service) => !spared(service));
    if (services.length === 0) return undefined;
    const service = pick(services);
    return { service, moment: pick(momentsOf[service]), waitMs: armedMs };
  }

  /** True when the service got there in time. */
  async function stopAt({ service, moment, waitMs }: Choice, signal: AbortSignal): Promise<boolean> {
    const there = new Promise<true>((resolve) => {
      arrived = () => resolve(true);
    });
    if (!options.arm(service, moment)) return false;
    target = service;
    const timer = new AbortController();
    const either = AbortSignal.any([signal, timer.signal]);
    const reached = await Promise.race([there, sleepUntil(performance.now() + waitMs, either).then(() => false)]);
    timer.abort();
    target = undefined;
    return reached;
  }

  return {
    get waiting() {
      return target !== undefined;
    },
    reached(service) {
      if (service !== target) return;
      target = undefined;
      arrived?.();
    },
    async run(signal) {
      for (let round = 0; !signal.aborted;) {
        const choice = choose(round);
        if (choice === undefined || !(await options.whenReady(choice.service, readyMs))) {
          await sleepUntil(performance.now() + 20, signal);
          continue;
        }
        const { service, moment } = choice;
        const reached = await stopAt(choice, signal);
        // Not reached, and yet orders are under way elsewhere: any moment is a good one. Nothing under way: no kill.
        if (signal.aborted || (await options.unfinished()) <= 0) continue;
        const progress = options.progressOf(service);
        if (!options.kill(service)) continue;
        lastKills.set(service, { progress, atMs: performance.now() });
        round += 1;
        options.onKill(service, reached ? moment : "any");
        if (round % killsPerRestart === 0) await options.restartServer?.();
        const { least, most } = options.enough() ? longPauseMs : pauseMs;
        await sleepUntil(performance.now() + least + options.random() * (most - least), signal);
      }
    },
  };
}

/**
 * How many orders may have been handed in after so many kills: the last share comes only when all but the last kill are done,
 * so that every kill finds orders unfinished.
 */
export function pace(total: number | undefined, kills: number, atLeast: number): number {
  if (kills >= atLeast) return Number.POSITIVE_INFINITY;
  if (total === undefined) return 10 * (kills + 1);
  return Math.ceil((total * (kills + 1)) / (atLeast + 1));
}

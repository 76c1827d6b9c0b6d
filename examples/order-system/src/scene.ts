import { serviceNames, stations, type ServiceName } from "./contracts.ts";
import type { Progress } from "./progress.ts";
import type { Scene } from "./view.ts";
import type { Watch } from "./watch.ts";

export interface SceneSources {
  readonly title: string;
  readonly progress: Progress;
  readonly watch: Watch;
  ready(service: ServiceName): boolean;
  rejected(): number;
  /** Undefined: there is no chaos. */
  kills(): number | undefined;
  status(): string;
  notes(): readonly string[];
}

/** Rates are those of about the last so many ms: less would flicker, more would lag. */
const rateOverMs = 2000;

/** Looks at everything at once. */
export function watchScene(sources: SceneSources): () => Promise<Scene> {
  const { progress, watch } = sources;
  const startedAt = performance.now();
  const looks = [{ atMs: startedAt, done: doneOf(progress) }];
  return async () => {
    await watch.refresh();
    const now = { atMs: performance.now(), done: doneOf(progress) };
    looks.push(now);
    while (looks.length > 2 && now.atMs - (looks[1]?.atMs ?? 0) >= rateOverMs) looks.shift();
    const before = looks[0] ?? now;
    const seconds = Math.max(0.001, (now.atMs - before.atMs) / 1000);
    const services = serviceNames.map((name) => {
      const station = stations.find(({ service }) => service === name);
      return {
        name,
        up: sources.ready(name),
        done: now.done[name],
        perSecond: (now.done[name] - before.done[name]) / seconds,
        depth: station === undefined ? undefined : watch.depthOf(station.group),
      };
    });
    return {
      title: sources.title,
      elapsedMs: now.atMs - startedAt,
      services,
      latency: progress.latency(),
      retried: progress.retried(),
      deadLettered: watch.deadLettered,
      rejected: sources.rejected(),
      kills: sources.kills(),
      status: sources.status(),
      notes: sources.notes(),
    };
  };
}

function doneOf(progress: Progress): Readonly<Record<ServiceName, number>> {
  return Object.fromEntries(serviceNames.map((name) => [name, progress.done(name)])) as Record<ServiceName, number>;
}

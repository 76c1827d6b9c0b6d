import { readFileSync } from "node:fs";
import { uptime } from "node:os";
import type { Connection } from "./connection.ts";

/** ms; the same for all threads and processes of a host since it started. */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

let cachedBoot: string | undefined;
/** Names one run of the operating system. */
export function bootId(): string {
  cachedBoot ??= readBoot();
  return cachedBoot;
}
function readBoot(): string {
  try {
    return readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  } catch {
    // Minutes are coarse enough for a wall clock that is set a little; a false new boot only makes leases fall due by heartbeat.
    return `at-${Math.round((Date.now() / 1000 - uptime()) / 60)}`;
  }
}

/**
 * Store time: ms on the host's monotonic clock plus an offset that is fixed in the file for this run of the operating system.
 * It starts at the wall clock, never goes back, and no later jump of the wall clock moves a lease, a delay or an expiry.
 */
export interface StoreClock {
  now(): number;
  /** Of a time on the monotonic clock. */
  from(monotonic: number): number;
}

/** In a write transaction. */
export function openClock(connection: Connection): StoreClock {
  const meta = new Map(connection.all("select name, value from waybill_meta where name like 'clock_%'").map((row) => [row[0], row[1]]));
  const boot = bootId();
  let offset = Number(meta.get("clock_offset"));
  if (meta.get("clock_boot") !== boot) {
    offset = Math.max(Date.now(), Number(meta.get("clock_last"))) - monotonicMs();
    connection.run("update waybill_meta set value = ? where name = 'clock_boot'", boot);
    connection.run("update waybill_meta set value = ? where name = 'clock_offset'", offset);
  }
  return { now: () => monotonicMs() + offset, from: (monotonic) => monotonic + offset };
}

/** In a write transaction, now and then: the time from which the next run of the operating system goes on. */
export function noteClock(connection: Connection, clock: StoreClock): void {
  connection.run("update waybill_meta set value = ? where name = 'clock_last'", clock.now());
}

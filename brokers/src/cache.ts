// What is downloaded: one cache directory per user, outside the repository; one installation at a time across processes.
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { setTimeout as delay } from "node:timers/promises";

/** `$WAYBILL_BROKERS_CACHE`, else `waybill-brokers` in `$XDG_CACHE_HOME` or `~/.cache`. */
export function cacheFolder(): string {
  const own = process.env["WAYBILL_BROKERS_CACHE"];
  const user = process.env["XDG_CACHE_HOME"];
  const folder = own || join(user || join(homedir(), ".cache"), "waybill-brokers");
  mkdirSync(folder, { recursive: true });
  return folder;
}

const lockWithinMs = 15 * 60_000;
let held: Promise<unknown> = Promise.resolve();

/**
 * Runs `work` while no other process of this user installs anything. The lock is an exclusive transaction on a file, so
 * that it goes with the process that holds it.
 */
export async function installLock<T>(work: () => Promise<T>): Promise<T> {
  const turn = held.then(
    () => holdLock(work),
    () => holdLock(work),
  );
  held = turn.catch(() => {});
  return turn;
}

async function holdLock<T>(work: () => Promise<T>): Promise<T> {
  const lock = new DatabaseSync(join(cacheFolder(), "install.lock"), { timeout: 0 });
  try {
    const end = performance.now() + lockWithinMs;
    for (;;) {
      try {
        lock.exec("begin exclusive");
        break;
      } catch (cause) {
        if (!/locked|busy/.test(String(cause))) throw cause;
        if (performance.now() > end) throw new Error(`another process has been installing for ${lockWithinMs / 60_000} minutes`, { cause });
        await delay(200);
      }
    }
    return await work();
  } finally {
    lock.close();
  }
}

/** The folder of `name` in the cache when it is there, whole. */
export function cached(name: string): string | undefined {
  const folder = join(cacheFolder(), name);
  return existsSync(folder) ? folder : undefined;
}

/** Fills a folder beside the cache's and renames it when it is whole. To be called under the lock. */
export async function fillCache(name: string, fill: (folder: string) => Promise<void>): Promise<string> {
  const root = cacheFolder();
  for (const left of readdirSync(root)) if (left.startsWith("partial-")) rmSync(join(root, left), { recursive: true, force: true });
  const partial = mkdtempSync(join(root, "partial-"));
  try {
    await fill(partial);
    const folder = join(root, name);
    rmSync(folder, { recursive: true, force: true });
    renameSync(partial, folder);
    return folder;
  } finally {
    rmSync(partial, { recursive: true, force: true });
  }
}

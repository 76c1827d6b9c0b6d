// A folder of temporary files for one test file: what a broker leaves behind is found in it, or by its name.
import assert from "node:assert/strict";
import { chmodSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

/** Makes it the one of this process and of all that it starts. To be called before anything is started. */
export function privateFolder(): { readonly path: string; remove(): void } {
  const path = mkdtempSync(join(tmpdir(), "waybill-test-"));
  chmodSync(path, 0o711); // PostgreSQL runs as another user
  process.env["TMPDIR"] = path;
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}

/** Other processes that have the folder in their environment or their command line. */
export function processesWith(folder: string): string[] {
  const found: string[] = [];
  for (const pid of existsSync("/proc/self/stat") ? readdirSync("/proc").filter((name) => /^\d+$/.test(name)) : []) {
    if (Number(pid) === process.pid) continue;
    try {
      const environment = readFileSync(`/proc/${pid}/environ`, "latin1");
      const command = readFileSync(`/proc/${pid}/cmdline`, "latin1");
      if (environment.includes(folder) || command.includes(folder)) found.push(`${pid} ${command.replaceAll("\0", " ").slice(0, 200)}`);
    } catch {
      continue; // it has ended, or is another user's
    }
  }
  return found;
}

/** Fails unless no process, no file and no port is left. */
export async function assertNothingLeft(folder: string, ports: readonly number[]): Promise<void> {
  assert.deepEqual(processesWith(folder), []);
  assert.deepEqual(readdirSync(folder), []);
  for (const port of ports) assert.equal(await isOpen(port), false, `port ${port} is open`);
}

export function isOpen(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: "127.0.0.1", port }, () => {
      socket.destroy();
      resolve(true);
    });
    socket.on("error", () => resolve(false));
  });
}

/** Waits until `holds`, or fails with `what` after `limitMs`. */
export async function until(what: string, limitMs: number, holds: () => boolean | Promise<boolean>): Promise<void> {
  const end = performance.now() + limitMs;
  while (!(await holds())) {
    assert.ok(performance.now() < end, `not within ${limitMs} ms: ${what}`);
    await delay(20);
  }
}

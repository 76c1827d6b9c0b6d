// Packages by apt, as root, without starting their services.
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { findProgram, run } from "./run.ts";

const policyFile = "/usr/sbin/policy-rc.d";
const policyText = "#!/bin/sh\n# Waybill's brokers: no service is started while this is here.\nexit 101\n";
const environment = { ...process.env, DEBIAN_FRONTEND: "noninteractive", LC_ALL: "C.UTF-8" };
const waitForLock = ["-o", "DPkg::Lock::Timeout=300"];
let listsRead: Promise<unknown> | undefined;

function needApt(): void {
  if (findProgram("apt-get") === undefined) throw new Error("this machine has no apt-get");
  if (process.getuid?.() !== 0) throw new Error("apt-get needs root");
}

/** Reads the package lists anew, once per process. A source that fails is no error: the package may be in another. */
function readLists(): Promise<unknown> {
  const update = ["-q", "-o", "Acquire::Retries=2", "update"];
  listsRead ??= run("apt-get", [...waitForLock, ...update], { timeoutMs: 300_000, env: environment }).catch(() => {});
  return listsRead;
}

/** Installs a package whose version (without its epoch) begins with `version`. Under the installation lock. */
export async function aptInstall(name: string, version = ""): Promise<void> {
  needApt();
  await readLists();
  const policy = await run("apt-cache", ["policy", name], { timeoutMs: 60_000, env: environment });
  const candidate = /Candidate: (?:\d+:)?(\S+)/.exec(policy)?.[1] ?? "(none)";
  if (candidate === "(none)" || !candidate.startsWith(version)) {
    throw new Error(`apt has ${name} ${candidate === "(none)" ? "not at all" : candidate}, not ${version || "any"}`);
  }
  const restore = forbidServices();
  try {
    await run("apt-get", [...waitForLock, "-q", "-y", "--no-install-recommends", "install", name], {
      timeoutMs: 600_000,
      env: environment,
    });
  } finally {
    restore();
  }
}

/** The way Debian has for it: a policy that answers 101. One that was there before is put back, ours is taken away. */
function forbidServices(): () => void {
  const before = existsSync(policyFile) ? readFileSync(policyFile) : undefined;
  const mine = before === undefined || before.toString() === policyText; // ours of a process that was killed
  writeFileSync(policyFile, policyText, { mode: 0o755 });
  return () => (mine ? rmSync(policyFile, { force: true }) : writeFileSync(policyFile, before, { mode: 0o755 }));
}

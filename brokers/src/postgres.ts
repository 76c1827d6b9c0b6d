// PostgreSQL 15. It refuses to run as root: then it runs as the user postgres of its package.
import { spawnSync } from "node:child_process";
import { chmodSync, chownSync, existsSync, mkdirSync, readFileSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, sep } from "node:path";
import { aptInstall } from "./apt.ts";
import { ask } from "./probe.ts";
import { findProgram } from "./run.ts";
import { runCommand } from "./server.ts";
import type { Installed, Plan, PlanOptions, Server } from "./server.ts";

const major = "15";
const superuser = "postgres";

export const postgres: Server = {
  name: "postgres",
  title: `PostgreSQL ${major}`,
  clusters: false,
  ways: [`the package postgresql-${major} (Debian 12), by apt as root`],
  find: async () => findOnMachine(),
  async install() {
    await aptInstall(`postgresql-${major}`);
    const found = findOnMachine();
    if (found === undefined) throw new Error("apt installed it, but its files are not where they were expected");
    return found;
  },
  container: { image: `postgres:${major}`, home: `/usr/lib/postgresql/${major}/bin` },
  plan,
  ask: (url) => askVersion(url.hostname, Number(url.port || 5432), decodeURIComponent(url.username) || superuser),
  defaultPort: 5432,
};

function findOnMachine(): Installed | undefined {
  const onPath = findProgram("initdb");
  const folders = [`/usr/lib/postgresql/${major}/bin`, ...(onPath === undefined ? [] : [join(onPath, "..")])];
  for (const home of folders) {
    if (!existsSync(join(home, "initdb")) || !existsSync(join(home, "postgres"))) continue;
    const version = spawnSync(join(home, "postgres"), ["--version"], { encoding: "utf8", timeout: 10_000 }).stdout?.match(
      /(\d+\.\d+)/,
    )?.[1];
    if (version?.startsWith(`${major}.`)) return { version, home };
  }
  return undefined;
}

function otherUser(): { uid: number; gid: number } | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const users = readFileSync("/etc/passwd", "utf8");
  const entry = /^postgres:[^:]*:(\d+):(\d+):/m.exec(users) ?? /^nobody:[^:]*:(\d+):(\d+):/m.exec(users);
  if (entry === null) throw new Error("PostgreSQL refuses to run as root, and there is neither a user postgres nor nobody");
  return { uid: Number(entry[1]), gid: Number(entry[2]) };
}

async function plan({ watch, installed, settings, advertise }: PlanOptions): Promise<Plan> {
  const [port = 0] = await watch.reservePorts(1);
  await advertise(0, port); // clients are never redirected: nothing to tell the server
  const own = { dynamic_shared_memory_type: "mmap", ...settings };
  const user = otherUser();
  const home = join(watch.folder, "node1");
  const data = join(home, "data");
  mkdirSync(home, { mode: 0o700 });
  if (user !== undefined) {
    openWay(watch.folder);
    chownSync(home, user.uid, user.gid);
  }
  const inHome = { env: { HOME: home, LC_ALL: "C.UTF-8" }, cwd: home, ...(user === undefined ? {} : { user }) };
  const initialize = ["-D", data, "-U", superuser, "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions"];
  await runCommand(installed, { program: join(installed.home, "initdb"), args: initialize, ...inHome }, 60_000);
  const args = { port: String(port), listen_addresses: "127.0.0.1", unix_socket_directories: "", ...own };
  return {
    settings: own,
    nodes: [
      {
        port,
        ports: {},
        command: {
          program: join(installed.home, "postgres"),
          args: ["-D", data, ...Object.entries(args).flatMap(([key, value]) => ["-c", `${key}=${value}`])],
          ...inHome,
        },
        probe: () => askVersion("127.0.0.1", port, superuser),
        cleanUp: () => removeSharedMemory(data),
      },
    ],
    url: `postgres://${superuser}@127.0.0.1:${port}/postgres`,
    stopSignal: "SIGINT",
    endSignal: "SIGQUIT",
  };
}

/**
 * The other user must get to its files, and the directory for temporary files may be closed to all but its owner. It and
 * what is below it are opened for passing through, not for listing; nothing above it is touched.
 */
function openWay(folder: string): void {
  const top = tmpdir();
  for (let at = folder; at === top || at.startsWith(top + sep); at = dirname(at)) {
    const { mode, uid } = statSync(at);
    if ((mode & 0o001) === 0 && uid === process.getuid?.()) chmodSync(at, (mode & 0o7777) | 0o011);
  }
}

/** The small System V segment of a killed server; its id is in the seventh line of postmaster.pid. */
function removeSharedMemory(data: string): void {
  const file = join(data, "postmaster.pid");
  const id = existsSync(file) ? readFileSync(file, "utf8").split("\n")[6]?.trim().split(/\s+/)[1] : undefined;
  if (id !== undefined) spawnSync("ipcrm", ["-m", id], { timeout: 5_000 });
}

/** A start-up message; the version is in a parameter that follows it when no password is asked for, else it is `unknown`. */
function askVersion(host: string, port: number, user: string): Promise<string> {
  const text = Buffer.from(`user\0${user}\0database\0postgres\0\0`);
  const first = Buffer.alloc(8 + text.length);
  first.writeUInt32BE(first.length, 0);
  first.writeUInt32BE(196_608, 4);
  text.copy(first, 8);
  return ask({
    host,
    port,
    first,
    answer(received) {
      for (let at = 0; at + 5 <= received.length;) {
        const end = at + 1 + received.readUInt32BE(at + 1);
        if (end > received.length) return undefined;
        const kind = received.toString("latin1", at, at + 1);
        if (kind === "E") throw new Error("it refuses connections so far");
        if (kind === "R" && received.readUInt32BE(at + 5) !== 0) return "unknown";
        const [name, value] = received.toString("utf8", at + 5, end).split("\0");
        if (kind === "S" && name === "server_version") return value?.split(" ")[0] ?? "unknown";
        at = end;
      }
      return undefined;
    },
  });
}

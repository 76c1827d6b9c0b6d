// Redis 7.0 and 8.0, Valkey 8.1.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { aptInstall } from "./apt.ts";
import { ask } from "./probe.ts";
import { findProgram } from "./run.ts";
import type { Installed, Plan, PlanOptions, Server } from "./server.ts";
import { findSuite, installSuite, loaded } from "./suite.ts";
import type { BrokerName } from "./types.ts";

export const redis: Server = {
  ...common("redis", "Redis 7.0", "redis-server", "redis:7.0"),
  ways: ["the package redis-server in version 7.0 (Debian 12), by apt as root"],
  find: async () => findOnMachine("redis-server", "7.0."),
  async install() {
    await aptInstall("redis-server", "7.0.");
    const found = findOnMachine("redis-server", "7.0.");
    if (found === undefined) throw new Error("apt installed redis-server, but it is not on the PATH");
    return found;
  },
};

export const redis8: Server = fromSuite("redis8", "Redis 8.0", "redis-server", "redis:8.0");
export const valkey: Server = fromSuite("valkey", "Valkey 8.1", "valkey-server", "valkey/valkey:8.1");

function fromSuite(name: BrokerName, title: string, program: string, image: string): Server {
  const wanted = `${image.slice(image.indexOf(":") + 1)}.`;
  return {
    ...common(name, title, program, image),
    ways: [`the package ${program} of Debian 13, unpacked into a folder`],
    async find() {
      const folder = findSuite(program);
      const version = folder === undefined ? undefined : versionOf(folder, program);
      if (folder !== undefined && version?.startsWith(wanted)) return unpacked(folder, program, version);
      return findOnMachine(program, wanted);
    },
    async install() {
      const folder = await installSuite(program);
      const version = versionOf(folder, program);
      if (version === undefined || !version.startsWith(wanted)) throw new Error(`the suite's ${program} is not ${wanted}x`);
      return unpacked(folder, program, version);
    },
  };
}

function unpacked(folder: string, program: string, version: string): Installed {
  return { version, home: join("usr", "bin", program), wrap: (command) => loaded(folder, command) };
}

function common(name: BrokerName, title: string, program: string, image: string): Omit<Server, "ways" | "find" | "install"> {
  return {
    name,
    title,
    clusters: false,
    container: { image, home: program },
    plan,
    ask: (url) => askVersion(url.hostname, Number(url.port || 6379), url),
    defaultPort: 6379,
  };
}

function findOnMachine(program: string, wanted: string): Installed | undefined {
  const path = findProgram(program);
  const version = path === undefined ? undefined : readVersion(path, []);
  return path !== undefined && version?.startsWith(wanted) ? { version, home: path } : undefined;
}

function versionOf(home: string, program: string): string | undefined {
  if (!existsSync(join(home, "usr", "bin", program))) return undefined;
  const command = loaded(home, { program: join("usr", "bin", program), args: ["--version"] });
  return readVersion(command.program, command.args);
}

function readVersion(program: string, args: readonly string[]): string | undefined {
  const options = { encoding: "utf8", timeout: 10_000, env: { ...process.env, LC_ALL: "C" } } as const;
  return spawnSync(program, args.length > 0 ? args : ["--version"], options).stdout?.match(/v=(\d+\.\d+\.\d+)/)?.[1];
}

async function plan({ watch, installed, settings, advertise }: PlanOptions): Promise<Plan> {
  const [port = 0] = await watch.reservePorts(1);
  const said = await advertise(0, port);
  const own = { appendonly: "yes", ...settings };
  const folder = join(watch.folder, "node1");
  mkdirSync(folder);
  const lines = {
    bind: "127.0.0.1",
    port: String(port),
    dir: folder,
    daemonize: "no",
    "set-proc-title": "no", // it would overwrite the mark by which its processes are found
    // What MOVED and ROLE answer, when the settings ask for a cluster or a replica.
    "replica-announce-ip": said.host,
    "replica-announce-port": String(said.port),
    "cluster-announce-ip": said.host,
    "cluster-announce-port": String(said.port),
    ...own,
  };
  writeFileSync(
    join(folder, "server.conf"),
    Object.entries(lines)
      .map(([key, value]) => `${key} ${value === "" ? '""' : value}\n`)
      .join(""),
  );
  const command = { program: installed.home, args: [join(folder, "server.conf")], env: { LC_ALL: "C" }, cwd: folder };
  return {
    settings: own,
    nodes: [{ port, ports: {}, command, probe: () => askVersion("127.0.0.1", port) }],
    url: `redis://127.0.0.1:${port}`,
    stopSignal: "SIGTERM",
  };
}

/** INFO, after AUTH when the address has credentials. An error while it loads its data is no answer yet. */
function askVersion(host: string, port: number, url?: URL): Promise<string> {
  const words = [decodeURIComponent(url?.username ?? ""), decodeURIComponent(url?.password ?? "")].filter((word) => word !== "");
  const command = (...parts: readonly string[]): string =>
    `*${parts.length}\r\n${parts.map((part) => `$${Buffer.byteLength(part)}\r\n${part}\r\n`).join("")}`;
  return ask({
    host,
    port,
    first: Buffer.from((words.length > 0 ? command("AUTH", ...words) : "") + command("PING") + command("INFO", "server")),
    answer(received) {
      const text = received.toString("utf8");
      if (/^-/m.test(text)) throw new Error("it answers with an error so far");
      if (!text.includes("\r\nuptime_in_seconds:")) return undefined;
      return (/valkey_version:(\S+)/.exec(text) ?? /redis_version:(\S+)/.exec(text))?.[1] ?? "unknown";
    },
  });
}

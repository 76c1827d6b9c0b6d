// NATS 2.15 with JetStream, built by `go install`.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { aptInstall } from "./apt.ts";
import { cached, fillCache } from "./cache.ts";
import { ask } from "./probe.ts";
import { findProgram, run } from "./run.ts";
import type { Installed, NodePlan, Plan, PlanOptions, Server } from "./server.ts";
import { forgetSuite, installSuite } from "./suite.ts";

const release = "2.15.2";
const folderName = `nats-${release}`;

export const nats: Server = {
  name: "nats",
  title: "NATS 2.15",
  clusters: true,
  ways: ["nats-server 2.15 on the PATH", "go 1.21 or newer on the PATH or by apt (Debian 13's), which builds it from the Go module proxy"],
  async find() {
    const folder = cached(folderName);
    for (const program of [findProgram("nats-server"), folder === undefined ? undefined : join(folder, "nats-server")]) {
      const version = program === undefined ? undefined : versionOf(program);
      if (program !== undefined && version?.startsWith("2.15.")) return { version, home: program };
    }
    return undefined;
  },
  install,
  container: { image: "nats:2.15-alpine", home: "nats-server" },
  plan,
  ask: (url) => askVersion(url.hostname, Number(url.port || 4222)),
  defaultPort: 4222,
};

function versionOf(program: string): string | undefined {
  if (!existsSync(program)) return undefined;
  return spawnSync(program, ["--version"], { encoding: "utf8", timeout: 10_000 }).stdout?.match(/v(\d+\.\d+\.\d+)/)?.[1];
}

function findGo(): string | undefined {
  const program = findProgram("go", ["/usr/local/go/bin"]);
  if (program === undefined) return undefined;
  const minor = /go1\.(\d+)/.exec(spawnSync(program, ["version"], { encoding: "utf8", timeout: 10_000 }).stdout ?? "")?.[1];
  return Number(minor ?? 0) >= 21 ? program : undefined; // from there on it fetches the newer one that a module asks for
}

/** That of the machine; else that of Debian 13, which needs no more than its own folder; else apt's. */
async function goCommand(): Promise<{ readonly program: string; readonly root?: string }> {
  const own = findGo();
  if (own !== undefined) return { program: own };
  try {
    const folder = join(await installSuite("golang-go"), "usr", "lib");
    const root = readdirSync(folder).find((name) => /^go-1\.\d+$/.test(name));
    if (root !== undefined) return { program: join(folder, root, "bin", "go"), root: join(folder, root) };
  } catch {
    await aptInstall("golang-go"); // no Debian: its own may do
  }
  const program = findGo();
  if (program === undefined) throw new Error("the go of this machine and of its apt is older than 1.21");
  return { program };
}

async function install(): Promise<Installed> {
  const { program, root } = await goCommand();
  const folder = await fillCache(folderName, async (partial) => {
    const go = {
      GOBIN: partial,
      GOPATH: join(partial, "go"),
      GOCACHE: join(partial, "build"),
      GOFLAGS: "-modcacherw",
      GOTOOLCHAIN: "auto",
      CGO_ENABLED: "0",
      ...(root === undefined ? {} : { GOROOT: root }),
    };
    await run(program, ["install", `github.com/nats-io/nats-server/v2@v${release}`], {
      timeoutMs: 600_000,
      cwd: partial,
      env: { ...process.env, ...go },
    });
    for (const part of ["go", "build"]) rmSync(join(partial, part), { recursive: true, force: true });
  });
  forgetSuite("golang-go");
  return { version: release, home: join(folder, "nats-server") };
}

async function plan({ watch, installed, nodes, settings, advertise }: PlanOptions): Promise<Plan> {
  const ports = await watch.reservePorts(nodes * 3);
  const routes = Array.from({ length: nodes }, (_, index) => `nats://127.0.0.1:${ports[index * 3 + 2] ?? 0}`);
  const plans: NodePlan[] = [];
  for (let index = 0; index < nodes; index += 1) {
    const [port = 0, monitorPort = 0, routePort = 0] = ports.slice(index * 3);
    const folder = join(watch.folder, `node${index + 1}`);
    mkdirSync(folder);
    const said = await advertise(index, port);
    const isOwn = said.host === "127.0.0.1" && said.port === port;
    const jetstream = Object.entries(settings).filter(([key]) => key.startsWith("jetstream."));
    const others = Object.entries(settings).filter(([key]) => !key.startsWith("jetstream."));
    const lines = [
      `server_name: waybill${index + 1}`,
      `listen: "127.0.0.1:${port}"`,
      `http: "127.0.0.1:${monitorPort}"`,
      ...(isOwn ? [] : [`client_advertise: "${said.host}:${said.port}"`]),
      "jetstream {",
      `  store_dir: ${JSON.stringify(join(folder, "data"))}`,
      ...jetstream.map(([key, value]) => `  ${key.slice("jetstream.".length)}: ${value}`),
      "}",
      ...(nodes > 1 ? [`cluster { name: waybill, listen: "127.0.0.1:${routePort}", routes: ${JSON.stringify(routes)} }`] : []),
      ...others.map(([key, value]) => `${key}: ${value}`),
    ];
    writeFileSync(join(folder, "server.conf"), `${lines.join("\n")}\n`);
    plans.push({
      port,
      ports: { monitor: monitorPort },
      command: { program: installed.home, args: ["-c", join(folder, "server.conf")], cwd: folder },
      async probe() {
        await monitored(monitorPort, "healthz");
        return askVersion("127.0.0.1", port);
      },
    });
  }
  return {
    settings: { jetstream: "enabled", ...settings },
    nodes: plans,
    url: `nats://127.0.0.1:${plans[0]?.port ?? 0}`,
    stopSignal: "SIGINT",
    ...(nodes > 1 ? { formed: () => formed(plans) } : {}),
  };
}

/** Every node knows all nodes and the leader of JetStream's own group. */
async function formed(plans: readonly NodePlan[]): Promise<void> {
  for (const plan of plans) {
    const { meta_cluster: meta } = (await monitored(plan.ports["monitor"] ?? 0, "jsz")) as {
      meta_cluster?: { leader?: string; cluster_size?: number };
    };
    if (!meta?.leader || meta.cluster_size !== plans.length)
      throw new Error(`${meta?.cluster_size ?? 0} of ${plans.length} nodes, leader ${meta?.leader ?? "none"}`);
  }
}

async function monitored(port: number, path: string): Promise<unknown> {
  const response = await fetch(`http://127.0.0.1:${port}/${path}`, {
    signal: AbortSignal.timeout(3_000),
    headers: { connection: "close" },
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`${path} answers ${response.status}`);
  return JSON.parse(text) as unknown;
}

function askVersion(host: string, port: number): Promise<string> {
  return ask({
    host,
    port,
    answer(received) {
      const text = received.toString("utf8");
      if (!text.includes("\r\n")) return undefined;
      const version = /^INFO .*"version":"([^"]+)"/.exec(text)?.[1];
      if (version === undefined) throw new Error("not a NATS server");
      return version;
    },
  });
}

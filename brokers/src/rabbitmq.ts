// RabbitMQ 3.10 and 4.0. Each broker has its own epmd on its own port, its own cookie and its own node names.
import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { aptInstall } from "./apt.ts";
import { chrooted, findSuite, installSuite } from "./suite.ts";
import { ask } from "./probe.ts";
import { findProgram } from "./run.ts";
import type { Installed, NodePlan, Plan, PlanOptions, Server } from "./server.ts";

const header = Buffer.from("AMQP\0\0\x09\x01", "latin1");
const user = "guest";
const formation = { "cluster_formation.peer_discovery_backend": "classic_config" };
const formation3 = {
  ...formation,
  "cluster_formation.discovery_retry_limit": "1",
  "cluster_formation.randomized_startup_delay_range.min": "0",
  "cluster_formation.randomized_startup_delay_range.max": "1",
};
const libraries = "usr/lib/rabbitmq/lib";

const homeOf = (version: string): string => join("/", libraries, `rabbitmq_server-${version}`);

/** The version of RabbitMQ below `root` that begins with `wanted`. */
function findServer(root: string, wanted: string): string | undefined {
  const folder = join(root, libraries);
  if (!existsSync(folder)) return undefined;
  const found = readdirSync(folder).find((name) => name.startsWith(`rabbitmq_server-${wanted}.`));
  return found?.slice("rabbitmq_server-".length);
}

function findOnMachine(wanted: string): Installed | undefined {
  if (findProgram("erl") === undefined || findProgram("epmd") === undefined) return undefined;
  const version = findServer("/", wanted);
  return version === undefined ? undefined : { version, home: homeOf(version) };
}

export const rabbitmq: Server = {
  name: "rabbitmq",
  title: "RabbitMQ 3.10",
  clusters: true,
  ways: ["the package rabbitmq-server in version 3.10 (Debian 12), by apt as root"],
  find: async () => findOnMachine("3.10"),
  async install() {
    await aptInstall("rabbitmq-server", "3.10.");
    const found = findOnMachine("3.10");
    if (found === undefined) throw new Error("apt installed rabbitmq-server, but its files are not where they were expected");
    return found;
  },
  container: { image: "rabbitmq:3.10", home: "/opt/rabbitmq" },
  plan,
  ask: (url) => askVersion(url.hostname, Number(url.port || 5672)),
  defaultPort: 5672,
};

export const rabbitmq4: Server = {
  name: "rabbitmq4",
  title: "RabbitMQ 4.0",
  clusters: true,
  ways: ["the package rabbitmq-server in version 4.0 of Debian 13, unpacked into a folder, as root (for chroot)"],
  async find() {
    const home = findSuite("rabbitmq-server");
    const version = home === undefined ? undefined : findServer(home, "4.0");
    return home === undefined || version === undefined ? findOnMachine("4.0") : fromSuite(home, version);
  },
  async install() {
    const home = await installSuite("rabbitmq-server", ["dash", "coreutils", "sed", "grep"]);
    const version = findServer(home, "4.0");
    if (version === undefined) throw new Error("the suite's rabbitmq-server is not 4.0");
    return fromSuite(home, version);
  },
  container: { image: "rabbitmq:4.0", home: "/opt/rabbitmq" },
  plan,
  ask: rabbitmq.ask,
  defaultPort: 5672,
};

function fromSuite(home: string, version: string): Installed {
  return { version, home: homeOf(version), wrap: (command) => chrooted(home, command) };
}

async function plan({ watch, installed, nodes, settings, advertise }: PlanOptions): Promise<Plan> {
  const ports = await watch.reservePorts(1 + nodes * 3);
  const [epmdPort = 0] = ports;
  const cookie = randomBytes(16).toString("hex");
  const names = Array.from({ length: nodes }, (_, index) => `waybill${index + 1}@localhost`);
  const own = { ...(nodes > 1 ? { cluster_partition_handling: "pause_minority" } : {}), ...settings };
  const environment = { ERL_EPMD_PORT: String(epmdPort), ERL_EPMD_ADDRESS: "127.0.0.1", LC_ALL: "C.UTF-8" };
  const isThree = installed.version.startsWith("3.");
  const plans: NodePlan[] = [];
  for (let index = 0; index < nodes; index += 1) {
    const [port = 0, managementPort = 0, distributionPort = 0] = ports.slice(1 + index * 3);
    const folder = join(watch.folder, `node${index + 1}`);
    mkdirSync(folder);
    watch.tell({ release: [distributionPort] }); // its check that this one is free asks for all addresses
    await advertise(index, port); // clients are never redirected: nothing to tell the server
    writeFileSync(join(folder, ".erlang.cookie"), cookie, { mode: 0o400 });
    writeFileSync(join(folder, "enabled_plugins"), "[rabbitmq_management].\n");
    const lines = {
      "listeners.tcp.1": `127.0.0.1:${port}`,
      "management.tcp.ip": "127.0.0.1",
      "management.tcp.port": String(managementPort),
      "log.console": "true",
      "log.file": "false",
      ...(nodes === 1 ? {} : isThree ? formation3 : formation),
      ...Object.fromEntries(nodes > 1 ? names.map((name, at) => [`cluster_formation.classic_config.nodes.${at + 1}`, name]) : []),
      ...own,
    };
    writeFileSync(
      join(folder, "rabbitmq.conf"),
      Object.entries(lines)
        .map(([key, value]) => `${key} = ${value}\n`)
        .join(""),
    );
    plans.push({
      port,
      ports: { management: managementPort },
      command: {
        program: join(installed.home, "sbin", "rabbitmq-server"),
        args: [],
        cwd: folder,
        env: {
          ...environment,
          HOME: folder,
          detached: "1", // makes the script become the server instead of its parent
          RABBITMQ_NODENAME: names[index] ?? "",
          RABBITMQ_DIST_PORT: String(distributionPort),
          RABBITMQ_BASE: folder,
          RABBITMQ_MNESIA_BASE: join(folder, "data"),
          RABBITMQ_LOG_BASE: join(folder, "log"),
          RABBITMQ_LOGS: "-",
          RABBITMQ_CONFIG_FILE: join(folder, "rabbitmq.conf"),
          RABBITMQ_CONF_ENV_FILE: join(folder, "no-env.conf"),
          RABBITMQ_ADVANCED_CONFIG_FILE: join(folder, "no-advanced.config"),
          RABBITMQ_ENABLED_PLUGINS_FILE: join(folder, "enabled_plugins"),
          RABBITMQ_GENERATED_CONFIG_DIR: join(folder, "generated"),
          RABBITMQ_PID_FILE: join(folder, "pid"),
          RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: "-kernel inet_dist_use_interface {127,0,0,1}",
        },
      },
      probe: () => askVersion("127.0.0.1", port),
    });
  }
  const first = plans[0];
  const epmd = (installed.wrap === undefined ? findProgram("epmd") : undefined) ?? "epmd";
  return {
    settings: own,
    nodes: plans,
    side: { program: epmd, args: ["-port", String(epmdPort), "-address", "127.0.0.1"], env: environment },
    url: `amqp://${user}:${user}@127.0.0.1:${first?.port ?? 0}`,
    stopSignal: "SIGTERM",
    firstAlone: isThree && nodes > 1, // three that begin together found three clusters
    ...(nodes > 1 ? { formed: () => formed(first?.ports["management"] ?? 0, nodes) } : {}),
  };
}

async function formed(managementPort: number, nodes: number): Promise<void> {
  const response = await fetch(`http://127.0.0.1:${managementPort}/api/nodes`, {
    headers: { authorization: `Basic ${Buffer.from(`${user}:${user}`).toString("base64")}` },
    signal: AbortSignal.timeout(3_000),
  });
  const list = (await response.json()) as { readonly running?: boolean }[];
  const running = Array.isArray(list) ? list.filter((node) => node.running === true).length : 0;
  if (running !== nodes) throw new Error(`${running} of ${nodes} nodes have joined`);
}

/** The server's first frame, Connection.Start, comes when its listeners are open, the last step of its boot. */
function askVersion(host: string, port: number): Promise<string> {
  return ask({
    host,
    port,
    first: header,
    answer(received) {
      if (received.length < 7 || received.length < 7 + received.readUInt32BE(3)) return undefined;
      const at = received.indexOf("\x07versionS", 0, "latin1");
      if (at < 0) throw new Error("not an AMQP 0-9-1 server");
      const from = at + 13;
      return received.toString("latin1", from, from + received.readUInt32BE(at + 9));
    },
  });
}

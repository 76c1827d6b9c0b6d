// Kafka 4.1 in KRaft mode: every node is broker and controller. Clients and brokers have listeners of their own, so that
// an advertised address (a proxy's) concerns clients alone.
import { spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { copyFileSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { aptInstall } from "./apt.ts";
import { cached, cacheFolder, fillCache, installLock } from "./cache.ts";
import { askVersion, liveBrokers } from "./kafka-probe.ts";
import { findProgram, run } from "./run.ts";
import { runCommand } from "./server.ts";
import type { Installed, NodePlan, Plan, PlanOptions, Server } from "./server.ts";

const release = "4.1.1";
const folderName = `kafka_2.13-${release}`;

export const kafka: Server = {
  name: "kafka",
  title: "Kafka 4.1",
  clusters: true,
  ways: [
    "KAFKA_HOME with its libs folder, and java 17 or newer",
    "org.apache.kafka:kafka_2.13 of Maven Central, with java and mvn (both by apt as root when missing)",
  ],
  async find() {
    if (java() === undefined) return undefined;
    for (const home of [process.env["KAFKA_HOME"], "/opt/kafka", cached(folderName)]) {
      const version = home === undefined ? undefined : versionIn(home);
      if (home !== undefined && version !== undefined) return { version, home };
    }
    return undefined;
  },
  async install() {
    if (java() === undefined) await aptInstall("default-jre-headless");
    if (java() === undefined) throw new Error("apt's java is older than 17");
    const given = [process.env["KAFKA_HOME"], "/opt/kafka", cached(folderName)].find((home) => home !== undefined && versionIn(home));
    const home = given ?? (await download());
    const version = versionIn(home);
    if (version === undefined) throw new Error("Maven copied something else than Kafka 4.1");
    await format({ version, home });
    return { version, home };
  },
  container: { image: `apache/kafka:${release}`, home: "/opt/kafka" },
  plan,
  ask: (url) => askVersion(url.hostname, Number(url.port || 9092)),
  defaultPort: 9092,
};

let javaFound: string | undefined;

/** The first java of at least 17, which Kafka 4 needs: JAVA_HOME's, the PATH's, and those that packages installed. */
function java(): string | undefined {
  if (javaFound !== undefined) return javaFound;
  const home = process.env["JAVA_HOME"];
  const onPath = findProgram("java");
  const packages = existsSync("/usr/lib/jvm") ? readdirSync("/usr/lib/jvm").map((name) => join("/usr/lib/jvm", name)) : [];
  const candidates = [
    ...(home === undefined ? [] : [join(home, "bin", "java")]),
    ...(onPath === undefined ? [] : [onPath]),
    ...packages.map((folder) => join(folder, "bin", "java")),
  ];
  javaFound = candidates.find((program) => {
    if (!existsSync(program)) return false;
    const { stderr } = spawnSync(program, ["-version"], { encoding: "utf8", timeout: 20_000 });
    return Number(/version "(\d+)/.exec(stderr ?? "")?.[1] ?? 0) >= 17;
  });
  return javaFound;
}

function programOf(installed: Installed): string {
  return (installed.wrap === undefined ? java() : undefined) ?? "java";
}

function versionIn(home: string): string | undefined {
  const libs = join(home, "libs");
  if (!existsSync(libs)) return undefined;
  for (const name of readdirSync(libs)) {
    const version = /^kafka_2\.13-(4\.1\.\d+)\.jar$/.exec(name)?.[1];
    if (version !== undefined) return version;
  }
  return undefined;
}

async function download(): Promise<string> {
  if (findProgram("mvn") === undefined) await aptInstall("maven");
  return fillCache(folderName, async (folder) => {
    const dependency = (group: string, name: string, version: string): string =>
      `<dependency><groupId>${group}</groupId><artifactId>${name}</artifactId><version>${version}</version></dependency>`;
    const server = dependency("org.apache.kafka", "kafka_2.13", release);
    const log = dependency("org.apache.logging.log4j", "log4j-slf4j-impl", "2.24.3"); // without it the server is mute
    const pom = `<project><modelVersion>4.0.0</modelVersion>
<groupId>waybill</groupId><artifactId>brokers-kafka</artifactId><version>1</version>
<dependencies>${server}${log}</dependencies></project>\n`;
    writeFileSync(join(folder, "pom.xml"), pom);
    await run("mvn", ["-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=libs"], { cwd: folder, timeoutMs: 600_000 });
  });
}

function checkpointOf(version: string): string {
  return join(cacheFolder(), `kafka-format-${version}`, "bootstrap.checkpoint");
}

/** What `StorageTool format` writes is the same for every cluster but for two ids: it runs once, and saves each start a JVM. */
async function format(installed: Installed): Promise<void> {
  const { home, version } = installed;
  if (existsSync(checkpointOf(version))) return;
  await fillCache(`kafka-format-${version}`, async (folder) => {
    const data = join(folder, "data");
    const properties = join(folder, "server.properties");
    writeFileSync(
      properties,
      `process.roles=broker,controller\nnode.id=1\nlog.dirs=${data}\ncontroller.listener.names=CONTROLLER\n` +
        "listeners=PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093\ncontroller.quorum.voters=1@127.0.0.1:9093\n",
    );
    const args = ["-Xmx256m", "-cp", join(home, "libs", "*"), "kafka.tools.StorageTool", "format", "-t", clusterId(), "-c", properties];
    await runCommand(installed, { program: programOf(installed), args, cwd: folder }, 120_000);
    renameSync(join(data, "bootstrap.checkpoint"), join(folder, "bootstrap.checkpoint"));
    rmSync(data, { recursive: true });
  });
}

function clusterId(): string {
  return `a${randomBytes(16).toString("base64url").slice(1)}`;
}

function ownSettings(nodes: number): Record<string, string> {
  const replicas = String(nodes);
  return {
    "offsets.topic.replication.factor": replicas,
    "transaction.state.log.replication.factor": replicas,
    "transaction.state.log.min.isr": nodes > 1 ? "2" : "1",
    "share.coordinator.state.topic.replication.factor": replicas,
    "share.coordinator.state.topic.min.isr": nodes > 1 ? "2" : "1",
    "group.initial.rebalance.delay.ms": "0",
    "group.consumer.min.session.timeout.ms": "6000",
    "group.consumer.session.timeout.ms": "6000",
    "group.consumer.min.heartbeat.interval.ms": "2000",
    "group.consumer.heartbeat.interval.ms": "2000",
    // After a kill the broker is let in again when its former session is over.
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
    ...(nodes > 1 ? { "default.replication.factor": replicas, "min.insync.replicas": "2" } : {}),
  };
}

async function plan({ watch, installed, nodes, settings, advertise, listeners }: PlanOptions): Promise<Plan> {
  if (!existsSync(checkpointOf(installed.version))) await installLock(() => format(installed));
  const each = 2 + listeners;
  const ports = await watch.reservePorts(nodes * each);
  const cluster = clusterId();
  const portsOf = (index: number): [number, number, number] => [
    ports[index * each] ?? 0,
    ports[index * each + 1] ?? 0,
    ports[index * each + 2] ?? 0,
  ];
  const own = { ...ownSettings(nodes), ...settings };
  const voters = Array.from({ length: nodes }, (_, index) => `${index + 1}@127.0.0.1:${portsOf(index)[2]}`).join(",");
  const logging = join(watch.folder, "log4j2.properties");
  writeFileSync(logging, log4j);
  const plans: NodePlan[] = [];
  for (let index = 0; index < nodes; index += 1) {
    const [port, internalPort, controllerPort] = portsOf(index);
    const folder = join(watch.folder, `node${index + 1}`);
    const data = join(folder, "data");
    mkdirSync(data, { recursive: true });
    copyFileSync(checkpointOf(installed.version), join(data, "bootstrap.checkpoint"));
    const id = `directory.id=${clusterId()}\n`;
    writeFileSync(join(data, "meta.properties"), `version=1\ncluster.id=${cluster}\nnode.id=${index + 1}\n${id}`);
    const clients = [port, ...ports.slice(index * each + 3, (index + 1) * each)];
    const said = await Promise.all(clients.map((client, listener) => advertise(index, client, listener)));
    const nameOf = (listener: number): string => (listener === 0 ? "CLIENT" : `CLIENT${listener}`);
    const listening = clients.map((client, listener) => `${nameOf(listener)}://127.0.0.1:${client}`);
    const advertised = said.map((address, listener) => `${nameOf(listener)}://${address.host}:${address.port}`);
    const plain = [...clients.map((_, listener) => nameOf(listener)), "INTERNAL", "CONTROLLER"].map((name) => `${name}:PLAINTEXT`);
    const properties = {
      "process.roles": "broker,controller",
      "node.id": String(index + 1),
      "controller.quorum.voters": voters,
      "controller.listener.names": "CONTROLLER",
      "inter.broker.listener.name": "INTERNAL",
      "listener.security.protocol.map": plain.join(","),
      listeners: [...listening, `INTERNAL://127.0.0.1:${internalPort}`, `CONTROLLER://127.0.0.1:${controllerPort}`].join(","),
      "advertised.listeners": [...advertised, `INTERNAL://127.0.0.1:${internalPort}`].join(","),
      "log.dirs": data,
      ...own,
    };
    writeFileSync(
      join(folder, "server.properties"),
      Object.entries(properties)
        .map(([key, value]) => `${key}=${value}\n`)
        .join(""),
    );
    plans.push({
      port,
      ports: {
        internal: internalPort,
        controller: controllerPort,
        ...Object.fromEntries(clients.slice(1).map((client, listener) => [`client${listener + 1}`, client])),
      },
      command: {
        program: programOf(installed),
        args: [
          "-Xmx512m",
          "-Xms256m",
          "-XX:+UseSerialGC",
          "-XX:-UsePerfData",
          `-Dlog4j2.configurationFile=${logging}`,
          "-cp",
          join(installed.home, "libs", "*"),
          "kafka.Kafka",
          join(folder, "server.properties"),
        ],
        cwd: folder,
      },
      async probe() {
        const live = await liveBrokers("127.0.0.1", port);
        if (!live.some(({ id }) => id === index + 1)) throw new Error("the broker is not in its cluster so far");
        return installed.version;
      },
    });
  }
  return {
    settings: own,
    nodes: plans,
    url: `kafka://127.0.0.1:${plans[0]?.port ?? 0}`,
    stopSignal: "SIGTERM",
    ...(nodes > 1 ? { formed: () => formed(plans) } : {}),
  };
}

/** Every node knows all nodes as living. */
async function formed(plans: readonly NodePlan[]): Promise<void> {
  for (const plan of plans) {
    const live = await liveBrokers("127.0.0.1", plan.port);
    if (live.length !== plans.length) throw new Error(`${live.length} of ${plans.length} brokers`);
  }
}

const log4j = `status=error
appender.console.type=Console
appender.console.name=console
appender.console.layout.type=PatternLayout
appender.console.layout.pattern=%d %p %m (%c{1})%n
rootLogger.level=warn
rootLogger.appenderRef.console.ref=console
`;

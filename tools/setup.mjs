// Runs before every npm script, on whatever Node there is (20 or newer): installs the locked dependencies when they
// are missing or are not those of the lockfile, and otherwise does nothing, quickly. Among the dependencies is Node 24
// itself, which npm puts first on the PATH of the script that follows.
import { spawnSync } from "node:child_process";
import { existsSync, linkSync, readFileSync, symlinkSync } from "node:fs";
import { delimiter, join, relative } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const neededNode = [24, 12];

function read(...path) {
  try {
    return JSON.parse(readFileSync(join(root, ...path), "utf8")).packages;
  } catch {
    return undefined;
  }
}

/** True when what npm recorded as installed is what the lockfile asks for; optional packages may be absent. */
function upToDate() {
  const installed = read("node_modules", ".package-lock.json");
  const locked = read("package-lock.json");
  if (installed === undefined || locked === undefined) return false;
  for (const [path, entry] of Object.entries(locked)) {
    if (!path.startsWith("node_modules/") && !path.includes("/node_modules/")) continue;
    const found = installed[path];
    if (found === undefined) {
      if (entry.optional || entry.devOptional || entry.peer) continue;
      return false;
    }
    if (found.version !== entry.version || found.integrity !== entry.integrity || found.resolved !== entry.resolved) return false;
    if (entry.link && !existsSync(join(root, path))) return false;
  }
  return true;
}

function install() {
  // The Node in node_modules is about to be removed, so npm must run on the one of the machine.
  const path = (process.env.PATH ?? "").split(delimiter).filter((part) => !/[\\/]node_modules[\\/]/.test(part + "/"));
  const env = { ...process.env, PATH: path.join(delimiter) };
  for (const name of Object.keys(env)) if (/^(npm_(?!config_)|NODE_ENV$|NODE_OPTIONS$)/i.test(name)) delete env[name];
  const windows = process.platform === "win32";
  const args = ["ci", "--no-audit", "--no-fund", "--loglevel=error", "--include=dev", "--include=optional"];
  process.stderr.write("waybill: installing dependencies (npm ci) …\n");
  const done = spawnSync(windows ? "npm.cmd" : "npm", args, {
    cwd: root,
    env,
    shell: windows,
    encoding: "utf8",
    timeout: 600_000,
  });
  if (done.status === 0) return;
  const why = done.error?.message ?? `exit code ${done.status ?? done.signal}`;
  process.stderr.write(`${done.stdout ?? ""}${done.stderr ?? ""}\nwaybill: npm ci failed (${why}). `);
  process.stderr.write("Check the network and the npm configuration, then run the command again.\n");
  process.exit(1);
}

/** Makes sure that the scripts get a new enough Node: the one among the dependencies, else the one that runs this. */
function checkNode() {
  const windows = process.platform === "win32";
  const bin = join(root, "node_modules", ".bin");
  if (existsSync(join(bin, windows ? "node.cmd" : "node")) || existsSync(join(bin, "node.exe"))) return;
  // npm 10 drops the link when it drops the packages of the other platforms, which have a bin of the same name.
  const name = windows ? "node.exe" : "node";
  const bundled = join(root, "node_modules", `node-${windows ? "win" : process.platform}-${process.arch}`, "bin", name);
  if (existsSync(bundled)) {
    if (windows) linkSync(bundled, join(bin, name));
    else symlinkSync(relative(bin, bundled), join(bin, name));
    return;
  }
  const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
  if (major > neededNode[0] || (major === neededNode[0] && minor >= neededNode[1])) return;
  process.stderr.write(`waybill: Node ${neededNode.join(".")} or newer is needed, this is ${process.versions.node}, and npm has none for `);
  process.stderr.write(`${process.platform}-${process.arch}. Install it, then run the command again.\n`);
  process.exit(1);
}

if (!upToDate()) install();
checkNode();

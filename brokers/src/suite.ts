// Packages of Debian 13 on an older Debian: fetched by apt with directories of its own, unpacked into a folder of the
// cache, and run from there. Nothing of the machine's own packages is touched; the mirror is the machine's own.
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { cached, fillCache } from "./cache.ts";
import { findProgram, run } from "./run.ts";
import type { Command } from "./server.ts";

const suite = "trixie";
const folderOf = (name: string): string => `${suite}-${name}`;

/** The folder into which `name` and all that it depends on was unpacked. */
export function findSuite(name: string): string | undefined {
  return cached(folderOf(name));
}

/** What was needed for an installation only. Under the lock. */
export function forgetSuite(name: string): void {
  const folder = findSuite(name);
  if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
}

/** Under the lock. `more`: what its scripts use and no package depends on, because every Debian has it. */
export async function installSuite(name: string, more: readonly string[] = []): Promise<string> {
  for (const program of ["apt-get", "dpkg-deb"]) if (findProgram(program) === undefined) throw new Error(`this machine has no ${program}`);
  const source = debianSource();
  return fillCache(folderOf(name), async (folder) => {
    const apt = join(folder, "apt");
    for (const part of ["lists/partial", "archives/partial"]) mkdirSync(join(apt, part), { recursive: true });
    writeFileSync(join(apt, "status"), "");
    writeFileSync(join(apt, "sources.list"), source);
    const settings = {
      "Dir::State": apt,
      "Dir::State::lists": join(apt, "lists"),
      "Dir::State::status": join(apt, "status"),
      "Dir::Cache": apt,
      "Dir::Cache::archives": join(apt, "archives"),
      "Dir::Etc::sourcelist": join(apt, "sources.list"),
      "Dir::Etc::sourceparts": "/dev/null",
      "Dir::Etc::preferencesparts": "/dev/null",
      "APT::Sandbox::User": process.getuid?.() === 0 ? "root" : "",
      "APT::Update::Post-Invoke": "",
      "Debug::NoLocking": "true",
    };
    const options = Object.entries(settings).flatMap(([key, value]) => ["-o", `${key}=${value}`]);
    await run("apt-get", [...options, "-q", "update"], { timeoutMs: 300_000 });
    const install = ["-q", "-y", "--download-only", "--no-install-recommends", "install", name, ...more];
    await run("apt-get", [...options, ...install], { timeoutMs: 600_000 });
    const root = join(folder, "root");
    for (const part of ["bin", "sbin", "lib", "lib64"]) {
      mkdirSync(join(root, "usr", part), { recursive: true });
      symlinkSync(join("usr", part), join(root, part));
    }
    for (const file of readdirSync(join(apt, "archives"))) {
      if (file.endsWith(".deb")) await run("dpkg-deb", ["-x", join(apt, "archives", file), root], { timeoutMs: 120_000 });
    }
    rmSync(apt, { recursive: true });
    for (const part of ["proc", "dev", "etc", "tmp"]) mkdirSync(join(root, part), { recursive: true });
    writeFileSync(join(root, "etc", "hosts"), "127.0.0.1 localhost\n");
    writeFileSync(join(root, "etc", "nsswitch.conf"), "passwd: files\ngroup: files\nhosts: files\n");
    writeFileSync(join(root, "etc", "passwd"), "root:x:0:0:root:/root:/bin/sh\n");
    for (const part of readdirSync(root)) renameSync(join(root, part), join(folder, part));
    rmSync(root, { recursive: true });
  });
}

/** The machine's own Debian mirror, with the other suite. */
function debianSource(): string {
  const release = existsSync("/etc/os-release") ? readFileSync("/etc/os-release", "utf8") : "";
  const own = /^VERSION_CODENAME=(\w+)$/m.exec(release)?.[1];
  if (own === undefined || !/^ID=debian$/m.test(release)) throw new Error("this machine is no Debian");
  for (const text of sourceTexts()) {
    const line = new RegExp(`^deb\\s+(\\[[^\\]]*\\]\\s+)?(\\S+)\\s+${own}\\s+.*\\bmain\\b`, "m").exec(text);
    if (line !== null) return `deb ${line[1] ?? ""}${line[2]} ${suite} main\n`;
    for (const paragraph of text.split(/\n\s*\n/)) {
      const field = (name: string): string[] => new RegExp(`^${name}:\\s*(.*)$`, "im").exec(paragraph)?.[1]?.split(/\s+/) ?? [];
      const [uri] = field("URIs");
      if (uri === undefined || !field("Suites").includes(own) || !field("Components").includes("main")) continue;
      const key = field("Signed-By")[0];
      return `deb ${key === undefined ? "" : `[signed-by=${key}] `}${uri} ${suite} main\n`;
    }
  }
  throw new Error(`apt's sources name no mirror for ${own}`);
}

function sourceTexts(): string[] {
  const parts = "/etc/apt/sources.list.d";
  const files = existsSync(parts) ? readdirSync(parts).map((name) => join(parts, name)) : [];
  return ["/etc/apt/sources.list", ...files]
    .filter((file) => /\.(list|sources)$/.test(file) && existsSync(file))
    .map((file) => readFileSync(file, "utf8"));
}

/** The same command inside `home`, with /proc, /dev and the folder of temporary files, in mounts that end with it. */
export function chrooted(home: string, command: Command): Command {
  const script =
    'mount --rbind /proc "$1/proc" && mount --rbind /dev "$1/dev" && mkdir -p "$1$2" && mount --bind "$2" "$1$2" && ' +
    'root=$1 && folder=$3 && shift 3 && exec chroot "$root" /bin/sh -c \'cd "$0" && exec "$@"\' "$folder" "$@"';
  const asRoot = process.getuid?.() === 0 ? [] : ["--map-root-user"];
  return {
    program: findProgram("unshare") ?? "unshare",
    args: ["--mount", ...asRoot, "sh", "-c", script, "sh", home, tmpdir(), command.cwd ?? "/", command.program, ...command.args],
    env: { ...command.env, PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" },
  };
}

/** The same program by the loader and the libraries of `home`; for one that needs none of its other files. */
export function loaded(home: string, command: Command): Command {
  const libraries = readdirSync(join(home, "usr", "lib")).filter((name) => name.endsWith("-linux-gnu"));
  const path = libraries.map((name) => join(home, "usr", "lib", name));
  const loader = [join(home, "usr", "lib64"), ...path].flatMap((folder) =>
    (existsSync(folder) ? readdirSync(folder) : []).filter((name) => /^ld-linux.*\.so\.\d$/.test(name)).map((name) => join(folder, name)),
  )[0];
  if (loader === undefined) throw new Error(`${home} has no dynamic loader`);
  return { ...command, program: loader, args: ["--library-path", path.join(":"), join(home, command.program), ...command.args] };
}

// node tools/version.ts 0.2.0: gives every package that version, with the pins on each other and the lockfile.
import { globSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

type Json = { [key: string]: unknown };
const fields = ["dependencies", "devDependencies", "optionalDependencies", "peerDependencies"];
const pattern = /^\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?$/;

/** A copy of one package.json, or of its entry in the lockfile, in the new version. `own` names the workspace's packages. */
export function bumpPackage(json: Json, version: string, own: ReadonlySet<string>): Json {
  const next: Json = { ...json };
  if (typeof next["version"] === "string") next["version"] = version;
  for (const field of fields) {
    const pins = next[field];
    if (typeof pins !== "object" || pins === null) continue;
    next[field] = Object.fromEntries(Object.entries(pins).map(([name, pin]) => [name, own.has(name) ? version : pin]));
  }
  return next;
}

/** A copy of the lockfile in the new version: the root and the workspaces' own entries, nothing else. */
export function bumpLock(lock: Json, version: string, own: ReadonlySet<string>): Json {
  const packages = Object.entries(lock["packages"] as Record<string, Json>).map(([path, entry]) => [
    path,
    path.includes("node_modules/") ? entry : bumpPackage(entry, version, own),
  ]);
  return { ...lock, version, packages: Object.fromEntries(packages) as Json };
}

/** Bumps every package.json below `root` and the lockfile. Throws, with nothing written, when the version is not one. */
export function bump(root: string, version: string): string[] {
  if (!pattern.test(version)) throw new Error(`not a version: ${version} (wanted: 1.2.3 or 1.2.3-beta.1)`);
  const workspaces = (read(join(root, "package.json"))["workspaces"] as string[]).map((folder) => `${folder}/package.json`);
  const paths = ["package.json", ...globSync(workspaces, { cwd: root }).toSorted()];
  const own = new Set(paths.map((path) => String(read(join(root, path))["name"])));
  for (const path of paths) write(join(root, path), bumpPackage(read(join(root, path)), version, own));
  write(join(root, "package-lock.json"), bumpLock(read(join(root, "package-lock.json")), version, own));
  return paths;
}

function read(file: string): Json {
  return JSON.parse(readFileSync(file, "utf8")) as Json;
}

function write(file: string, json: Json): void {
  writeFileSync(file, `${JSON.stringify(json, null, 2)}\n`);
}

if (import.meta.main) {
  const version = process.argv[2] ?? "";
  try {
    const paths = bump(fileURLToPath(new URL("..", import.meta.url)), version);
    console.log(
      `${paths.length} packages are ${version}. Run npm run format, npm run check and npm test, then commit and tag v${version}.`,
    );
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    process.exitCode = 1;
  }
}

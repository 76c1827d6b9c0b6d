// What a user would install: builds and packs every public package, checks the tarballs with publint and attw, installs
// them together in an empty project, and there imports and type-checks every entry with nothing but Node and tsc.
import { spawnSync } from "node:child_process";
import { globSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { PackageJson } from "./boundaries.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const windows = process.platform === "win32";
const timeout = 180_000;

const smoke = `
import { createBus, event } from "@waybill/core";
import { openTransport } from "@waybill/transports";

const Answered = event("answered");
await using bus = createBus({ name: "smoke", transport: await openTransport("embedded:smoke.db") });
const received = Promise.withResolvers();
bus.subscribe(Answered, { group: "smoke" }, async (body) => received.resolve(body));
await bus.start();
await bus.publish(Answered, 42);
console.log("received", await received.promise);
`;

/** Runs a program; gives its output, or throws with it. */
function run(program: string, args: readonly string[], cwd: string): string {
  const env = { ...process.env };
  delete env["NODE_OPTIONS"];
  for (const name of Object.keys(env)) if (/^npm_(?!config_)/.test(name)) delete env[name];
  const done = spawnSync(program, args, { cwd, env, encoding: "utf8", timeout, shell: windows });
  if (done.status === 0) return done.stdout;
  const why = done.error?.message ?? done.signal ?? `exit code ${done.status}`;
  throw new Error(`${[program, ...args.map((arg) => basename(arg))].join(" ")}: ${why}\n${done.stdout ?? ""}${done.stderr ?? ""}`);
}

const manifests = globSync("packages/*/package.json", { cwd: root })
  .toSorted()
  .map((path) => ({ folder: join(root, dirname(path)), json: JSON.parse(readFileSync(join(root, path), "utf8")) as PackageJson }))
  .filter(({ json }) => json.private !== true);
const temp = mkdtempSync(join(tmpdir(), "waybill-tarballs-"));
const problems: string[] = [];
const attempt = (what: () => void): void => {
  try {
    what();
  } catch (error) {
    problems.push(error instanceof Error ? error.message : String(error));
  }
};

try {
  for (const { folder } of manifests) rmSync(join(folder, "dist"), { recursive: true, force: true });
  run("tsc", ["-b", "tsconfig.build.json"], root);
  const tarballs: string[] = [];
  for (const { folder, json } of manifests) {
    const out = join(temp, basename(folder));
    mkdirSync(out);
    run("npm", ["pack", "--silent", "--pack-destination", out], folder);
    const tarball = join(out, readdirSync(out)[0] ?? "");
    tarballs.push(tarball);
    const listed = run("tar", ["-tzf", tarball], out).split("\n");
    const stray = listed.filter((path) => path !== "" && !/^package\/(package\.json|README\.md|LICENSE|dist\/.*\.(js|d\.ts))$/.test(path));
    if (stray.length > 0) problems.push(`${json.name} packs what it should not: ${stray.join(", ")}`);
    if (listed.some((path) => /\.test\./.test(path))) problems.push(`${json.name} packs its tests`);
    attempt(() => run("publint", ["run", tarball, "--strict"], root));
    attempt(() => run("attw", [tarball, "--profile", "esm-only", "--no-color", "--no-emoji"], root));
  }
  const project = join(temp, "project");
  mkdirSync(project);
  writeFileSync(join(project, "package.json"), JSON.stringify({ name: "user", private: true, type: "module" }));
  run("npm", ["install", "--prefer-offline", "--no-audit", "--no-fund", "--loglevel=error", ...tarballs], project);
  const entries = manifests.flatMap(({ json }) =>
    Object.keys(json.exports ?? {})
      .filter((entry) => entry !== "./package.json")
      .map((entry) => `${json.name}${entry.slice(1)}`),
  );
  const imports = entries.map((entry, index) => `import * as entry${index} from "${entry}";`);
  const counts = `console.log(JSON.stringify([${entries.map((_, index) => `Object.keys(entry${index}).length`).join(", ")}]));`;
  writeFileSync(join(project, "import.mjs"), [...imports, counts].join("\n"));
  attempt(() => {
    const found = JSON.parse(run("node", ["import.mjs"], project)) as number[];
    for (const [index, count] of found.entries()) if (count === 0) problems.push(`${entries[index]} exports nothing`);
    console.log(entries.map((entry, index) => `${entry}: ${found[index]} exports`).join("\n"));
  });
  // A message through a file, as a user would: the worker and the loading by scheme must work from `dist` too.
  writeFileSync(join(project, "smoke.mjs"), smoke);
  attempt(() => {
    const told = run("node", ["--disable-warning=ExperimentalWarning", "smoke.mjs"], project);
    if (told !== "received 42\n") problems.push(`the smoke test printed ${JSON.stringify(told)}`);
  });
  writeFileSync(
    join(project, "types.ts"),
    [...imports, `export const all: readonly unknown[] = [${entries.map((_, index) => `entry${index}`).join(", ")}];`].join("\n"),
  );
  const compilerOptions = {
    module: "nodenext",
    target: "esnext",
    lib: ["esnext"],
    strict: true,
    exactOptionalPropertyTypes: true,
    noEmit: true,
    skipLibCheck: false,
    types: ["node"],
    typeRoots: [join(root, "node_modules", "@types")],
  };
  writeFileSync(join(project, "tsconfig.json"), JSON.stringify({ compilerOptions, files: ["types.ts"] }));
  attempt(() => run("tsc", ["-p", "."], project));
} catch (error) {
  problems.push(error instanceof Error ? error.message : String(error));
} finally {
  rmSync(temp, { recursive: true, force: true });
}
for (const problem of problems) console.log(`✖ ${problem}`);
process.exitCode = problems.length > 0 ? 1 : 0;

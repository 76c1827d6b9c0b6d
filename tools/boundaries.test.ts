// Holds the repository to `boundaries.ts`, and `boundaries.ts` to bad examples.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { importViolations, packageViolations, textViolations, unitOf, type PackageJson } from "./boundaries.ts";
import { codeOf, importsOf } from "./source-text.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const paths = execFileSync("git", ["ls-files"], { cwd: root, encoding: "utf8" })
  .split("\n")
  .filter((path) => path !== "" && existsSync(join(root, path)));
const files = paths
  .filter((path) => /\.(ts|mjs|json|md|yml|yaml)$|^\.(npmrc|gitignore)$|^\.ci\//.test(path))
  .map((path) => ({ path, text: readFileSync(join(root, path), "utf8") }));
const sources = files.filter((file) => /\.(ts|mjs)$/.test(file.path));
const rootJson = packageJson("package.json");

function packageJson(path: string): PackageJson {
  return JSON.parse(readFileSync(join(root, path), "utf8")) as PackageJson;
}

function dependenciesFor(path: string): string[] {
  let folder = dirname(path);
  while (folder !== "." && !existsSync(join(root, folder, "package.json"))) folder = dirname(folder);
  const json = folder === "." ? rootJson : packageJson(join(folder, "package.json"));
  const own = Object.keys({ ...json.dependencies, ...json.optionalDependencies, ...json.peerDependencies });
  if (!/\.(test|target|fixture)\.ts$/.test(path)) return own;
  return [...own, ...Object.keys({ ...json.devDependencies, ...rootJson.devDependencies })];
}

describe("this repository", () => {
  test("imports only what each package may", () => {
    assert.ok(sources.length > 20);
    assert.deepEqual(
      sources.flatMap((file) => importViolations(file, dependenciesFor(file.path))),
      [],
    );
  });

  test("holds nothing that may stand in no file", () => {
    assert.deepEqual(files.filter((file) => file.path !== "package-lock.json").flatMap(textViolations), []);
  });

  test("keeps its versions in lockstep and its packages in one shape", () => {
    const found = paths
      .filter((path) => path.endsWith("package.json"))
      .flatMap((path) => packageViolations(path, packageJson(path), rootJson.version ?? ""));
    assert.deepEqual(found, []);
  });

  test("gives every package a README, a licence and a reference in the build", () => {
    const build = readFileSync(join(root, "tsconfig.build.json"), "utf8");
    for (const path of paths.filter((name) => name !== "package.json" && name.endsWith("package.json"))) {
      const folder = dirname(path);
      assert.ok(existsSync(join(root, folder, "README.md")), `${folder}/README.md`);
      if (packageJson(path).private === true) continue;
      assert.ok(existsSync(join(root, folder, "LICENSE")), `${folder}/LICENSE`);
      assert.ok(build.includes(`"${folder}/tsconfig.build.json"`), `${folder} in tsconfig.build.json`);
    }
  });

  test("names no registry in the lockfile", () => {
    const lock = JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8")) as {
      packages: Record<string, { resolved?: string; link?: boolean; integrity?: string }>;
    };
    for (const [path, entry] of Object.entries(lock.packages)) {
      assert.ok(entry.resolved === undefined || entry.link === true, `${path} resolves to ${entry.resolved}`);
      if (path.includes("node_modules/") && entry.link !== true) assert.ok(entry.integrity !== undefined, `${path} has no integrity`);
    }
  });

  test("keeps its source files short enough to be held in the head", () => {
    const long = sources
      .filter((file) => !file.path.endsWith(".test.ts"))
      .map((file) => ({ path: file.path, lines: file.text.split("\n").length }))
      .filter(({ lines }) => lines > 500);
    assert.deepEqual(long, []);
  });
});

describe("an import is refused when", () => {
  const bad: readonly [path: string, text: string][] = [
    ["packages/core/src/bus.ts", `import { z } from "zod";`],
    ["packages/core/src/bus.ts", `import { embedded } from "@waybill/embedded";`],
    ["packages/core/src/bus.ts", `import type { X } from "@waybill/testing";`],
    ["packages/core/src/bus.ts", `import {\n  a,\n  b,\n} from "../../embedded/src/index.ts";`],
    ["packages/core/src/bus.ts", `const x = await import("@waybill/otel");`],
    ["packages/core/src/bus.ts", `export { a } from "left-pad";`],
    ["packages/core/src/bus.ts", `new Worker(new URL("../../embedded/src/worker.ts", import.meta.url));`],
    ["packages/embedded/src/index.ts", `import { conformance } from "@waybill/conformance";`],
    ["packages/transports/src/index.ts", `import { embedded } from "@waybill/embedded";`],
    ["packages/kafka/src/index.ts", `import amqp from "amqplib";`],
    ["packages/testing/src/index.ts", `import { main } from "@waybill/order-system";`],
    ["packages/core/src/bus.test.ts", `import { run } from "../../../tools/test-runner.ts";`],
    ["packages/core/src/bus.ts", `import "/etc/thing.ts";`],
    ["examples/order-system/src/main.ts", `import { server } from "@waybill/brokers";`],
    ["packages/embedded/src/index.ts", `import { x } from "@waybill/core";`],
  ];
  for (const [path, text] of bad) {
    test(`${path} has: ${text.replaceAll("\n", " ")}`, () => {
      assert.equal(importViolations({ path, text }, ["@platformatic/kafka"]).length, 1);
    });
  }

  test("and allowed otherwise", () => {
    const good: readonly [path: string, text: string][] = [
      ["packages/core/src/bus.ts", `import { join } from "node:path";\nimport { a } from "./a.ts";\nimport "./memory/b.ts";`],
      ["packages/core/src/a/b.ts", `import type { A } from "../c.ts";`],
      ["packages/core/src/bus.test.ts", `import { testBus } from "@waybill/testing";\nimport { z } from "zod";`],
      ["packages/embedded/src/index.ts", `import { x } from "@waybill/core";`],
      ["packages/kafka/src/index.ts", `import { Producer } from "@platformatic/kafka";`],
      ["packages/transports/src/index.ts", `const { embedded } = await import("@waybill/embedded");`],
      ["packages/core/src/bus.ts", `// import { z } from "zod";\nconst text = 'import "zod"';`],
    ];
    const listed = ["@platformatic/kafka", "@waybill/core", "@waybill/testing", "@waybill/embedded", "zod"];
    for (const [path, text] of good) assert.deepEqual(importViolations({ path, text }, listed), [], `${path}: ${text}`);
  });
});

describe("a text is refused when", () => {
  const path = "packages/core/src/bus.ts";
  const spec = "packages/core/src/bus.test.ts";
  const bad: readonly [path: string, text: string][] = [
    [path, "const x: any = 1;"],
    [path, "function f(x: Record<string, any>): void {}"],
    [path, "const y = x as any;"],
    [path, `if (transport.name === "kafka") f();`],
    [path, `if (this.#transport.name !== "kafka") f();`],
    [path, ["// TO", "DO later"].join("")],
    [path, ["// @ts-", "ignore"].join("")],
    [path, ["// @ts-", "expect-error"].join("")],
    [spec, "test.only('a', () => {});"],
    [spec, "test('a', { only: true }, () => {});"],
    [spec, "await new Promise((resolve) => setTimeout(resolve, 200));"],
    [spec, `import { setTimeout as delay } from "node:timers/promises";\nawait delay(1_000);`],
    [spec, "const sleep = (ms) => new Promise((done) => setTimeout(done, ms));\nawait sleep(500);"],
    ["packages/core/src/index.ts", `export * from "./bus.ts";`],
    [path, "export enum Color { Red }"],
    [path, "export class ConnectionManager {}"],
    [path, "interface ITransport {}"],
    [path, "class A extends EventEmitter {}"],
    ["README.md", ["npm --registry https://registry.", "npmjs.org"].join("")],
    ["README.md", ["see `/ho", "me/me/project`"].join("")],
    ["docs/a.md", ["see C:\\Us", "ers\\me"].join("")],
  ];
  for (const [index, [where, text]] of bad.entries()) {
    test(`${where} has bad example ${index + 1}`, () => {
      assert.equal(textViolations({ path: where, text }).length, 1, text);
    });
  }

  test("and allowed otherwise", () => {
    const good = [
      "const first = await Promise.any(all);",
      "// any message that is left",
      `const text = "any";`,
      "await new Promise((resolve) => setTimeout(resolve, 5));",
      "const timer = setTimeout(() => controller.abort(), 2_000);",
      "await Promise.race([work, new Promise((resolve) => setTimeout(resolve, 20_000).unref())]);",
      "const sleep = (ms) => new Promise((done) => clock.after(ms, done));\nawait sleep(500);",
      "await until(() => seen.length === 3);",
      "export class WaybillError extends Error {}",
      "log(transport.name);",
      "const url = `https://example.org/home/me`;",
    ];
    for (const text of good) assert.deepEqual(textViolations({ path: spec, text }), [], text);
  });
});

test("a package.json is refused when its shape or its pins differ", () => {
  const good: PackageJson = {
    name: "@waybill/core",
    version: "1.2.3",
    license: "MIT",
    type: "module",
    engines: { node: ">=24.6" },
    files: ["dist", "!dist/.tsbuildinfo", "README.md", "LICENSE"],
    exports: { ".": { "@waybill/source": "./src/index.ts", types: "./dist/index.d.ts", default: "./dist/index.js" } },
    dependencies: { "@waybill/core": "1.2.3", zod: "4.0.0" },
  };
  assert.deepEqual(packageViolations("package.json", good, "1.2.3"), []);
  const bad: readonly PackageJson[] = [
    { ...good, version: "1.2.4" },
    { ...good, license: "ISC" },
    { ...good, type: "commonjs" },
    { ...good, engines: { node: ">=20" } },
    { ...good, files: ["dist", "src"] },
    { ...good, dependencies: { "@waybill/core": "1.2.2" } },
    { ...good, dependencies: { zod: "^4.0.0" } },
    { ...good, exports: { ".": { types: "./dist/index.d.ts", default: "./dist/index.js" } } },
  ];
  for (const json of bad) assert.notDeepEqual(packageViolations("package.json", json, "1.2.3"), [], JSON.stringify(json));
});

test("the reader tells code from text", () => {
  assert.equal(codeOf("a // b\nc"), "a     \nc");
  assert.equal(codeOf("f('x', \"y\")"), "f(' ', \" \")");
  assert.equal(codeOf("`a${b}c`"), "` ${b} `");
  assert.equal(codeOf("`a${ {x: `q`} }c`;d"), "` ${ {x: ` `} } `;d");
  assert.equal(codeOf("x = /['\"]/g; y"), "x = /    /g; y");
  assert.equal(codeOf("a / b / c"), "a / b / c");
  assert.deepEqual(
    importsOf(`import a, { b } from "x";\nexport type { c } from "y";\nimport "z";`).map((entry) => [
      entry.specifier,
      entry.line,
      entry.typeOnly,
    ]),
    [
      ["x", 1, false],
      ["y", 2, true],
      ["z", 3, false],
    ],
  );
  assert.equal(unitOf("packages/core/src/a.ts"), "core");
  assert.equal(unitOf("examples/order-system/src/a.ts"), "examples");
});

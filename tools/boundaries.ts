// What may import what, and what may stand in no file. `boundaries.test.ts` holds the repository to it.
import { dirname, join, normalize } from "node:path/posix";
import { codeOf, importsOf, type Import } from "./source-text.ts";

export interface SourceFile {
  /** From the root, with `/`. */
  readonly path: string;
  readonly text: string;
}

const adapters = ["rabbitmq", "kafka", "redis", "nats", "zeromq"];
const libraries = ["postgres", "codecs", "otel", "testing"];
const validators = ["zod", "valibot", "arktype"];
const nobodyImports = ["cli", "dashboard", "tools", "order-system", "bench"];
const apps = ["core", "embedded", "transports", "otel"];

interface Rule {
  /** Names of our packages. */
  readonly own: readonly string[];
  readonly dynamic?: readonly string[];
  /** Packages of others; `dependencies` allows what package.json of that package lists. */
  readonly foreign: readonly string[] | "dependencies";
}

/** The unit a file belongs to: a package's folder name, `bench`, `examples`, `tools`, `docs` or the root. */
export function unitOf(path: string): string {
  const [first = "", second = ""] = path.split("/");
  if (first === "packages") return second;
  return path.includes("/") ? first : "root";
}

function folderOf(path: string): string {
  const parts = path.split("/");
  return parts[0] === "packages" || parts[0] === "examples" ? parts.slice(0, 2).join("/") : (parts[0] ?? "");
}

function ruleFor(path: string): Rule {
  const unit = unitOf(path);
  const rule = productionRule(unit);
  if (!/\.(test|target|fixture)\.ts$/.test(path)) return rule;
  const foreign = rule.foreign === "dependencies" ? rule.foreign : [...rule.foreign, ...validators];
  // What a store promises is proved beside real brokers.
  const beside = unit === "postgres" ? adapters : [];
  return { own: [...rule.own, "conformance", "testing", "brokers", unit, ...beside], dynamic: rule.dynamic ?? [], foreign };
}

function productionRule(unit: string): Rule {
  if (unit === "core") return { own: [], foreign: [] };
  if (unit === "embedded" || unit === "conformance") return { own: ["core"], foreign: [] };
  if (adapters.includes(unit) || libraries.includes(unit)) return { own: ["core"], foreign: "dependencies" };
  if (unit === "transports") return { own: ["core"], dynamic: ["embedded", ...adapters], foreign: [] };
  if (unit === "cli" || unit === "dashboard") return { own: apps, foreign: "dependencies" };
  if (unit === "bench" || unit === "examples") return { own: apps, dynamic: ["brokers"], foreign: "dependencies" };
  if (unit === "brokers") return { own: [], foreign: "dependencies" };
  if (unit === "tools")
    return { own: ["core", "embedded", "transports", "testing", "conformance", "brokers"], foreign: ["publint", "publint/utils"] };
  return { own: [], foreign: [] };
}

/**
 * Every import of `file` that is not allowed. `dependencies` are those that its package.json lists for it: for a test the
 * development dependencies too, and those of the root.
 */
export function importViolations(file: SourceFile, dependencies: readonly string[]): string[] {
  const rule = ruleFor(file.path);
  const found: string[] = [];
  for (const entry of importsOf(file.text)) {
    const why = violation(file.path, entry, rule, dependencies);
    if (why !== undefined) found.push(`${file.path}:${entry.line}: ${why}`);
  }
  return found;
}

function violation(path: string, entry: Import, rule: Rule, dependencies: readonly string[]): string | undefined {
  const { specifier } = entry;
  if (specifier.startsWith("node:")) return undefined;
  if (specifier.startsWith(".")) {
    const target = normalize(join(dirname(path), specifier));
    const folder = folderOf(path);
    if (unitOf(path) === "tools" || target.startsWith(`${folder}/`)) return undefined;
    return `${specifier} leaves its package`;
  }
  if (specifier.startsWith("/") || /^[a-z]+:/.test(specifier)) return `${specifier} is an absolute path or a URL`;
  const own = /^@waybill\/([^/]+)/.exec(specifier)?.[1] ?? (specifier === "waybill" ? "cli" : undefined);
  if (own === undefined) {
    const name = specifier
      .split("/")
      .slice(0, specifier.startsWith("@") ? 2 : 1)
      .join("/");
    const allowed = rule.foreign === "dependencies" ? dependencies : rule.foreign;
    return allowed.includes(name) || allowed.includes(specifier) ? undefined : `${name} is not a dependency that this package may have`;
  }
  if (nobodyImports.includes(own)) return `nobody imports ${own}`;
  if (rule.dynamic?.includes(own) === true) {
    if (!entry.dynamic && !entry.typeOnly) return `${specifier} must be imported dynamically`;
  } else if (!rule.own.includes(own)) return `${unitOf(path)} may not import ${specifier}`;
  const listed = unitOf(path) === "tools" || own === unitOf(path) || dependencies.includes(`@waybill/${own}`);
  return listed ? undefined : `${specifier} is not listed in package.json`;
}

interface TextRule {
  readonly why: string;
  readonly pattern: RegExp;
  readonly applies: (path: string) => boolean;
  /** Looks at the whole text, comments and strings included. */
  readonly raw?: boolean;
  /** Of the whole text: otherwise the rule does not apply. */
  readonly where?: (text: string) => boolean;
}

const isCode = (path: string): boolean => /\.(ts|mjs)$/.test(path);
const isTest = (path: string): boolean => path.endsWith(".test.ts");
// Written in two pieces, so that this file does not hold what it looks for.
const word = (a: string, b: string): string => `${a}${b}`;

const textRules: readonly TextRule[] = [
  { why: "any", pattern: /(?<![.\w$#])any\b(?!\s*[(:?]|\s*=>)/, applies: isCode },
  {
    why: "a branch on the transport's name",
    pattern: /\b[tT]ransport\.name\s*[!=]==?|switch\s*\(\s*[\w.]*[tT]ransport\.name/,
    applies: isCode,
  },
  {
    why: "an unfinished mark",
    pattern: new RegExp(`\\b(${word("TO", "DO")}|${word("FIX", "ME")}|${word("XX", "X")})\\b`),
    applies: () => true,
    raw: true,
  },
  { why: "a silenced type error", pattern: new RegExp(word("@ts-", "(ignore|nocheck)")), applies: isCode, raw: true },
  {
    why: "a silenced type error outside a test",
    pattern: new RegExp(word("@ts-", "expect-error")),
    applies: (path) => isCode(path) && !isTest(path),
    raw: true,
  },
  { why: "a test that runs alone", pattern: /\b(test|it|describe|suite)\s*\.\s*only\s*\(|\bonly:\s*true/, applies: isTest },
  {
    why: "a sleep in a test: wait for a condition",
    // Unreferenced it is a deadline, not a sleep.
    pattern: /\bsetTimeout\(\s*(?!reject)\w+\s*,\s*[\d_]{3,}\s*(,[^)]*)?\)(?!\.unref)/,
    applies: isTest,
  },
  {
    why: "a sleep in a test: wait for a condition",
    pattern: /\bawait\s+(sleep|delay|wait|pause|setTimeout|scheduler\.wait)\(\s*[\d_]{3,}\s*[,)]/,
    applies: isTest,
    // A clock of the test's own may be slept on.
    where: (text) => /timers\/promises|\bsetTimeout\(/.test(text),
  },
  {
    why: "export * in a public index",
    pattern: /^\s*export\s*\*/m,
    applies: (path) => /^packages\/[^/]+\/src\/index\.ts$/.test(path),
  },
  {
    why: "a namespace, enum or decorator",
    pattern: /^\s*(export\s+)?(declare\s+)?(const\s+)?(enum|namespace)\s+\w+/m,
    applies: isCode,
  },
  {
    why: "a name that tells nothing",
    pattern: /\b(class|interface|type|function|const)\s+(\w+(Manager|Helper|Util|Utils)|(Abstract|Base)[A-Z]\w*|I[A-Z][a-z]\w*)\b/,
    applies: (path) => isCode(path) && path.startsWith("packages/"),
  },
  {
    why: "inheritance",
    pattern: /\bclass\s+\w+(<[^>{]*>)?\s+extends\s+(?!Error\b)\w+/,
    applies: (path) => isCode(path) && path.startsWith("packages/"),
  },
  {
    why: "the host of a package registry",
    pattern: new RegExp(word("registry\\.", "(npmjs|yarnpkg)|") + word("npm\\.pkg\\.", "github")),
    applies: () => true,
    raw: true,
  },
  {
    why: "an absolute path of a machine",
    pattern: new RegExp(`(?<![\\w.~$}/])/(${["home", "root", "work", "Users", "tmp", "private", "mnt"].join("|")})/[\\w.-]`),
    applies: () => true,
    raw: true,
  },
  { why: "an absolute path of a machine", pattern: /\b[A-Z]:\\\\?(Users|Windows|Program)/, applies: () => true, raw: true },
];

/** Every place of `file` where something stands that may stand in no file of its kind. */
export function textViolations(file: SourceFile): string[] {
  const found: string[] = [];
  let code: string | undefined;
  for (const rule of textRules) {
    if (!rule.applies(file.path) || rule.where?.(file.text) === false) continue;
    code ??= isCode(file.path) ? codeOf(file.text) : file.text;
    const text = rule.raw === true ? file.text : code;
    const everywhere = new RegExp(rule.pattern.source, `${rule.pattern.flags}g`);
    for (const match of text.matchAll(everywhere)) {
      const at = match.index + match[0].length - match[0].trimStart().length;
      const line = text.slice(0, at).split("\n").length;
      found.push(`${file.path}:${line}: ${rule.why}: ${match[0].trim()}`);
    }
  }
  return found;
}

export interface PackageJson {
  readonly name?: string;
  readonly version?: string;
  readonly private?: boolean;
  readonly license?: string;
  readonly type?: string;
  readonly engines?: Readonly<Record<string, string>>;
  readonly files?: readonly string[];
  readonly exports?: Readonly<Record<string, Readonly<Record<string, string>>>>;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly devDependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
  readonly peerDependencies?: Readonly<Record<string, string>>;
}

/** What is wrong with one package.json: versions in lockstep, exact pins, one shape for all published packages. */
export function packageViolations(path: string, json: PackageJson, version: string): string[] {
  const found: string[] = [];
  const expect = (ok: boolean, why: string): void => {
    if (!ok) found.push(`${path}: ${why}`);
  };
  expect(json.version === version, `version ${json.version} is not the common ${version}`);
  expect(json.license === "MIT", "license is not MIT");
  expect(json.type === "module", "type is not module");
  const all = { ...json.dependencies, ...json.devDependencies, ...json.optionalDependencies };
  for (const [name, range] of Object.entries(all)) {
    expect(/^\d+\.\d+\.\d+(-[\w.]+)?$/.test(range), `${name} is not pinned to an exact version: ${range}`);
    if (name.startsWith("@waybill/")) expect(range === version, `${name} is pinned to ${range}, not to ${version}`);
  }
  if (json.private === true) return found;
  expect(json.engines?.["node"] === ">=24.6", "engines.node is not >=24.6");
  expect(json.files?.join(" ") === "dist !dist/.tsbuildinfo README.md LICENSE", "files is not dist, README.md, LICENSE");
  for (const [entry, conditions] of Object.entries(json.exports ?? {})) {
    expect(Object.keys(conditions).join(" ") === "@waybill/source types default", `exports ${entry}: conditions`);
    expect(conditions["@waybill/source"]?.startsWith("./src/") === true, `exports ${entry}: the source is not below ./src`);
    expect(conditions["default"]?.startsWith("./dist/") === true, `exports ${entry}: default is not below ./dist`);
  }
  expect(json.exports?.["."] !== undefined, "exports has no .");
  return found;
}

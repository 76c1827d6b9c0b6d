import type { DurationBounds } from "./duration.ts";
import { expectedDuration, readDuration } from "./duration.ts";
import { WaybillError } from "./errors.ts";

export type { Profile, ProfileSettings } from "./profile.ts";
export { profiles } from "./profile.ts";

type Constructor = abstract new (...args: never) => unknown;

/** What one option may be, as plain data. */
export type Spec = { readonly required?: boolean } & (
  | ({ readonly type: "duration" } & DurationBounds)
  | { readonly type: "integer" | "number"; readonly min?: number; readonly max?: number }
  | { readonly type: "boolean" | "function" | "any" }
  /** `secret`: not even its length is told. */
  | { readonly type: "string"; readonly minLength?: number; readonly maxLength?: number; readonly secret?: boolean }
  | { readonly type: "enum"; readonly values: readonly string[] }
  | { readonly type: "object"; readonly keys: ObjectSpec }
  /** An object whose keys are the user's own. */
  | { readonly type: "record"; readonly of: Spec }
  | { readonly type: "array"; readonly of: Spec; readonly minLength?: number; readonly maxLength?: number }
  | { readonly type: "instance"; readonly of: Constructor; readonly name: string }
  /** An object with these methods, such as a transport or a store. */
  | { readonly type: "shape"; readonly methods: readonly string[]; readonly name: string }
  | { readonly type: "either"; readonly of: readonly Spec[] }
);

export type ObjectSpec = Readonly<Record<string, Spec>>;

/**
 * The spec that belongs to an option interface: it names every key, and says `required` exactly where the interface does,
 * so that neither can change without the other: `const spec: SpecFor<RetryOptions> = { ... }`.
 */
export type SpecFor<Options> = {
  readonly [Key in keyof Options]-?: Spec & ({} extends Pick<Options, Key> ? { readonly required?: false } : { readonly required: true });
};

export interface Problem {
  /** Such as `bus.transport.options[2].path`. */
  readonly path: string;
  readonly expected: string;
  /** The kind of what was there. The value itself only where it is a number or a boolean. */
  readonly found: string;
}

/** Every problem of `value`, none if it fits. `root` starts each path. Never throws. */
export function checkOptions(value: unknown, spec: ObjectSpec, root: string): readonly Problem[] {
  const problems: Problem[] = [];
  checkKeys(value, spec, root, problems);
  return problems;
}

/** @throws `CONFIG`, one error that lists every wrong path, what was expected and what kind was found. */
export function assertOptions(value: unknown, spec: ObjectSpec, root: string): void {
  const problems = checkOptions(value, spec, root);
  if (problems.length > 0) throw configError(problems);
}

/** For problems that were collected from several places. */
export function configError(problems: readonly Problem[]): WaybillError {
  const lines = problems.map(({ path, expected, found }) => `${path}: expected ${expected}, found ${found}`);
  const text = lines.length === 1 ? String(lines[0]) : `${lines.length} options are wrong:\n  ${lines.join("\n  ")}`;
  return new WaybillError("CONFIG", text);
}

function checkKeys(value: unknown, spec: ObjectSpec, path: string, problems: Problem[]): void {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    problems.push({ path, expected: "an object", found: kindOf(value) });
    return;
  }
  for (const key of Object.keys(value)) {
    if (Object.hasOwn(spec, key)) continue;
    const near = nearest(key, Object.keys(spec));
    const expected = near === undefined ? `one of the keys ${Object.keys(spec).join(", ")}` : `no such key (did you mean ${near}?)`;
    problems.push({ path: join(path, key), expected, found: kindOf((value as Record<string, unknown>)[key], true) });
  }
  for (const [key, one] of Object.entries(spec)) {
    const part = (value as Record<string, unknown>)[key];
    if (part !== undefined) check(part, one, join(path, key), problems);
    else if (one.required === true) problems.push({ path: join(path, key), expected: expectedOf(one), found: "nothing" });
  }
}

function check(value: unknown, spec: Spec, path: string, problems: Problem[]): void {
  if (!hasKind(value, spec)) {
    const secret = spec.type === "string" && spec.secret === true;
    const near = spec.type === "enum" && typeof value === "string" ? nearest(value, spec.values) : undefined;
    const hint = near === undefined ? "" : ` (did you mean ${near}?)`;
    problems.push({ path, expected: expectedOf(spec) + hint, found: kindOf(value, secret) });
  } else if (spec.type === "object") {
    checkKeys(value, spec.keys, path, problems);
  } else if (spec.type === "record") {
    for (const [key, part] of Object.entries(value as object)) check(part, spec.of, join(path, key), problems);
  } else if (spec.type === "array") {
    (value as readonly unknown[]).forEach((part, index) => check(part, spec.of, `${path}[${index}]`, problems));
  } else if (spec.type === "either") {
    checkEither(value, spec.of, path, problems);
  }
}

/** The problems of the first alternative of the right kind are told: `{ attempts: "x" }` is a wrong object, not a wrong boolean. */
function checkEither(value: unknown, alternatives: readonly Spec[], path: string, problems: Problem[]): void {
  let told: Problem[] | undefined;
  for (const alternative of alternatives) {
    if (!hasKind(value, alternative)) continue;
    const own: Problem[] = [];
    check(value, alternative, path, own);
    if (own.length === 0) return;
    told ??= own;
  }
  problems.push(...(told ?? []));
}

/** Whether `value` is of the kind and within the bounds; what is inside it is not looked at. */
function hasKind(value: unknown, spec: Spec): boolean {
  switch (spec.type) {
    case "any":
      return true;
    case "boolean":
    case "function":
      return typeof value === spec.type;
    case "duration":
      return readDuration(value, spec) !== undefined;
    case "integer":
    case "number": {
      const right = spec.type === "integer" ? Number.isSafeInteger(value) : Number.isFinite(value);
      return right && within(value as number, spec.min, spec.max);
    }
    case "string":
      return typeof value === "string" && within(value.length, spec.minLength, spec.maxLength);
    case "enum":
      return typeof value === "string" && spec.values.includes(value);
    case "object":
    case "record":
      return typeof value === "object" && value !== null && !Array.isArray(value);
    case "array":
      return Array.isArray(value) && within(value.length, spec.minLength, spec.maxLength);
    case "instance":
      return value instanceof spec.of;
    case "shape":
      return hasMethods(value, spec.methods);
    case "either":
      return spec.of.some((alternative) => hasKind(value, alternative));
  }
}

function hasMethods(value: unknown, methods: readonly string[]): boolean {
  if (value === null || (typeof value !== "object" && typeof value !== "function")) return false;
  return methods.every((method) => typeof (value as Record<string, unknown>)[method] === "function");
}

function within(value: number, min = -Infinity, max = Infinity): boolean {
  return value >= min && value <= max;
}

function expectedOf(spec: Spec): string {
  switch (spec.type) {
    case "any":
      return "a value";
    case "boolean":
      return "true or false";
    case "function":
      return "a function";
    case "duration":
      return expectedDuration(spec);
    case "integer":
      return `an integer${range(spec.min, spec.max)}`;
    case "number":
      return `a number${range(spec.min, spec.max)}`;
    case "string":
      return spec.minLength === 1 && spec.maxLength === undefined
        ? "a string that is not empty"
        : `a string${range(spec.minLength, spec.maxLength, " characters")}`;
    case "enum":
      return spec.values.map((value) => JSON.stringify(value)).join(" or ");
    case "object":
    case "record":
      return "an object";
    case "array":
      return `an array${range(spec.minLength, spec.maxLength, " entries")}`;
    case "instance":
    case "shape":
      return spec.name;
    case "either":
      return spec.of.map(expectedOf).join(", or ");
  }
}

function range(min: number | undefined, max: number | undefined, unit = ""): string {
  if (min === undefined && max === undefined) return "";
  if (max === undefined) return ` of at least ${min}${unit}`;
  if (min === undefined) return ` of at most ${max}${unit}`;
  return ` from ${min} to ${max}${unit}`;
}

function kindOf(value: unknown, secret = false): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "an array";
  switch (typeof value) {
    case "undefined":
      return "nothing";
    case "number":
      return secret ? "a number" : `the number ${value}`;
    case "boolean":
      return secret ? "a boolean" : String(value);
    case "string":
      return secret ? "a string" : value === "" ? "an empty string" : `a string (length ${value.length})`;
    case "object":
      return "an object";
    default:
      return `a ${typeof value}`;
  }
}

/** A key that is no plain word is quoted, which also escapes whatever is in it. */
function join(path: string, key: string): string {
  return /^[\w$-]{1,64}$/.test(key) ? `${path}.${key}` : `${path}[${JSON.stringify(key.slice(0, 64))}]`;
}

function nearest(word: string, known: readonly string[]): string | undefined {
  if (word.length > 64) return undefined;
  let best: string | undefined;
  let bestDistance = Math.min(2, Math.floor(word.length / 3)) + 1;
  for (const candidate of known) {
    const distance = editDistance(word.toLowerCase(), candidate.toLowerCase());
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance];
  }
  return best;
}

/** Optimal string alignment distance: insertions, deletions, replacements, swaps of neighbours. */
function editDistance(a: string, b: string): number {
  let before: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let row = 1; row <= a.length; row++) {
    const current = [row];
    for (let column = 1; column <= b.length; column++) {
      const same = a[row - 1] === b[column - 1];
      let least = Math.min((last[column] ?? 0) + 1, (current[column - 1] ?? 0) + 1, (last[column - 1] ?? 0) + (same ? 0 : 1));
      if (row > 1 && column > 1 && a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1]) {
        least = Math.min(least, (before[column - 2] ?? 0) + 1);
      }
      current.push(least);
    }
    before = last;
    last = current;
  }
  return last[b.length] ?? 0;
}

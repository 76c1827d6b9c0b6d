import { WaybillError } from "./errors.ts";
import { checkTopic } from "./pattern.ts";
import type { Headers } from "./transport.ts";

/** The interface that zod, valibot, arktype and others share (standardschema.dev, version 1). Types only: no dependency. */
export interface StandardSchema<Input = unknown, Output = Input> {
  readonly "~standard": {
    readonly version: 1;
    readonly vendor: string;
    readonly validate: (value: unknown) => StandardResult<Output> | Promise<StandardResult<Output>>;
    readonly types?: { readonly input: Input; readonly output: Output } | undefined;
  };
}
export type StandardResult<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | { readonly issues: readonly StandardIssue[] };
export interface StandardIssue {
  readonly message: string;
  readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined;
}
export type InputOf<S extends StandardSchema> = NonNullable<S["~standard"]["types"]>["input"];
export type OutputOf<S extends StandardSchema> = NonNullable<S["~standard"]["types"]>["output"];

/** Lifts a body of an older version by one version. Keyed by the version that it lifts from. */
export type Upcasts = Readonly<Record<number, (older: never) => unknown>>;

export interface ContractOptions<Input> {
  /** A whole number from 1. Consumers dead-letter versions they do not know. Default 1. */
  readonly version?: number;
  readonly upcast?: Upcasts;
  /** Messages of one key keep their order. It is given the body as published. */
  readonly key?: (body: Input) => string;
  /** The content type it is written with, where the transport takes bytes. Default `application/json`. */
  readonly contentType?: string;
}

/**
 * What goes over a topic. The wire holds the *input* form of the schema; handlers receive its output, validated again.
 * An `event` may have no listener yet; a `command` without a destination is a definite error, `UNROUTABLE`.
 */
export interface Contract<Input = unknown, Output = Input> {
  readonly kind: "event" | "command";
  readonly topic: string;
  readonly version: number;
  readonly schema: StandardSchema<Input, Output> | undefined;
  readonly upcast: Upcasts;
  readonly key: ((body: Input) => string) | undefined;
  readonly contentType: string;
  /** What every message of it carries. */
  readonly headers: Headers;
}

export interface RequestContract<Input = unknown, Output = Input, ReplyInput = unknown, ReplyOutput = ReplyInput> {
  readonly kind: "request";
  readonly topic: string;
  readonly request: Contract<Input, Output>;
  readonly reply: Contract<ReplyInput, ReplyOutput>;
}

export const versionHeader = "waybill-version";

/** An event: something happened, and any number of groups may care. Throws `CONFIG` or `NAME`. */
export function event<S extends StandardSchema>(
  topic: string,
  options: ContractOptions<InputOf<S>> & { readonly schema: S },
): Contract<InputOf<S>, OutputOf<S>>;
export function event<Body = unknown>(topic: string, options?: ContractOptions<Body>): Contract<Body, Body>;
export function event(topic: string, options: ContractOptions<never> & { schema?: StandardSchema } = {}): Contract {
  return contract("event", topic, options);
}

/** A command: somebody has to do it. Throws `CONFIG` or `NAME`. */
export function command<S extends StandardSchema>(
  topic: string,
  options: ContractOptions<InputOf<S>> & { readonly schema: S },
): Contract<InputOf<S>, OutputOf<S>>;
export function command<Body = unknown>(topic: string, options?: ContractOptions<Body>): Contract<Body, Body>;
export function command(topic: string, options: ContractOptions<never> & { schema?: StandardSchema } = {}): Contract {
  return contract("command", topic, options);
}

/** A question and its answer. Throws `CONFIG` or `NAME`. */
export function request<Q extends StandardSchema, A extends StandardSchema>(
  topic: string,
  options: { readonly request: Q; readonly reply: A; readonly version?: number; readonly contentType?: string },
): RequestContract<InputOf<Q>, OutputOf<Q>, InputOf<A>, OutputOf<A>> {
  const { request: asked, reply: answered, ...shared } = options;
  return Object.freeze({
    kind: "request",
    topic,
    request: contract("command", topic, { ...shared, schema: asked }),
    reply: contract("event", topic, { ...shared, schema: answered }),
  });
}

const contractKeys = new Set(["version", "schema", "key", "upcast", "contentType"]);

function contract(kind: "event" | "command", topic: string, options: ContractOptions<never> & { schema?: StandardSchema }): Contract {
  checkTopic(topic);
  const problems: string[] = [];
  for (const key of Object.keys(options)) if (!contractKeys.has(key)) problems.push(`${key}: not an option of a contract`);
  const version = options.version ?? 1;
  if (!Number.isSafeInteger(version) || version < 1) problems.push("version: expected a whole number from 1");
  const schema = options.schema;
  if (schema !== undefined && typeof schema?.["~standard"]?.validate !== "function") {
    problems.push("schema: expected a Standard Schema, such as a zod, valibot or arktype schema");
  }
  if (options.key !== undefined && typeof options.key !== "function") problems.push("key: expected a function of the body");
  for (const [from, lift] of Object.entries(options.upcast ?? {})) {
    if (!(Number(from) >= 1 && Number(from) < version)) problems.push(`upcast.${from}: expected a version from 1 to ${version - 1}`);
    if (typeof lift !== "function") problems.push(`upcast.${from}: expected a function`);
  }
  if (problems.length > 0) throw new WaybillError("CONFIG", `contract "${topic}": ${problems.join("; ")}`);
  return Object.freeze({
    kind,
    topic,
    version,
    schema,
    upcast: options.upcast ?? {},
    key: options.key as ((body: unknown) => string) | undefined,
    contentType: options.contentType ?? "application/json",
    headers: Object.freeze(
      Object.assign(Object.create(null) as Record<string, string>, {
        "content-type": options.contentType ?? "application/json",
        [versionHeader]: String(version),
      }),
    ),
  });
}

/** Validates `value`; throws `VALIDATION` naming paths and what is wrong with them (the schema's own words, never the value). */
export function validate<Output>(schema: StandardSchema<unknown, Output>, value: unknown, where: string): Output | Promise<Output> {
  const result = schema["~standard"].validate(value);
  return result instanceof Promise ? result.then((settled) => accepted(settled, value, where)) : accepted(result, value, where);
}

function accepted<Output>(result: StandardResult<Output>, value: unknown, where: string): Output {
  if (result.issues === undefined) return result.value;
  const shown = result.issues.slice(0, 10).map((issue) => `${pathOf(issue)}: ${reasonOf(issue, value)}`);
  if (result.issues.length > shown.length) shown.push(`and ${result.issues.length - shown.length} more`);
  throw new WaybillError("VALIDATION", `${where}: ${shown.join("; ")}`);
}

/** Some schema libraries quote what they found; a body has no place in an error. */
function reasonOf(issue: StandardIssue, body: unknown): string {
  let found = body;
  for (const step of issue.path ?? []) {
    const key = typeof step === "object" ? step.key : step;
    found = typeof found === "object" && found !== null ? (found as Record<PropertyKey, unknown>)[key] : undefined;
  }
  return quotes(issue.message, found) ? "does not fit" : issue.message.slice(0, 200);
}

function quotes(message: string, found: unknown, depth = 3): boolean {
  if (typeof found === "string") return found !== "" && message.includes(found);
  if (typeof found === "number" || typeof found === "bigint") return message.includes(String(found));
  if (typeof found !== "object" || found === null) return false;
  return depth > 0 && Object.values(found).some((part) => quotes(message, part, depth - 1));
}

function pathOf(issue: StandardIssue): string {
  const path = (issue.path ?? []).map((step) => String(typeof step === "object" ? step.key : step)).join(".");
  return path === "" ? "(body)" : path;
}

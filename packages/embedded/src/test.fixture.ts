import { type ChildProcess, fork } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { createIds, type Delivery, type Message, type SubscribeRequest, type Subscription, type SubscriptionEvent } from "@waybill/core";
import type { EmbeddedOptions } from "./options.ts";
import { embedded, type EmbeddedTransport } from "./transport.ts";
import type { ChildOrder, ChildTold } from "./child.fixture.ts";

const newId = createIds();
export const never: AbortSignal = new AbortController().signal;

const endings = new WeakMap<TestContext, (() => unknown)[]>();

/** Last in, first out: what was opened in a directory ends before the directory does. */
export function atEnd(t: TestContext, end: () => unknown): void {
  let all = endings.get(t);
  if (all === undefined) {
    const stack: (() => unknown)[] = [];
    endings.set(t, stack);
    t.after(async () => {
      for (let next = stack.pop(); next !== undefined; next = stack.pop()) await next();
    });
    all = stack;
  }
  all.push(end);
}

/** A file of the test's own, in a directory that is removed after it. */
export function tempFile(t: TestContext, name = "waybill.db"): string {
  const directory = mkdtempSync(join(tmpdir(), "waybill-test-"));
  atEnd(t, () => rmSync(directory, { recursive: true, force: true }));
  return join(directory, name);
}

export async function openTransport(t: TestContext, options: EmbeddedOptions): Promise<EmbeddedTransport> {
  const transport = embedded(options);
  atEnd(t, () => transport.close());
  await transport.connect({ signal: AbortSignal.timeout(20_000), onStatus: () => undefined });
  return transport;
}

export function message(topic: string, body: string, more: Partial<Message> = {}): Message {
  return {
    id: newId(),
    topic,
    group: undefined,
    key: undefined,
    body: Buffer.from(body),
    headers: Object.create(null) as Record<string, string>,
    time: Date.now(),
    deliverAt: undefined,
    expiresAt: undefined,
    priority: undefined,
    replyTo: undefined,
    correlationId: undefined,
    mandatory: false,
    native: undefined,
    ...more,
  };
}

export async function publishAll(transport: EmbeddedTransport, messages: readonly Message[]): Promise<void> {
  for (const outcome of await transport.publish(messages, { signal: never })) if (!outcome.ok) throw outcome.error;
}

export interface Taken extends AsyncDisposable {
  readonly subscription: Subscription;
  readonly got: Delivery[];
  readonly events: SubscriptionEvent[];
  readonly bodies: () => string[];
}

/** Subscribes and collects; `ack` settles at once. */
export async function take(
  transport: EmbeddedTransport,
  request: Partial<SubscribeRequest>,
  options: { readonly ack?: boolean } = {},
): Promise<Taken> {
  const got: Delivery[] = [];
  const events: SubscriptionEvent[] = [];
  const subscription = await transport.subscribe({
    topic: undefined,
    pattern: undefined,
    group: undefined,
    from: "latest",
    credit: { messages: 1000, bytes: 64 * 1024 * 1024 },
    leaseMs: 10_000,
    order: "none",
    inbox: false,
    native: undefined,
    signal: never,
    ...request,
    onEvent: (event) => void events.push(event),
  });
  const reading = (async () => {
    for await (const deliveries of subscription.deliveries()) {
      got.push(...deliveries);
      if (options.ack === true) await subscription.settle(deliveries.map((delivery) => ({ kind: "ack", delivery })));
    }
  })();
  return {
    subscription,
    got,
    events,
    bodies: () => got.map(({ message: { body } }) => Buffer.from(body as Uint8Array).toString()),
    async [Symbol.asyncDispose]() {
      await subscription[Symbol.asyncDispose]();
      await reading;
    },
  };
}

/** Waits until it holds; fails after the limit, saying what it waited for. */
export async function until(what: string, holds: () => boolean | Promise<boolean>, limitMs = 20_000): Promise<void> {
  const end = performance.now() + limitMs;
  while (!(await holds())) {
    if (performance.now() > end) throw new Error(`not within ${limitMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

export interface Child {
  readonly process: ChildProcess;
  readonly told: ChildTold[];
  readonly exited: Promise<void>;
  tell(order: ChildOrder): void;
  kill(): Promise<void>;
}

/** A process of its own on the file; see child.fixture.ts. */
export async function startChild(t: TestContext, path: string, order: ChildOrder): Promise<Child> {
  const child = fork(new URL("./child.fixture.ts", import.meta.url), [JSON.stringify({ path, order })], {
    execArgv: ["--conditions=@waybill/source", "--disable-warning=ExperimentalWarning"],
    stdio: ["ignore", "inherit", "inherit", "ipc"],
    env: { ...process.env, NODE_TEST_CONTEXT: undefined },
  });
  const told: ChildTold[] = [];
  child.on("message", (one) => told.push(one as ChildTold));
  const exited = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  const kill = async (): Promise<void> => {
    if (child.exitCode === null && child.signalCode === null) child.kill("SIGKILL");
    await exited;
  };
  atEnd(t, kill);
  await until("the child is ready", () => told.some((one) => one.kind === "ready"));
  return { process: child, told, exited, kill, tell: (next) => child.send(next) };
}

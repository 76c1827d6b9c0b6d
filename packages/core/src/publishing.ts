import type { PublishCall, PublishChoices, Published, PublishMiddleware } from "./bus-types.ts";
import type { Clock } from "./clock.ts";
import { validate, type Contract } from "./contract.ts";
import { plainHeaders } from "./dead-letter.ts";
import { durationMs } from "./duration.ts";
import { compose } from "./middleware.ts";
import { WaybillError } from "./errors.ts";
import { sizeOf } from "./failure.ts";
import { checkHeaderName, checkHeaderValue } from "./headers.ts";
import type { Ids } from "./id.ts";
import type { Publisher } from "./publisher.ts";
import type { CapabilityName, Headers, Message, Transport } from "./transport.ts";
import type { Encoded, Wire } from "./wire.ts";

/** What a message takes over from the one that is being handled. */
export interface Parent {
  readonly correlationId: string;
  readonly traceparent: string | undefined;
}

/** Fields that only the bus itself sets. */
export interface Addressing {
  readonly topic?: string;
  readonly replyTo?: string;
  readonly correlationId?: string;
  readonly expiresAt?: number;
  readonly headers?: Readonly<Record<string, string>>;
}

/** From a contract and a body to a confirmed message. */
export interface Publishing {
  /** With a `parent` also while the bus drains: the publisher ends last. */
  publish(contract: Contract, body: unknown, choices: PublishChoices | undefined, parent?: Parent): Promise<Published>;
  /** The same, middleware and all, but the message goes to `take`, such as an outbox. */
  publishInto(
    take: (message: Message) => void,
    contract: Contract,
    body: unknown,
    choices: PublishChoices | undefined,
    parent?: Parent,
  ): Promise<Published>;
  /** Validated, addressed and encoded, but not published. */
  build(
    contract: Contract,
    body: unknown,
    choices: PublishChoices | undefined,
    parent?: Parent,
    addressing?: Addressing,
  ): Message | Promise<Message>;
  add(message: Message, signal?: AbortSignal): Promise<Published>;
}

export interface PublishingOptions {
  readonly transport: Transport;
  readonly publisher: Publisher;
  readonly clock: Clock;
  readonly nextId: Ids;
  readonly wire: Wire;
  readonly namespaced: (topic: string) => string;
  readonly middleware: readonly PublishMiddleware[];
  /** Throws unless the bus takes messages now. */
  readonly mustBeOpen: () => void;
  /** Refused before it reached the publisher. */
  readonly refused: (topic: string) => void;
}

const noChoices: PublishChoices = Object.freeze({});
const noAddressing: Addressing = Object.freeze({});

export function createPublishing(options: PublishingOptions): Publishing {
  const { transport, publisher, clock, nextId, wire, namespaced } = options;

  interface Call extends PublishCall {
    readonly parent: Parent | undefined;
  }
  const last = (call: PublishCall): Promise<Published> => direct(call.contract, call.body, call.options, (call as Call).parent);
  const chain = options.middleware.length === 0 ? undefined : (compose(options.middleware, last) as (call: Call) => Promise<Published>);

  function publish(contract: Contract, body: unknown, choices: PublishChoices | undefined, parent?: Parent): Promise<Published> {
    if (chain === undefined) return direct(contract, body, choices, parent);
    try {
      return chain({ contract, body, options: choices ?? noChoices, parent });
    } catch (error) {
      return Promise.reject(error);
    }
  }

  function direct(contract: Contract, body: unknown, choices: PublishChoices | undefined, parent: Parent | undefined): Promise<Published> {
    try {
      if (parent === undefined) options.mustBeOpen();
      const message = build(contract, body, choices, parent);
      return message instanceof Promise ? addBuilt(message, choices?.signal) : add(message, choices?.signal);
    } catch (error) {
      options.refused(namespaced(contract.topic));
      return Promise.reject(error);
    }
  }

  /** Composed for each call: a middleware may pass on a call of its own making, and still nothing may get past `take`. */
  async function publishInto(
    take: (message: Message) => void,
    contract: Contract,
    body: unknown,
    choices: PublishChoices = noChoices,
    parent?: Parent,
  ): Promise<Published> {
    const buildAndTake = async (call: PublishCall): Promise<Published> => {
      const message = await build(call.contract, call.body, call.options, parent);
      take(message);
      return message;
    };
    return compose(options.middleware, buildAndTake)({ contract, body, options: choices });
  }

  // Functions of their own, here and below: a closure in the common path would cost every message a context.
  async function addBuilt(building: Promise<Message>, signal: AbortSignal | undefined): Promise<Published> {
    return add(await building, signal);
  }

  function add(message: Message, signal?: AbortSignal): Promise<Published> {
    return publisher.add(message, sizeOf(message.body), signal);
  }

  function build(
    contract: Contract,
    body: unknown,
    choices = noChoices,
    parent?: Parent,
    addressing = noAddressing,
  ): Message | Promise<Message> {
    if (contract.schema !== undefined) {
      const checked = validate(contract.schema, body, `publish to "${contract.topic}"`);
      if (checked instanceof Promise) return assembleChecked(checked, contract, body, choices, parent, addressing);
    }
    return assemble(contract, body, choices, parent, addressing);
  }

  async function assembleChecked(
    checked: Promise<unknown>,
    contract: Contract,
    body: unknown,
    choices: PublishChoices,
    parent: Parent | undefined,
    addressing: Addressing,
  ): Promise<Message> {
    await checked;
    return assemble(contract, body, choices, parent, addressing);
  }

  /** The wire holds what was given, not the schema's output: a transform would otherwise be applied twice. */
  function assemble(
    contract: Contract,
    body: unknown,
    choices: PublishChoices,
    parent: Parent | undefined,
    addressing: Addressing,
  ): Message | Promise<Message> {
    const topic = addressing.topic ?? namespaced(contract.topic);
    if (choices !== noChoices) check(topic, choices);
    if (body === null) mustHave(topic, "tombstone", "a null body");
    const time = clock.now();
    const headers = headersOf(contract.headers, choices, parent, addressing);
    const encoded = wire.bytes ? wire.encode(contract.contentType, body, headers) : undefined;
    const known = encoded instanceof Promise ? undefined : encoded;
    const message: Message = {
      id: choices.id ?? nextId(time),
      topic,
      group: undefined,
      key: choices.key ?? contract.key?.(body),
      body: known === undefined ? body : known.body,
      headers: known === undefined ? headers : known.headers,
      time,
      deliverAt: choices.delay === undefined ? undefined : time + durationMs(choices.delay, "delay"),
      expiresAt: addressing.expiresAt ?? (choices.expiresIn === undefined ? undefined : time + durationMs(choices.expiresIn, "expiresIn")),
      priority: choices.priority,
      replyTo: addressing.replyTo,
      correlationId: addressing.correlationId ?? choices.correlationId ?? parent?.correlationId,
      mandatory: contract.kind === "command",
      native: choices.native,
    };
    if (encoded instanceof Promise) return withEncoded(message, encoded);
    return wire.bytes ? limited(message) : message;
  }

  async function withEncoded(message: Message, encoding: Promise<Encoded>): Promise<Message> {
    const { body, headers } = await encoding;
    return limited({ ...message, body, headers });
  }

  function limited(message: Message): Message {
    const { maxBodyBytes } = transport.capabilities(message.topic);
    const bytes = sizeOf(message.body);
    if (bytes <= maxBodyBytes) return message;
    throw new WaybillError("TOO_LARGE", `a body of ${bytes} bytes for "${message.topic}": at most ${maxBodyBytes} are allowed`);
  }

  function check(topic: string, choices: PublishChoices): void {
    if (choices.delay !== undefined) mustHave(topic, "delay", "delay");
    if (choices.expiresIn !== undefined) mustHave(topic, "expiry", "expiresIn");
    if (choices.headers !== undefined) mustHave(topic, "headers", "headers");
    if (choices.priority !== undefined) {
      mustHave(topic, "priority", "priority");
      const { priority } = choices;
      if (!Number.isInteger(priority) || priority < 0 || priority > 9)
        throw new WaybillError("CONFIG", "priority: expected a whole number from 0 to 9");
    }
  }

  function mustHave(topic: string, name: CapabilityName, what: string): void {
    const capability = transport.capabilities(topic)[name];
    if (capability.level !== "none") return;
    throw new WaybillError(
      "CAPABILITY",
      `${transport.name} cannot do "${what}" on "${topic}"${capability.why === undefined ? "" : `: ${capability.why}`}`,
    );
  }

  return { publish, publishInto, build, add };
}

function headersOf(own: Headers, choices: PublishChoices, parent: Parent | undefined, addressing: Addressing): Headers {
  if (choices.headers === undefined && parent?.traceparent === undefined && addressing.headers === undefined) return own;
  const all = plainHeaders(own);
  if (parent?.traceparent !== undefined) all["traceparent"] = parent.traceparent;
  for (const [name, value] of Object.entries(choices.headers ?? {})) {
    checkHeaderName(name);
    checkHeaderValue(name, value);
    all[name] = value;
  }
  return Object.assign(all, addressing.headers);
}

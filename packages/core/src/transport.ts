/**
 * The transport contract: what the core asks of a broker, and what it may rely on.
 *
 * Three shapes implement it: a queue (settles each message by itself), a log (commits a position per part),
 * and a push (no settlement, no group memory). What an adapter cannot do it declares in `capabilities`; the core
 * refuses at start whatever needs it. `memory/` is the reference: read it before you write another.
 *
 * Everything is plain data in arrays; no callback and no promise belongs to a single message.
 */
import type { WaybillError } from "./errors.ts";

/** Names are lower-case; the object has no prototype. */
export type Headers = Readonly<Record<string, string>>;

/** An opaque place in a topic. Compare it with nothing but itself; give it back to `subscribe`, `browse` or `seek`. */
export type Position = string | number;

/** Immutable. Every field is always there, so that all messages have one hidden class. Times are ms since the epoch. */
export interface Message {
  /** Unique across processes. A second publish of the same id is a repeat, never another message. */
  readonly id: string;
  readonly topic: string;
  /** Only this group receives it; a group that does not exist comes into being and keeps it. Capability `publishToGroup`. */
  readonly group: string | undefined;
  /** Messages of one key keep their order. */
  readonly key: string | undefined;
  /** With capability `body: "value"` anything, by reference; else bytes. `null` is a tombstone. */
  readonly body: unknown;
  readonly headers: Headers;
  /** When it was published. */
  readonly time: number;
  /** Not delivered before. Capability `delay`. */
  readonly deliverAt: number | undefined;
  /** Not delivered after. Capability `expiry`. */
  readonly expiresAt: number | undefined;
  /** 0 to 9, higher first. Capability `priority`. */
  readonly priority: number | undefined;
  readonly replyTo: string | undefined;
  readonly correlationId: string | undefined;
  /** A topic that nobody would receive it from is a definite error, `UNROUTABLE`. Capability `mandatory`. */
  readonly mandatory: boolean;
  /** The transport's own publish options, typed by its adapter; one that it does not know is a definite error, `CONFIG`. */
  readonly native: unknown;
}

export type Level = "native" | "emulated" | "none" | "unverified";
/** `limits` are numbers with the unit in their name, such as `maxMs` or `windowMs`; `why` explains a `none` or `unverified`. */
export interface Capability {
  readonly level: Level;
  readonly limits?: Readonly<Record<string, number>>;
  readonly why?: string;
}

/** D0 nothing survives · D1 killed broker process · D2 power loss of its host · D3 a minority of nodes · D4 all at once. */
export type Durability = "D0" | "D1" | "D2" | "D3" | "D4";

/**
 * Each key is proved by the conformance suite when declared, and proved refused when not.
 * `confirm`: an ok outcome is the transport's own word. `settle`: unsettled messages come again (without it: at most once).
 * `settleConfirm`: outcome `done` is the transport's own word. `attempts`: deliveries are counted. `retry`: settlement `retry`
 * works without a copy. `deadLetter`: settlement `dead-letter` moves the message in one step. `note`: see `Settlement`.
 * `orderByKey`: `order: "key"` holds across processes. `deduplication`: a repeated id is stored once (`limits.windowMs`).
 * `reader`: subscribing without a group reads and never takes. `inbox`: see `SubscribeRequest.inbox`.
 */
export const capabilityNames = [
  "confirm",
  "mandatory",
  "headers",
  "tombstone",
  "delay",
  "expiry",
  "priority",
  "deduplication",
  "groups",
  "publishToGroup",
  "reader",
  "patterns",
  "fromEarliest",
  "fromPosition",
  "fromTime",
  "settle",
  "settleConfirm",
  "attempts",
  "retry",
  "deadLetter",
  "note",
  "lease",
  "orderByKey",
  "credit",
  "revocation",
  "inbox",
  "noResponders",
  "transaction",
  "inspect",
  "topology",
  "browse",
  "remove",
  "seek",
] as const;
export type CapabilityName = (typeof capabilityNames)[number];

export interface Capabilities extends Readonly<Record<CapabilityName, Capability>> {
  /** `value`: bodies travel by reference; `bytes`: the core encodes. */
  readonly body: "value" | "bytes";
  /** What an ok outcome survives. */
  readonly durability: Durability;
  /** Bodies above it are refused before the wire, definite, `TOO_LARGE`. */
  readonly maxBodyBytes: number;
}

export type TransportStatus = "connecting" | "connected" | "disconnected" | "closed";

export interface ConnectOptions {
  /** When it fires, `connect` gives up with `ABORTED` and leaves nothing open. */
  readonly signal: AbortSignal;
  /** Told at every change, with the reason of a loss. Must not throw. */
  readonly onStatus: (status: TransportStatus, reason?: WaybillError) => void;
}

/** `ok: false` with a definite error: it did not happen and never will. Indefinite: it may have, and the core repeats it with the same id. */
export type PublishOutcome = { readonly ok: true } | { readonly ok: false; readonly error: WaybillError };
export const published: PublishOutcome = Object.freeze({ ok: true });

/**
 * A lane is written in call order and never waits for another one. The core keeps at most `batches` publish calls of a lane
 * on their way, each of at most `maxMessages` messages and `maxBytes` of body (one message above it goes alone).
 */
export interface Lanes {
  of(message: Message): string;
  readonly batches: number;
  readonly maxMessages: number;
  readonly maxBytes: number;
}

/** Begun by `Transport.begin` or a `Store`; valid for one commit or rollback. */
export interface Transaction {
  /** Rejects definite (rolled back: nothing happened) or indefinite (`TX_UNKNOWN`). */
  commit(): Promise<void>;
  /** Never rejects; harmless after a commit. */
  rollback(): Promise<void>;
}

export interface PublishOptions {
  /** When it fires, what was not yet written is definite, the rest indefinite. */
  readonly signal: AbortSignal;
  readonly tx?: Transaction;
}

/** `latest`: what is published from now on. The others need `fromEarliest`, `fromPosition`, `fromTime`. */
export type StartPosition = "latest" | "earliest" | { readonly position: Position } | { readonly time: number };

/** How much may be handed out and not settled. 0 messages pauses. Without capability `settle` an ack only gives credit back. */
export interface Credit {
  readonly messages: number;
  readonly bytes: number;
}

export interface SubscribeRequest {
  /** Exactly one of `topic` and `pattern` is set (neither with `inbox`). Pattern tokens split by `.`: `*` one, `>` the rest (one or more). */
  readonly topic: string | undefined;
  readonly pattern: string | undefined;
  /** Members of a group share its messages; it remembers its place. Without one every subscription reads everything, and nothing is settled: what was yielded last is in hand until the next is asked for. */
  readonly group: string | undefined;
  /** Where a new group, or a reader, starts. A group that exists goes on where it was. */
  readonly from: StartPosition;
  readonly credit: Credit;
  /** How long a delivery is this member's before it may go to another one. */
  readonly leaseMs: number;
  /** `key`: within the group, across processes, a message is handed out only when the earlier ones of its key are settled, or to the same member after them. */
  readonly order: "none" | "key";
  /** The adapter chooses a reply address of this instance alone: `Subscription.address`. */
  readonly inbox: boolean;
  readonly native: unknown;
  /** Gives up the subscribing, not the subscription. */
  readonly signal: AbortSignal;
  /** See `SubscriptionEvent`. The promise it returns matters for `revoked` alone. */
  readonly onEvent: (event: SubscriptionEvent) => Promise<void> | void;
}

/** `part` is the unit that is revoked: a partition; "" where there is but one. */
export type SubscriptionEvent =
  /** Still ours until the answer, which comes before `deadlineMs` (monotonic, `performance.now()`): settle what can be. Then the adapter lets go. */
  | { readonly kind: "revoked"; readonly part: string; readonly deadlineMs: number }
  /** Already another member's, all of this generation and older: do not settle. Where each lease ends by itself, outcome `lost` tells instead. */
  | { readonly kind: "lost"; readonly part: string; readonly generation: number }
  /** Messages that this subscription will never see. */
  | { readonly kind: "gap"; readonly count: number | undefined; readonly reason: string }
  /** The subscription ended for good; the iteration ends after it. */
  | { readonly kind: "failed"; readonly error: WaybillError };

export interface Delivery {
  readonly message: Message;
  /** 1 + the deliveries of it to this group before, as the transport counted; undefined: unknown, and then never to be read as 1. */
  readonly attempt: number | undefined;
  readonly position: Position | undefined;
  readonly part: string;
  /** Of the connection, lease or assignment it came by. A settlement of an older one has the outcome `lost` and is not sent. */
  readonly generation: number;
  /** What is left of the lease at hand-over, in ms; undefined: no lease runs. */
  readonly leaseMs: number | undefined;
  /** The last note that was written for this message and group (capability `note`), or undefined. */
  readonly note: string | undefined;
  /** It may have been in the hands of a member that died, on a transport that counts no attempts. */
  readonly takenOver: boolean;
  /** The adapter's own. */
  readonly handle: unknown;
}

/** The one group of every dead-letter topic: it keeps what it is given until somebody settles it. */
export const deadLetterGroup = "dead-letters";

/**
 * `ack` done with · `retry` again after `delayMs`, counted as an attempt · `release` again at once, not counted as one where the transport can tell ·
 * `dead-letter` to `topic` in one step, addressed to `deadLetterGroup` there, with `headers` added · `extend` keep it for another lease.
 * A `note` (up to 1 KiB of text) is kept with the message for this group and comes back with its next delivery.
 */
export type Settlement =
  | { readonly kind: "ack"; readonly delivery: Delivery }
  | { readonly kind: "retry"; readonly delivery: Delivery; readonly delayMs: number; readonly note: string | undefined }
  | { readonly kind: "release"; readonly delivery: Delivery }
  | { readonly kind: "dead-letter"; readonly delivery: Delivery; readonly topic: string; readonly headers: Headers }
  | { readonly kind: "extend"; readonly delivery: Delivery; readonly note: string | undefined };

/** `lost`: an older generation or lease, not sent. `unknown`: sent, and no word came back; it may come again. */
export type SettleOutcome = "done" | "lost" | "unknown";

export interface Subscription extends AsyncDisposable {
  /** Of an inbox: what goes into `Message.replyTo`. */
  readonly address: string | undefined;
  /** One array a fetch, never empty, in order. Iterated once. Ending the iteration stops intake and leaves what is in hand unsettled. */
  deliveries(): AsyncIterable<readonly Delivery[]>;
  /**
   * One outcome each, in order; never rejects for a single delivery. A log commits up to the first unfinished position.
   * Rejects with `CAPABILITY` where a kind or a note is not offered: the core asks for none of these.
   */
  settle(settlements: readonly Settlement[], options?: { readonly tx?: Transaction }): Promise<readonly SettleOutcome[]>;
  /** Takes effect for the next fetch; what is in hand stays. */
  credit(credit: Credit): void;
}

/** A number, or why it cannot be known. */
export type Known = number | { readonly unknown: string };

export interface Inspection {
  /** Kept and not yet settled by the group. */
  readonly depth: Known;
  readonly inFlight: Known;
  /** Not yet handed out to the group, or, where the transport cannot tell these apart, not yet settled. */
  readonly lagMessages: Known;
  /** Age of the oldest message that the group has not settled. */
  readonly oldestAgeMs: Known;
  /** The transport's own view of who is attached. */
  readonly consumers: readonly { readonly id: string; readonly inFlight: Known }[] | { readonly unknown: string };
}

export interface Topology {
  readonly topics: readonly string[];
  /** A group that does not exist starts at `latest`. */
  readonly groups: readonly { readonly topic: string; readonly group: string }[];
}

export interface Browsed {
  readonly message: Message;
  readonly position: Position;
}
export interface BrowseRequest {
  readonly topic: string;
  /** Only what this group has not settled. */
  readonly group: string;
  /** Pages on: only what comes after it. */
  readonly after: Position | undefined;
  readonly limit: number;
  readonly signal: AbortSignal;
}

/** `PublishNative` and `SubscribeNative` type the `native` options that users may give. */
export interface Transport<PublishNative = unknown, SubscribeNative = unknown> {
  /** Never set: it carries the types of `native` alone. */
  readonly "~native"?: { readonly publish: PublishNative; readonly subscribe: SubscribeNative };
  /** For people; nobody branches on it. */
  readonly name: string;
  /** The way out: the client library's own object. */
  readonly client: unknown;
  readonly lanes: Lanes;
  /** Of a topic or pattern, or at least of every one. After `connect` the truth; before it, what the configuration could give at most. */
  capabilities(topic?: string): Capabilities;
  /** Once. Rejects with `AUTH`, `TLS`, `CONFIG`, `FILE_VERSION`, `CORRUPT` (final) or a retryable error (the core tries again, with a new call). */
  connect(options: ConnectOptions): Promise<void>;
  /** Bounded, harmless twice. What is in flight is settled or indefinite. Subscriptions are disposed. */
  close(): Promise<void>;
  /** One outcome each, in order; never rejects for a single message. May be called again before it resolves (see `Lanes`). Repeats nothing by itself. */
  publish(messages: readonly Message[], options: PublishOptions): Promise<readonly PublishOutcome[]>;
  /** Resolves when every message published from now on will arrive. */
  subscribe(request: SubscribeRequest): Promise<Subscription>;
  /** Capability `transaction`: publish and settle with it as `tx`, then commit. */
  begin?(options: { readonly signal: AbortSignal }): Promise<Transaction>;
  /** Capability `inspect`. */
  inspect?(topic: string, group: string): Promise<Inspection>;
  /** Capability `topology`: makes what is missing; answers what it made. */
  declare?(topology: Topology): Promise<readonly string[]>;
  /** Capability `topology`: answers what is missing, and changes nothing. */
  check?(topology: Topology): Promise<readonly string[]>;
  /** Capability `browse`: looks, and takes nothing. Oldest first. */
  browse?(request: BrowseRequest): Promise<readonly Browsed[]>;
  /** Capability `remove`: settles for the group what `browse` showed; answers how many were still there. */
  remove?(topic: string, group: string, positions: readonly Position[]): Promise<number>;
  /** Capability `seek`: where the group goes on. Its members must be stopped, else `BUSY`. */
  seek?(topic: string, group: string, to: StartPosition): Promise<void>;
}

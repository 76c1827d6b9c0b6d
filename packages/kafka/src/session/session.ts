/**
 * The seam inside this package: what everything that talks to the brokers shares. One session a transport; it is made by
 * `connect` and never comes back after `close`.
 *
 * The client library gives connections and wire calls (`metadataV12.api` and so on); nothing of it sends again, and each call
 * ends within the request time-out of its connection: then the client destroys that connection, and all else on it ends too.
 * Wire calls have fixed versions, which `connect` checks against the brokers (`versions.ts`).
 */
import type { Connection } from "@platformatic/kafka";
import type { Clock, Message, PublishOutcome } from "@waybill/core";
import type { Settings } from "../options.ts";
import type { Limits } from "./limits.ts";

export interface PartitionMetadata {
  readonly partition: number;
  /** Node id; -1 while there is none. */
  readonly leader: number;
  readonly replicas: readonly number[];
}

export interface TopicMetadata {
  readonly name: string;
  readonly topicId: string;
  /** By number, with no holes. */
  readonly partitions: readonly PartitionMetadata[];
}

/** A connection of its own for each purpose and node: a call that the broker lets wait (a fetch, a join) holds up the others on it. */
export interface Purpose {
  /** `control`, `produce:0`, `fetch:…`, `group:…` */
  readonly name: string;
  /** For any answer on this connection. Default: the option. Has to be longer than what the broker may wait by itself. */
  readonly requestTimeoutMs?: number;
}

export interface Coordinator {
  readonly nodeId: number;
  readonly connection: Connection;
}

/** Of a group, or of a transactional id. Default `group`. */
export type CoordinatorKind = "group" | "transaction";

export interface MetadataOptions {
  /** What is known and no older is answered without asking. Default 60 s; 0 asks always. */
  readonly maxAgeMs?: number;
  /** Makes those that are missing, by the options of the transport, if these allow it. Default false. */
  readonly create?: boolean;
}

export interface KafkaSession {
  readonly settings: Settings;
  readonly clock: Clock;
  /** Unique; for member ids and inbox addresses. */
  readonly id: string;
  /** Fires at close. */
  readonly signal: AbortSignal;
  /** What the brokers' settings say. */
  readonly limits: Limits;
  /** Whether the control connection stands. */
  isUp(): boolean;
  /** Of those that exist; others are missing in the answer. Rejects with `CONNECTION`. */
  metadata(topics: readonly string[], options?: MetadataOptions): Promise<ReadonlyMap<string, TopicMetadata>>;
  /** What is known already, without asking. */
  knownTopic(topic: string): TopicMetadata | undefined;
  /** Names of all topics that are not the broker's own. */
  topicNames(): Promise<readonly string[]>;
  /** Forgets what is known of this topic: after an answer that says that it is not so any more. */
  forgetTopic(topic: string): void;
  /** Told when a topic comes into being through this session, so that nobody has to wait for the next look. Returns how to stop. */
  onTopic(told: (topic: string) => void): () => void;
  /** Open, and kept for this purpose until it breaks or `release`. Rejects with `CONNECTION`, `AUTH` or `TLS`. */
  connectionTo(nodeId: number, purpose: Purpose): Promise<Connection>;
  /** Kept until an answer says NOT_COORDINATOR (call `forgetCoordinator`) or its connection breaks. */
  coordinatorOf(group: string, purpose: Purpose, kind?: CoordinatorKind): Promise<Coordinator>;
  forgetCoordinator(group: string, kind?: CoordinatorKind): void;
  /** Closes the connections of a purpose. */
  release(purpose: string): void;
  /**
   * Publishes messages of any lanes, as `Transport.publish` does: dead letters, copies for delay topics. Within the delivery
   * time-out each is confirmed, refused or unknown; whoever called publishes again what is not ok. Never rejects.
   */
  publish(messages: readonly Message[], signal?: AbortSignal): Promise<readonly PublishOutcome[]>;
  /** Waits, unless the session closes: answers whether it may go on. */
  pause(delayMs: number): Promise<boolean>;
  close(): Promise<void>;
}

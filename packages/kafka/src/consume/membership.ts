import type { WaybillError } from "@waybill/core";
import type { KafkaSession } from "../session/session.ts";
import type { TopicPartition } from "./assignor.ts";

export interface MembershipOptions {
  readonly session: KafkaSession;
  readonly group: string;
  readonly host: MembershipHost;
}

/** Who commits: with an older one the coordinator refuses. */
export interface Identity {
  readonly memberId: string;
  /** Generation of the classic protocol, member epoch of KIP-848. */
  readonly generation: number;
  readonly instanceId: string | null;
}

/** Our place in a group, whichever protocol keeps it. */
export interface Membership {
  /** Undefined while we have none. */
  readonly identity: Identity | undefined;
  /** Reads these topics from now on. Resolves when the coordinator has answered to that; rejects when it never will. */
  read(topics: ReadonlySet<string>): Promise<void>;
  /** Partitions that were asked back are free now. */
  released(): void;
  /** The topics have other partitions than before. */
  topicsChanged(): void;
  /** Resolves when the coordinator agrees with us again, or at the latest after `waitMs`. */
  settled(waitMs: number): Promise<void>;
  /** Gives up the place that the coordinator knows, and asks for a new one. */
  rebuild(): void;
  /** Once nothing is owned any more. Bounded. */
  leave(): Promise<void>;
}

/** The group, as its membership sees it. */
export interface MembershipHost {
  /** All that is in our hands, what is being given back included. */
  owned(): readonly TopicPartition[];
  /** What is to be ours. What is not in it is given back first. */
  assigned(parts: readonly TopicPartition[]): void;
  /** Gives everything back, in good order. */
  revokeAll(): Promise<void>;
  /** Nothing is ours any more. */
  lostAll(): void;
  /** It can never work. */
  failed(error: WaybillError): void;
  /** Told of every failure that is tried again. */
  troubled(error: unknown): void;
}

import type { SubscriptionEvent, WaybillError } from "@waybill/core";
import type { TopicPartition } from "./assignor.ts";
import type { FetchSource } from "./fetcher.ts";
import type { PartQueue } from "./part-queue.ts";
import type { Progress } from "./progress.ts";

/**
 * A partition in our hands. `starting`: its place is being found. `revoking`: asked back, nothing more of it is handed out.
 * `gone`: not ours; whoever still holds something of it holds nothing.
 */
export type PartState = "starting" | "ready" | "revoking" | "gone";

export interface Part extends TopicPartition {
  /** `topic/partition` */
  readonly name: string;
  state: PartState;
  /** Of this having it: never used again. */
  generation: number;
  progress: Progress;
  queue: PartQueue;
  /** Whom its messages go to. */
  reader: PartReader | undefined;
  /** How it is fetched, once it is ready. */
  source: FetchSource | undefined;
  /** Below it may be handed out: the coordinator knows that somebody may have these. */
  openBelow: number;
  /** So many above what was handed out are written down as open. */
  ahead: number;
  /** It waited for a commit to hand out more. */
  isShort: boolean;
  /** Below it a member that did not leave in good order may have had them. */
  suspectBelow: number;
  /** The newest version of `progress` that the coordinator has. */
  writtenVersion: number;
  /** `next` when it was last written: how fast it goes on. */
  writtenNext: number;
}

/** A subscription, as its partitions see it. */
export interface PartReader {
  reads(topic: string): boolean;
  readonly parts: Set<Part>;
  /** There may be something to hand out. */
  wake(): void;
  onEvent(event: SubscriptionEvent): Promise<void> | void;
  /** One event for a burst of them. */
  gap(count: number, reason: string): void;
  failed(error: WaybillError): void;
}

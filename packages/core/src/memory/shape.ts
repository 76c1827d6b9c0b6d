import type {
  Browsed,
  BrowseRequest,
  Capabilities,
  Credit,
  Delivery,
  Inspection,
  Message,
  Position,
  PublishOutcome,
  Settlement,
  SettleOutcome,
  StartPosition,
  SubscribeRequest,
  Topology,
  Transaction,
} from "../transport.ts";

/**
 * What a broker of one shape keeps and does. The link calls it only while the broker is up, and every call has happened
 * when it returns: waiting, losing the connection and answering late are the link's affair.
 */
export interface Shape {
  readonly capabilities: Capabilities;
  /** One outcome each. */
  publish(messages: readonly Message[], tx: Transaction | undefined): readonly PublishOutcome[];
  /** Whether, with the last publish, somebody who is there had much more before him than he takes at once. */
  isBehind(): boolean;
  attach(request: SubscribeRequest, port: Port): Attachment;
  begin?(link: TransactionLink): Transaction;
  inspect?(topic: string, group: string): Inspection;
  declare?(topology: Topology): readonly string[];
  check?(topology: Topology): readonly string[];
  browse?(request: BrowseRequest): readonly Browsed[];
  remove?(topic: string, group: string, positions: readonly Position[]): number;
  seek?(topic: string, group: string, to: StartPosition): void;
  /** Messages that nobody was there for. */
  unheard(): number;
}

/** More than a fetch or two. */
export const muchWaiting = 2_000;

export interface TransactionLink {
  /** It is the connection on which the transaction began. */
  isUp(): boolean;
  /** A fault that a test wants. */
  commitFault(): CommitFault | undefined;
}

/** The commit is answered with an error: and it did not take effect, or it did. */
export type CommitFault = "before" | "after";

/** The reading end of a subscription, as its shape sees it. */
export interface Port {
  /** Of the subscription, for people. */
  readonly id: string;
  readonly credit: Credit;
  /** The iteration waits for something. */
  readonly waiting: boolean;
  /** Something may be ready: if the iteration waits, `take` is called. */
  wake(): void;
  /** Ends the iteration after what was handed out. */
  end(): void;
}

/** A subscription, as the link sees it. */
export interface Attachment {
  readonly address: string | undefined;
  /** What is ready and covered by the credit; empty if nothing is. */
  take(): Delivery[];
  settle(settlements: readonly Settlement[], tx: Transaction | undefined): readonly SettleOutcome[];
  /** The connection broke, or (`died`) its process ended: nobody is there to be told. What is in hand counts as an attempt. */
  drop(died: boolean): void;
  /** The connection is there again. Throws if it cannot go on. */
  resume(): void;
  /** Goes for good. What is in hand goes back and counts as nothing. */
  leave(): void;
}

import type { Subscription, WaybillError } from "@waybill/core";
import type { Link } from "./link.ts";

/** A subscription, as the connection sees it. */
export interface Attached {
  readonly subscription: Subscription;
  /** The connection is there: declare, consume. Rejects if it cannot go on. */
  up(link: Link): Promise<void>;
  /** The connection is gone: what is in hand is no longer ours. */
  down(reason: WaybillError): void;
  /** Ends for good, with this told. */
  fail(error: WaybillError): void;
  /** Of this queue, here and not handed out. */
  waitingOf(queue: string): number;
  /** What the broker should know of us; undefined: nothing at the moment. */
  readonly watched: { readonly queue: string } | undefined;
}

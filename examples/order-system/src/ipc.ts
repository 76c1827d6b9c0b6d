import type { Sabotage } from "./args.ts";
import type { Order, ServiceName } from "./contracts.ts";

/** What a service is told once, by its supervisor. It comes over the channel and not by arguments: an address may hold a password. */
export interface Settings {
  readonly service: ServiceName;
  readonly seed: number;
  /** Where messages go, as a URL. */
  readonly transport: string;
  /** Where data, inbox and outbox live: a database file; undefined: the transport's own. */
  readonly store: string | undefined;
  /** Of the shop's HTTP; 0 is any. */
  readonly port: number;
  readonly sabotage: Sabotage | undefined;
}

/**
 * Where in its work a service may be killed. `before`: it has the message, and has done nothing. `during`: its writes are in an
 * open transaction. `after`: the handler is done; commit or acknowledgement is under way. `committed`: its writes are committed,
 * and what has to follow them (an acknowledgement, a publish) is not.
 */
export type Moment = "before" | "during" | "after" | "committed";

export type OrderSource = "generator" | "input" | "http";

/** `resent`: an earlier shop was given it and died before it answered. */
export interface HandedIn {
  readonly order: Order;
  readonly source: OrderSource;
  /** Of the input. */
  readonly line: number | undefined;
  readonly resent: boolean;
}

/** `taken`: it is in the books, and is this hand-over's. `used`: another order has that id. `failed`: try again. */
export type Answer = { readonly id: string; readonly outcome: "taken" | "used" | "failed"; readonly reason?: string };

export type ToService =
  | { readonly kind: "settings"; readonly settings: Settings }
  | { readonly kind: "orders"; readonly orders: readonly HandedIn[] }
  /** Stop at that moment, say `at`, and wait there for the kill; if none comes, go on. */
  | { readonly kind: "arm"; readonly moment: Moment }
  /** Drain and end. */
  | { readonly kind: "stop" };

export type FromService =
  | { readonly kind: "ready"; readonly port: number | undefined }
  | { readonly kind: "answers"; readonly answers: readonly Answer[] }
  | { readonly kind: "at"; readonly moment: Moment }
  | { readonly kind: "failed"; readonly text: string };

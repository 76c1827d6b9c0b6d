import type { Clock, Store, Transport } from "@waybill/core";
import type { Wire } from "./proxy.ts";

/** Plain data, so that it can be handed to another process. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [name: string]: Json };

/**
 * What the suite needs to know of an adapter. A target is a module that exports `target`: child processes import the same
 * module and open the same broker by the `connection` that they are given.
 */
export interface ConformanceTarget {
  /** For people: `memory-log`, `embedded`. */
  readonly name: string;
  /**
   * A fresh broker, or file: what other runs left behind is not in it. Where it keeps time by a clock of ours, by `clock`.
   * Several brokers may be parts of one server (cases that stop, kill or pause it run alone); each has a network of its own.
   */
  start(clock?: Clock): Promise<Broker>;
  /** A transport of its own on that broker, not yet connected. */
  open(connection: Json): Transport;
  /** Whether `open` works from another process, so that crashes can be real ones. */
  readonly processes: boolean;
  /** `start(clock)` is honoured. */
  readonly clocked?: boolean;
  /** A store, on a database of its own unless `joined`. Without it the cases of exactly-once effects are not run. */
  readonly store?: (connection: Json, options: { readonly joined: boolean }) => TargetStore;
  readonly formats?: {
    /** Where the format has changed: a file of each older one, and what is in it. */
    older?(): Promise<{ readonly broker: Broker; readonly topic: string; readonly ids: readonly string[] }>;
    /** A file that says it was written by a newer version. */
    newer(): Promise<Broker>;
  };
}

export interface Broker extends AsyncDisposable {
  readonly connection: Json;
  readonly faults: Faults;
  /** Of the server, as it says it: printed with every table. */
  readonly version?: string;
  /** Somebody else's server: what would stop it is not tested, and the run counts as failed unless `BROKERS=available`. */
  readonly borrowed?: boolean;
  /** Another client of this server, which knows nothing of Waybill. */
  readonly foreign?: Foreign;
}

/** The bare client library, used the obvious way. */
export interface Foreign {
  /** Publishes these bytes to the topic, without a header, property or key of ours. */
  publish(topic: string, body: Uint8Array): Promise<void>;
  /** Takes part in the topic from when it resolves, and yields what is published: body and headers (properties) as this client shows them. */
  read(topic: string): Promise<ForeignReader>;
}
export interface ForeignReader {
  next(): Promise<{ readonly body: Uint8Array; readonly headers: Readonly<Record<string, string>> }>;
  close(): Promise<void>;
}

/** Between the transports that `open` makes of this broker's connection, in any process, and its servers: a proxy, or one before each server. */
export interface Network extends Wire {
  /** The same broker past this network: no fault of it reaches who connects by it. */
  readonly direct: Json;
  /** How long a transport of this target may take to find out that nothing arrives any more: heartbeats, keep-alives, request time-outs. */
  readonly noticesWithinMs: number;
}

/** What can be done to a broker. What is left out cannot be done to it, and its cases are reported as untested. */
export interface Faults {
  /** Publishes are neither taken nor refused until `unblock`. */
  readonly block?: () => Promise<void> | void;
  /** Publishes and settlements take effect, and nothing is answered until `unblock`. */
  readonly holdConfirms?: () => Promise<void> | void;
  readonly unblock?: () => Promise<void> | void;
  /** Away, and back with what it kept. */
  readonly stop?: () => Promise<void> | void;
  readonly start?: () => Promise<void> | void;
  /** The server's processes end, as by kill -9; `start` brings them back with what they kept. */
  readonly kill?: () => Promise<void> | void;
  /** All processes of the server stand still (SIGSTOP) until `resume`; their connections stay. */
  readonly pause?: () => void;
  readonly resume?: () => void;
  readonly network?: Network;
  /** Deletes on the server, behind the transports' backs, all that topic and group are made of there. */
  readonly wipe?: (topic: string, group: string) => Promise<void>;
  /** The process of this transport dies: nothing of it is said or sent any more. */
  readonly crash?: (transport: Transport) => void;
  /** No room any more; answers how to make room again. */
  readonly fillDisk?: () => Promise<() => Promise<void>>;
  /** Changes stored bytes of one message whose stored form holds `marker`. All transports are closed. */
  readonly corrupt?: (marker: string) => Promise<void>;
  /** Every commit of a store's transaction, in this process, gives no answer: before it takes effect, or after. Answers how to stop it. */
  readonly failCommit?: (when: "before" | "after") => () => void;
  /** Whether a message of this id is on the disk, as another reader of it sees it right now. */
  readonly holds?: (id: string) => Promise<boolean>;
  /** Copies every sound message to a new broker; answers it and how many positions were lost. All transports are closed. */
  readonly salvage?: () => Promise<{ readonly broker: Broker; readonly lost: number }>;
  /**
   * What the disk may hold if the power went now: brokers on copies whose last writes are cut off or torn, the newest state
   * (`whole`: everything written) first. Transports stay open; each broker is disposed by the case.
   */
  readonly afterPowerLoss?: (random: () => number, states: number) => AsyncIterable<{ readonly broker: Broker; readonly whole: boolean }>;
}

/** A store and what the cases do in the user's part of its database: a table of effects, one row an applied effect. */
export interface TargetStore {
  readonly store: Store;
  /** Makes the table of effects. */
  prepare(): Promise<void>;
  /** Inside a handler: writes one row. `tx` is `ctx.tx`. */
  apply(tx: unknown, group: string, id: string): Promise<void> | void;
  /** All rows. */
  effects(): Promise<readonly { readonly group: string; readonly id: string }[]>;
  close(): Promise<void>;
}

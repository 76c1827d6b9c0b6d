import type { Clock, Store, Transport } from "@waybill/core";

/** Plain data, so that it can be handed to another process. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [name: string]: Json };

/**
 * What the suite needs to know of an adapter. A target is a module that exports `target`: child processes import the same
 * module and open the same broker by the `connection` that they are given.
 */
export interface ConformanceTarget {
  /** For people: `memory-log`, `embedded`. */
  readonly name: string;
  /** A fresh broker, or file: what other runs left behind is not in it. Where it keeps time by a clock of ours, by `clock`. */
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
}

/** What can be done to a broker. What is left out cannot be done to it, and its cases are reported as untested. */
export interface Faults {
  /** Publishes are neither taken nor refused until `unblock`. */
  readonly block?: () => void;
  /** Publishes and settlements take effect, and nothing is answered until `unblock`. */
  readonly holdConfirms?: () => void;
  readonly unblock?: () => void;
  /** Away, and back with what it kept. */
  readonly stop?: () => Promise<void> | void;
  readonly start?: () => Promise<void> | void;
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

import type { Bus } from "@waybill/core";
import type { Database } from "../database.ts";
import type { FromService, HandedIn, Settings } from "../ipc.ts";
import type { Moments } from "./moments.ts";

/** What every service is set up with. */
export interface ServiceContext {
  readonly bus: Bus;
  readonly database: Database;
  readonly settings: Settings;
  readonly moments: Moments;
  report(message: FromService): void;
}

/** What a service adds to its bus before the start, and what it does around it. */
export interface Service {
  /** After the bus has started. Answers the port that it listens on, if any. */
  opened?(): Promise<number | undefined>;
  /** Orders of the generator and of the input; they are answered over the channel, each as soon as it can be. */
  take?(orders: readonly HandedIn[]): void;
  /** Before the bus is closed. */
  closing?(): Promise<void>;
}

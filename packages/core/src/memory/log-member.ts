import type { SubscribeRequest } from "../transport.ts";
import type { Progress } from "./log-progress.ts";
import type { Port } from "./shape.ts";

/** A subscription in a group, with the parts that it has in all topics of its pattern. */
export interface LogMember {
  readonly port: Port;
  readonly request: SubscribeRequest;
  readonly owned: Set<Progress>;
  inFlight: number;
  inFlightBytes: number;
}

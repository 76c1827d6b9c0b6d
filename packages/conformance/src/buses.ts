import { createBus } from "@waybill/core";
import type { Bus, BusOptions, Transport } from "@waybill/core";
import { collector, createRecorder, record } from "./recorder.ts";
import type { Recorder } from "./recorder.ts";
import { checkHistory } from "./checker.ts";
import type { Verdict } from "./anomalies.ts";
import type { Claim, HistoryEvent, HistoryRecord } from "./history.ts";
import type { Rig } from "./rig.ts";
import type { Broker } from "./target.ts";

export type BusChoices = Partial<Omit<BusOptions, "transport">> & {
  readonly broker?: Broker;
  /** Around its transport. */
  readonly around?: (transport: Transport) => Transport;
  /** Default true. */
  readonly start?: boolean;
};

/** A bus of its own transport, closed when the case ends. Subscriptions that are made before `start` belong into `set`. */
export async function openBus(rig: Rig, choices: BusChoices = {}, set: (bus: Bus) => void = () => undefined): Promise<Bus> {
  const { broker, around = (transport) => transport, start = true, ...options } = choices;
  const bus = createBus({ name: rig.unique("bus"), ...options, transport: around(rig.raw(broker)) });
  rig.defer(() => bus.close({ drain: "1s" }));
  set(bus);
  if (start) await rig.within("bus.start()", bus.start());
  return bus;
}

export interface Watched {
  readonly recorder: Recorder;
  readonly around: (transport: Transport) => Transport;
  readonly records: readonly HistoryRecord[];
  note(event: HistoryEvent): void;
  /** Ends the history, and judges it. */
  verdict(): Verdict;
}

/** Records what goes over a bus of this process. */
export function watched(rig: Rig, claim: Claim = { delivery: "at-least-once" }): Watched {
  const history = collector();
  const recorder = createRecorder({ run: rig.unique("run"), seed: rig.seed, proc: "here", inc: 0, write: history.write });
  return {
    recorder,
    records: history.records,
    note: (event) => recorder.add(event),
    around: (transport) => record(transport, recorder, { handles: true, claim }),
    verdict() {
      recorder.add({ f: "drain", type: "end", reason: "complete" });
      return checkHistory(history.records);
    },
  };
}

import { hash } from "node:crypto";
import { causeHeaders, deadLetterGroup } from "@waybill/core";
import type {
  Delivery,
  HandleMiddleware,
  Message,
  Settlement,
  SettleOutcome,
  SubscribeRequest,
  Subscription,
  Transport,
} from "@waybill/core";
import { around } from "./around.ts";
import { historyVersion } from "./history.ts";
import type { Claim, DeliveryEvent, DeliveryType, HistoryEvent, HistoryRecord, UnsequencedRecord } from "./history.ts";

export interface RecorderOptions {
  readonly run: string;
  readonly seed: number;
  readonly proc: string;
  /** New after each restart. */
  readonly inc: number;
  /** Writes it before it returns: what follows may end the process. */
  readonly write: (record: UnsequencedRecord) => void;
}

export interface Recorder {
  readonly add: (event: HistoryEvent) => void;
  /** The delivery that a handler of this process works on. */
  readonly opOf: (topic: string, group: string, id: string) => DeliveryEvent | undefined;
  readonly delivered: (delivery: Delivery, group: string | undefined) => DeliveryEvent;
  readonly nextOp: () => string;
}

export function createRecorder(options: RecorderOptions): Recorder {
  let ops = 0;
  const latest = new Map<string, DeliveryEvent>();
  const recorder: Recorder = {
    add(event) {
      const { run, seed, proc, inc } = options;
      options.write({ v: historyVersion, run, seed, proc, inc, tMono: Number(process.hrtime.bigint()), ...event });
    },
    nextOp: () => `${options.proc}.${options.inc}.${(ops += 1)}`,
    opOf: (topic, group, id) => latest.get(`${topic}\u0000${group}\u0000${id}`),
    delivered(delivery, group) {
      const { message } = delivery;
      const event: DeliveryEvent = {
        f: "delivery",
        type: "delivered",
        op: recorder.nextOp(),
        msg: message.id,
        dest: message.topic,
        ...(group === undefined ? {} : { group }),
        part: delivery.part,
        gen: delivery.generation,
        ...(delivery.position === undefined ? {} : { pos: delivery.position }),
        ...(delivery.attempt === undefined ? {} : { attempt: delivery.attempt }),
      };
      latest.set(`${message.topic}\u0000${group ?? ""}\u0000${message.id}`, event);
      recorder.add({ ...event, dig: digest(message), ...(delivery.leaseMs === undefined ? {} : { leaseMs: delivery.leaseMs }) });
      return event;
    },
  };
  return recorder;
}

/** Takes the records of all processes and puts them into one order. */
export function collector(): { readonly records: readonly HistoryRecord[]; readonly write: (record: UnsequencedRecord) => void } {
  const records: HistoryRecord[] = [];
  return { records, write: (record) => void records.push({ ...record, seq: records.length }) };
}

/**
 * The records of several processes of one host in the order in which they were written: their pipes are read in no order.
 * All take `tMono` from the same clock, before they act.
 */
export function inOrder(records: readonly HistoryRecord[]): readonly HistoryRecord[] {
  return records.toSorted((left, right) => left.tMono - right.tMono || left.seq - right.seq).map((each, seq) => ({ ...each, seq }));
}

export interface RecordOptions {
  /** Handlers run over it, with `handleMiddleware`: an acknowledgement without one is early. */
  readonly handles?: boolean;
  readonly claim?: Claim;
}

/** The same transport, with every publish, delivery and settlement recorded. */
export function record(transport: Transport, recorder: Recorder, options: RecordOptions = {}): Transport {
  return around(transport, {
    async publish(messages, publishing) {
      const ops = messages.map((message) => {
        const op = recorder.nextOp();
        recorder.add({
          ...sendOf(message, op),
          type: "invoke",
          dig: digest(message),
          ...(message.expiresAt === undefined ? {} : { expires: true }),
        });
        return op;
      });
      const outcomes = await transport.publish(messages, publishing);
      for (const [index, message] of messages.entries()) {
        const outcome = outcomes[index];
        const sent = sendOf(message, ops[index] ?? "");
        // In a transaction it has happened only when that is committed, which this wrapper does not see.
        if (outcome?.ok === true) recorder.add({ ...sent, type: publishing.tx === undefined ? "ok" : "info" });
        else {
          const err = { code: outcome?.error.code ?? "TRANSPORT", certainty: outcome?.error.certainty ?? "indefinite" };
          recorder.add({ ...sent, type: err.certainty === "definite" ? "fail" : "info", err });
        }
      }
      return outcomes;
    },
    async subscribe(request) {
      const dest = request.topic ?? request.pattern;
      const subscription = await transport.subscribe({
        ...request,
        async onEvent(event) {
          await request.onEvent(event);
          if (dest === undefined) return;
          const at = { dest, ...(request.group === undefined ? {} : { group: request.group }) };
          if (event.kind === "gap")
            recorder.add({ f: "gap", type: "counted", ...at, ...(event.count === undefined ? {} : { count: event.count }) });
          else if (event.kind !== "failed") recorder.add({ f: "group", type: "revoked", ...at, part: event.part });
        },
      });
      if (dest === undefined) return subscription;
      recorder.add({
        f: "group",
        type: "subscribed",
        dest,
        ...(request.group === undefined ? {} : { group: request.group }),
        handles: (options.handles ?? false) && request.group !== undefined && request.group !== deadLetterGroup,
        ...(options.claim === undefined ? {} : { claim: options.claim }),
      });
      return recordSubscription(subscription, request, recorder);
    },
  });
}

function recordSubscription(subscription: Subscription, request: SubscribeRequest, recorder: Recorder): Subscription {
  const events = new WeakMap<Delivery, DeliveryEvent>();
  const eventOf = (delivery: Delivery): DeliveryEvent => events.get(delivery) ?? recorder.delivered(delivery, request.group);
  return {
    address: subscription.address,
    async *deliveries() {
      for await (const batch of subscription.deliveries()) {
        for (const delivery of batch) events.set(delivery, recorder.delivered(delivery, request.group));
        yield batch;
      }
    },
    async settle(settlements, settling) {
      for (const { kind, delivery } of settlements) if (kind === "ack") recorder.add({ ...eventOf(delivery), type: "ack-invoke" });
      const outcomes = await subscription.settle(settlements, settling);
      for (const [index, settlement] of settlements.entries()) {
        const outcome = outcomes[index] ?? "unknown";
        const type = settledAs(settlement, settling?.tx !== undefined && outcome === "done" ? "unknown" : outcome);
        if (type === undefined) continue;
        recorder.add({
          ...eventOf(settlement.delivery),
          type,
          ...(settlement.kind === "dead-letter" ? { to: settlement.topic } : {}),
          ...(settlement.kind === "extend" ? { leaseMs: request.leaseMs } : {}),
        });
      }
      return outcomes;
    },
    credit: (credit) => subscription.credit(credit),
    [Symbol.asyncDispose]: () => subscription[Symbol.asyncDispose](),
  };
}

function settledAs(settlement: Settlement, outcome: SettleOutcome): DeliveryType | undefined {
  if (settlement.kind === "ack") return outcome === "done" ? "ack-ok" : outcome === "lost" ? "ack-fail" : "ack-info";
  if (outcome !== "done") return undefined;
  if (settlement.kind === "extend") return "extend";
  return settlement.kind === "dead-letter" ? "dead-lettered" : "nack";
}

/** Records when a handler begins, and how it ends. First of a subscription's middleware. */
export function handleMiddleware(recorder: Recorder): HandleMiddleware {
  return async (call, next) => {
    const { ctx } = call;
    const event = recorder.opOf(ctx.message.topic, ctx.group, ctx.message.id);
    if (event !== undefined) recorder.add({ ...event, type: "handle-start" });
    try {
      const result = await next(call);
      if (event !== undefined) recorder.add({ ...event, type: "handled-ok" });
      return result;
    } catch (error) {
      if (event !== undefined) recorder.add({ ...event, type: "handled-err" });
      throw error;
    }
  };
}

function sendOf(message: Message, op: string) {
  return {
    f: "send" as const,
    op,
    msg: message.id,
    dest: message.topic,
    ...(message.key === undefined ? {} : { key: message.key }),
    ...(message.group === undefined ? {} : { group: message.group }),
    ...(message.group === deadLetterGroup ? { from: message.headers[causeHeaders.group] ?? "" } : {}),
  };
}

/** Of the key, the body and the headers, without those that Waybill adds to a copy. */
export function digest(message: Message): string {
  const body =
    message.body instanceof Uint8Array
      ? hash("sha256", message.body, "hex")
      : hash("sha256", JSON.stringify(message.body) ?? "undefined", "hex");
  const headers = Object.entries(message.headers)
    .filter(([name]) => !name.startsWith("waybill-"))
    .toSorted(([left], [right]) => (left < right ? -1 : 1));
  return hash("sha256", JSON.stringify([message.key ?? null, body, headers]), "hex").slice(0, 32);
}

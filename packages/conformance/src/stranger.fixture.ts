/** A stranger's adapter: a fan-out without memory, in under a hundred lines. `lies` names a capability that it declares and does not have. */
import { capabilityNames, published, WaybillError } from "@waybill/core";
import type {
  Capabilities,
  CapabilityName,
  Delivery,
  Message,
  PublishOutcome,
  SubscribeRequest,
  Subscription,
  Transport,
} from "@waybill/core";

const has: readonly CapabilityName[] = ["confirm", "headers", "tombstone", "reader"];

interface Listener {
  readonly topic: string | undefined;
  take(message: Message): void;
}

export interface StrangeBroker {
  open(): Transport;
}

export function strangeBroker(lies?: CapabilityName): StrangeBroker {
  const listeners = new Set<Listener>();
  const entries = capabilityNames.map((name) => [name, { level: has.includes(name) || name === lies ? "native" : "none" }] as const);
  const capabilities = {
    ...(Object.fromEntries(entries) as Record<CapabilityName, { level: "native" | "none" }>),
    body: "value",
    durability: "D0",
    maxBodyBytes: 1 << 20,
  } satisfies Capabilities;
  const asks: readonly (readonly [CapabilityName, (message: Message) => boolean])[] = [
    ["publishToGroup", (message) => message.group !== undefined],
    ["delay", (message) => message.deliverAt !== undefined],
    ["expiry", (message) => message.expiresAt !== undefined],
    ["priority", (message) => message.priority !== undefined],
    ["mandatory", (message) => message.mandatory],
  ];
  const refusal = (message: Message): WaybillError | undefined => {
    if (message.native !== undefined) return new WaybillError("CONFIG", "no options of its own");
    if (message.body instanceof Uint8Array && message.body.byteLength > capabilities.maxBodyBytes)
      return new WaybillError("TOO_LARGE", "too large");
    const lacking = asks.find(([name, asked]) => asked(message) && capabilities[name].level === "none");
    return lacking === undefined ? undefined : new WaybillError("CAPABILITY", lacking[0]);
  };
  const refused = (request: SubscribeRequest): WaybillError | undefined => {
    if (request.native !== undefined) return new WaybillError("CONFIG", "no options of its own");
    if (request.signal.aborted) return new WaybillError("ABORTED", "the caller's signal fired");
    const lacking =
      request.group !== undefined || request.pattern !== undefined || request.inbox || request.order === "key" || request.from !== "latest";
    return lacking ? new WaybillError("CAPABILITY", "a reader of one topic, from now on") : undefined;
  };
  const open = (): Transport => {
    const mine = new Set<() => void>();
    let closed = false;
    return {
      name: "stranger",
      client: undefined,
      lanes: { of: () => "", batches: 1, maxMessages: 500, maxBytes: 1 << 20 },
      capabilities: () => capabilities,
      connect: async ({ onStatus }) => onStatus("connected"),
      async close() {
        closed = true;
        for (const end of mine) end();
      },
      async publish(messages, { signal }) {
        return messages.map((message): PublishOutcome => {
          const error = closed
            ? new WaybillError("CLOSED", "closed")
            : signal.aborted
              ? new WaybillError("ABORTED", "aborted")
              : refusal(message);
          if (error !== undefined) return { ok: false, error };
          for (const listener of listeners) if (listener.topic === message.topic) listener.take(message);
          return published;
        });
      },
      async subscribe(request): Promise<Subscription> {
        const error = refused(request);
        if (error !== undefined) throw error;
        const waiting: Delivery[] = [];
        let wake = Promise.withResolvers<void>();
        let ended = false;
        const take = (message: Message): void => {
          if (waiting.length >= 1_000) return void request.onEvent({ kind: "gap", count: 1, reason: "full" });
          waiting.push({
            message,
            attempt: undefined,
            position: undefined,
            part: "",
            generation: 0,
            leaseMs: undefined,
            note: undefined,
            takenOver: false,
            handle: undefined,
          });
          wake.resolve();
        };
        const listener = { topic: request.topic, take };
        const end = (): void => {
          listeners.delete(listener);
          mine.delete(end);
          ended = true;
          wake.resolve();
        };
        listeners.add(listener);
        mine.add(end);
        return {
          address: undefined,
          async *deliveries() {
            for (; !ended; wake = waiting.length > 0 ? wake : Promise.withResolvers<void>()) {
              await wake.promise;
              if (waiting.length > 0) yield waiting.splice(0);
            }
          },
          settle: async () => Promise.reject(new WaybillError("CAPABILITY", "nothing is settled")),
          credit: () => undefined,
          [Symbol.asyncDispose]: async () => end(),
        };
      },
    };
  };
  return { open };
}

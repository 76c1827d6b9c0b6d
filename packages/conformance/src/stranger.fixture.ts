/** A stranger's adapter: a fan-out without memory. `lies` names a capability that it declares and does not have. */
import { capabilityNames, published, WaybillError } from "@waybill/core";
import type {
  Capabilities,
  CapabilityName,
  Delivery,
  ErrorCode,
  Message,
  PublishOutcome,
  SubscribeRequest,
  Transport,
} from "@waybill/core";

const has: readonly CapabilityName[] = ["confirm", "headers", "tombstone", "reader"];
const unknown = { attempt: undefined, position: undefined, leaseMs: undefined, note: undefined, handle: undefined };
const maxBodyBytes = 1 << 20;

interface Listener {
  readonly topic: string | undefined;
  readonly take: (message: Message) => void;
}

export function strangeBroker(lies?: CapabilityName): { open(): Transport } {
  const listeners = new Set<Listener>();
  const levels = capabilityNames.map((name) => [name, { level: has.includes(name) || name === lies ? "native" : "none" }]);
  const capabilities = { ...Object.fromEntries(levels), body: "value", durability: "D0", maxBodyBytes } as Capabilities;
  const lacks = (name: CapabilityName): boolean => capabilities[name].level === "none";
  const refusal = (message: Message): ErrorCode | undefined => {
    const { body, deliverAt, expiresAt, group, mandatory, native, priority } = message;
    if (native !== undefined) return "CONFIG";
    if (body instanceof Uint8Array && body.byteLength > maxBodyBytes) return "TOO_LARGE";
    if (lacks("delay") && deliverAt !== undefined) return "CAPABILITY";
    if (lacks("expiry") && expiresAt !== undefined) return "CAPABILITY";
    if (lacks("priority") && priority !== undefined) return "CAPABILITY";
    if (lacks("publishToGroup") && group !== undefined) return "CAPABILITY";
    return lacks("mandatory") && mandatory ? "CAPABILITY" : undefined;
  };
  const refused = ({ from, group, inbox, native, order, pattern, signal }: SubscribeRequest): ErrorCode | undefined => {
    if (native !== undefined) return "CONFIG";
    if (signal.aborted) return "ABORTED";
    return group !== undefined || pattern !== undefined || inbox || order === "key" || from !== "latest" ? "CAPABILITY" : undefined;
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
          const code = closed ? "CLOSED" : signal.aborted ? "ABORTED" : refusal(message);
          if (code !== undefined) return { ok: false, error: new WaybillError(code, "not published") };
          for (const listener of listeners) if (listener.topic === message.topic) listener.take(message);
          return published;
        });
      },
      async subscribe(request) {
        const code = refused(request);
        if (code !== undefined) throw new WaybillError(code, "a reader of one topic, from now on");
        const waiting: Delivery[] = [];
        let wake = Promise.withResolvers<void>();
        let ended = false;
        const take = (message: Message): void => {
          if (waiting.length >= 1_000) return void request.onEvent({ kind: "gap", count: 1, reason: "the buffer is full" });
          waiting.push({ ...unknown, message, part: "", generation: 0, takenOver: false });
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
          settle: () => Promise.reject(new WaybillError("CAPABILITY", "nothing is settled")),
          credit: () => undefined,
          [Symbol.asyncDispose]: async () => end(),
        };
      },
    };
  };
  return { open };
}

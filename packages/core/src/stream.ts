import type { StreamItem } from "./bus-types.ts";
import type { Contract } from "./contract.ts";
import { WaybillError } from "./errors.ts";
import type { StartPosition, Subscription, SubscriptionEvent, Transport } from "./transport.ts";
import type { Wire } from "./wire.ts";

export interface StreamOptions {
  readonly transport: Transport;
  readonly wire: Wire;
  readonly topic: string | undefined;
  readonly pattern: string | undefined;
  readonly contract: Contract | undefined;
  readonly from: StartPosition;
  readonly signal: AbortSignal;
}

const credit = { messages: 1_000, bytes: 32 * 1024 * 1024 };

/** Reads a topic and takes nothing from anybody. Ends when `signal` fires; throws when a body cannot be read or the reading fails. */
export async function* readStream(options: StreamOptions): AsyncGenerator<StreamItem<unknown>, void, undefined> {
  const { transport, wire, contract, signal } = options;
  if (signal.aborted) return;
  let failure: WaybillError | undefined;
  const onEvent = (event: SubscriptionEvent): void => {
    if (event.kind === "failed") failure = event.error;
    if (event.kind === "gap") failure ??= new WaybillError("TRANSPORT", `${event.count ?? "some"} messages were missed: ${event.reason}`);
  };
  const subscription: Subscription = await transport.subscribe({
    topic: options.topic,
    pattern: options.pattern,
    group: undefined,
    from: options.from,
    credit,
    leaseMs: 30_000,
    order: "none",
    inbox: false,
    native: undefined,
    signal,
    onEvent,
  });
  const end = (): void => void subscription[Symbol.asyncDispose]();
  signal.addEventListener("abort", end, { once: true });
  try {
    for await (const batch of subscription.deliveries()) {
      for (const delivery of batch) {
        if (signal.aborted) return;
        const body = await wire.decode(delivery.message, contract);
        yield { body, message: delivery.message, position: delivery.position };
      }
      if (failure !== undefined) throw failure;
    }
    if (failure !== undefined) throw failure;
  } finally {
    signal.removeEventListener("abort", end);
    await subscription[Symbol.asyncDispose]();
  }
}

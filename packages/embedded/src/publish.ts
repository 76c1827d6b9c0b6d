import { type Message, published, type PublishOptions, type PublishOutcome, type Transaction, WaybillError } from "@waybill/core";
import { toError } from "./errors.ts";
import type { Link } from "./link.ts";
import type { Settings } from "./options.ts";
import { packMessages } from "./packing.ts";
import { ownTransaction } from "./transaction.ts";
import { untilAborted } from "./until-aborted.ts";
import { batchStates, stateCells } from "./worker/protocol.ts";

export type Publish = (messages: readonly Message[], choices: PublishOptions) => Promise<readonly PublishOutcome[]>;

export interface PublishParts {
  readonly settings: Settings;
  /** As `canonical` names it: transactions of it are taken. */
  readonly file: string;
  /** Throws where there is none. */
  readonly link: () => Link;
}

/** Publishing through the worker, or in a transaction of this thread. */
export function createPublish(options: PublishParts): Publish {
  const { settings, file } = options;
  let cells = 0;

  async function publish(messages: readonly Message[], choices: PublishOptions): Promise<readonly PublishOutcome[]> {
    if (choices.tx !== undefined) return publishIn(choices.tx, messages);
    let on: Link;
    try {
      on = options.link();
    } catch (error) {
      return all(messages, error as WaybillError);
    }
    if (choices.signal.aborted) return all(messages, new WaybillError("ABORTED", "the signal had fired before it was published"));
    const packed = packMessages(messages, settings.maxBodyBytes);
    const outcomes: PublishOutcome[] = Array.from({ length: messages.length }, () => published);
    if (packed.refused !== undefined) for (const [at, error] of packed.refused) outcomes[at] = { ok: false, error };
    if (packed.index.length === 0) return outcomes;
    const cell = 1 + (cells++ % (stateCells - 1));
    Atomics.store(on.shared, cell, batchStates.waiting);
    const data = packed.data.buffer as ArrayBuffer;
    const index = packed.index.buffer as ArrayBuffer;
    const { targets, timed, newestTime } = packed;
    const sent = on.request(
      { t: "publish", id: on.nextId(), cell, targets, data, index, timed, newestTime },
      [data, index],
      settings.lockTimeoutMs + 20_000,
    );
    const at = (n: number): number => packed.places?.[n] ?? n;
    const fill = (error: WaybillError): readonly PublishOutcome[] => {
      for (let i = 0; i < messages.length; i++) if (packed.refused?.has(i) !== true) outcomes[i] = { ok: false, error };
      return outcomes;
    };
    if (sent === undefined) return fill(new WaybillError("CONNECTION", "the embedded worker is being started again"));
    const reply = await untilAborted(sent, choices.signal);
    if (reply === "aborted") {
      const dropped = Atomics.compareExchange(on.shared, cell, batchStates.waiting, batchStates.dropped) === batchStates.waiting;
      if (dropped) return fill(new WaybillError("ABORTED", "the signal fired before it was written"));
      return fill(new WaybillError("ABORTED", "the signal fired while it was written", { certainty: "indefinite" }));
    }
    if (reply.t === "failed") return fill(toError(reply.failure));
    if (reply.t === "published" && reply.failures !== undefined) {
      for (const [n, failure] of reply.failures) outcomes[at(n)] = { ok: false, error: toError(failure) };
    }
    return outcomes;
  }

  async function publishIn(tx: Transaction, messages: readonly Message[]): Promise<readonly PublishOutcome[]> {
    const own = ownTransaction(tx, file);
    if (own === undefined) return all(messages, new WaybillError("CONFIG", "tx: expected a transaction of this transport or of its store"));
    try {
      return await own.publish(messages);
    } catch (error) {
      return all(messages, error as WaybillError);
    }
  }

  return publish;
}

function all(messages: readonly Message[], error: WaybillError): readonly PublishOutcome[] {
  const outcome: PublishOutcome = { ok: false, error };
  return messages.map(() => outcome);
}

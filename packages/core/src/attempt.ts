import type { Context, PublishChoices, Published } from "./bus-types.ts";
import type { Contract } from "./contract.ts";
import { durationMs, type Duration } from "./duration.ts";
import { WaybillError } from "./errors.ts";
import type { Item } from "./item.ts";
import type { Position } from "./transport.ts";

export type Verdict =
  | { readonly kind: "retry"; readonly afterMs: number | undefined; readonly error: WaybillError }
  | { readonly kind: "dead-letter"; readonly error: WaybillError };

/** What an attempt needs of its subscription; one object for all of them. */
export interface AttemptHost {
  readonly group: string;
  publish(attempt: Attempt, contract: Contract, body: unknown, options: PublishChoices | undefined): Promise<Published>;
  /** Undefined unless the subscription is `exactlyOnce`. */
  tx(attempt: Attempt): unknown;
}

/** The context of one attempt: made for each, so it holds little and makes the rest when asked. */
export class Attempt implements Context {
  readonly item: Item;
  readonly host: AttemptHost;
  verdict: Verdict | undefined;
  /** Its time is over: nothing that it does counts any more. */
  ended: boolean;
  /** Its transaction is being committed: a time-out now could not take that back. */
  committing: boolean;
  /** The store's transaction, once begun (see `exactly-once.ts`). */
  transaction: unknown;
  #abort: AbortController | undefined;
  #reason: WaybillError | undefined;

  constructor(item: Item, host: AttemptHost) {
    this.item = item;
    this.host = host;
    this.verdict = undefined;
    this.ended = false;
    this.committing = false;
    this.transaction = undefined;
  }

  get message(): Published {
    return this.item.delivery.message;
  }
  get group(): string {
    return this.host.group;
  }
  get attempt(): number {
    return this.item.attempt;
  }
  get position(): Position | undefined {
    return this.item.delivery.position;
  }
  get signal(): AbortSignal {
    if (this.#abort === undefined) {
      this.#abort = new AbortController();
      if (this.#reason !== undefined) this.#abort.abort(this.#reason);
    }
    return this.#abort.signal;
  }
  get tx(): never {
    this.#mustBeCurrent("tx");
    // The type of `tx` is the store's; only the subscription knows it.
    return this.host.tx(this) as never;
  }

  publish<Input, Output>(contract: Contract<Input, Output>, body: Input, options?: PublishChoices): Promise<Published> {
    if (this.ended) return Promise.reject(this.#stale("publish"));
    return this.host.publish(this, contract as Contract, body, options);
  }

  retry(options: { readonly after?: Duration; readonly reason?: string } = {}): never {
    this.#mustBeCurrent("retry");
    const afterMs = options.after === undefined ? undefined : durationMs(options.after, "retry.after");
    const error = new WaybillError("RETRY", options.reason ?? "the handler asked for a retry");
    this.verdict ??= { kind: "retry", afterMs, error };
    throw error;
  }

  deadLetter(reason: string): never {
    this.#mustBeCurrent("deadLetter");
    const error = new WaybillError("DEAD_LETTER", reason);
    this.verdict ??= { kind: "dead-letter", error };
    throw error;
  }

  /** Ends it: fires `signal` and refuses what comes after. */
  end(reason: WaybillError | undefined): void {
    this.ended = true;
    if (reason === undefined) return;
    this.#reason = reason;
    this.#abort?.abort(reason);
  }

  #mustBeCurrent(what: string): void {
    if (this.ended) throw this.#stale(what);
  }
  #stale(what: string): WaybillError {
    return new WaybillError("STALE_ATTEMPT", `ctx.${what} after the attempt had ended`);
  }
}

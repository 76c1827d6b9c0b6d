import { exponential, type Contract, type Published, type RetryOptions, type Transport } from "@waybill/core";
import type { PlacedOrder } from "../contracts.ts";
import { sqlOf, type Sql } from "../database.ts";
import type { ServiceContext } from "./context.ts";

/** What the work of a handler is given, whichever way it is run. */
export interface Work {
  readonly attempt: number;
  readonly sql: Sql;
  publish(contract: Contract<PlacedOrder>, order: PlacedOrder): Promise<Published>;
}

export interface EffectOptions {
  readonly group: string;
  /** May be broken by `--sabotage`. */
  readonly breakable: boolean;
  readonly never?: RetryOptions["never"];
  /** Before the transaction: what takes long, and what may fail. Throws, or gives up, as a handler does. */
  readonly prepare?: (order: PlacedOrder, ctx: { readonly attempt: number; deadLetter(reason: string): never }) => Promise<void>;
  readonly work: (order: PlacedOrder, work: Work) => Promise<void>;
}

const concurrency = 128;
const retry = { attempts: 5, backoff: exponential({ base: "20ms", max: "500ms" }), inProcess: true };

/** How soon another member takes over what a dead one had in hand, where that is a matter of time. */
export function leaseOf(transport: Transport, topic: string): { readonly lease?: string } {
  return transport.capabilities(topic).lease.level === "none" ? {} : { lease: "5s" };
}

/**
 * A handler whose effect happens exactly once: its writes, the inbox row and what it publishes are one commit.
 * With sabotage it is written as one should not: the audit has to notice.
 */
export function effect(service: ServiceContext, contract: Contract<PlacedOrder>, options: EffectOptions): void {
  const { bus, database, settings, moments } = service;
  const { group, work } = options;
  const shared = {
    group,
    concurrency,
    orderBy: "key-in-process",
    ...leaseOf(bus.transport, contract.topic),
    retry: options.never === undefined ? retry : { ...retry, never: options.never },
  } as const;

  const sabotage = options.breakable ? settings.sabotage : undefined;
  if (sabotage === "ack-early") {
    // Returns, and so acknowledges, before the work is done: what is in hand at a kill is lost.
    bus.subscribe(contract, shared, (order) => {
      void (async () => {
        await moments.reach("before");
        await inOwnTransaction(order);
      })().catch((error: unknown) => console.error(`${group}: ${error instanceof Error ? error.message : "failed"}`));
    });
    return;
  }
  if (sabotage === "skip-inbox") {
    // The effect commits by itself and no inbox row remembers it: a redelivery applies it again.
    bus.subscribe(contract, shared, async (order) => {
      await inOwnTransaction(order);
      await moments.reach("committed");
    });
    return;
  }

  bus.subscribe(contract, { ...shared, exactlyOnce: database.store }, async (order, ctx) => {
    await moments.reach("before");
    await options.prepare?.(order, ctx);
    await work(order, { attempt: ctx.attempt, sql: sqlOf(ctx.tx), publish: (to, body) => ctx.publish(to, body) });
    await moments.reach("during");
    moments.pass("after");
  });

  async function inOwnTransaction(order: PlacedOrder): Promise<void> {
    await bus.transact(database.store, async (ctx) => {
      await work(order, { attempt: 1, sql: sqlOf(ctx.tx), publish: (to, body) => ctx.publish(to, body) });
    });
  }
}

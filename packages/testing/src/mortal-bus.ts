import type {
  BatchChoices,
  BatchHandler,
  Bus,
  Contract,
  Handler,
  ReplyHandler,
  RequestContract,
  Store,
  SubscribeChoices,
} from "@waybill/core";
import { silence, type Life } from "./life.ts";
import { watchBatch, watchHandler } from "./watch.ts";
import type { World } from "./world.ts";

/**
 * The bus as a process has it: stores go through `mortal`, handlers are watched, and once the process is dead no call comes
 * back. `afterDeath` answers whoever is outside of the process.
 */
export function mortalBus(
  world: World,
  life: Life,
  bus: Bus,
  mortal: (store: Store) => Store,
  afterDeath: () => Promise<never> = silence,
): Bus {
  /** Until the death; what the dead bus says later is not heard. */
  function alive<T>(work: Promise<T>): Promise<T> {
    work.catch(() => undefined);
    return Promise.race([work, life.died.then(afterDeath)]);
  }
  const choicesOf = <C extends SubscribeChoices>(choices: C): C => {
    const { exactlyOnce } = choices;
    return typeof exactlyOnce === "object" ? { ...choices, exactlyOnce: mortal(exactlyOnce) } : choices;
  };

  const own = {
    ...bus,
    publish: (...args: Parameters<Bus["publish"]>) => alive(bus.publish(...args)),
    publishMany: (contract: Contract, bodies: readonly unknown[], options?: never) => alive(bus.publishMany(contract, bodies, options)),
    request: (...args: Parameters<Bus["request"]>) => alive(bus.request(...args)),
    subscribe: (target: Contract, choices: SubscribeChoices, handler: Handler<unknown>) =>
      bus.subscribe(target, choicesOf(choices), watchHandler(world, life, handler)),
    subscribeBatch: (target: Contract, choices: BatchChoices, handler: BatchHandler<unknown>) =>
      bus.subscribeBatch(target, choicesOf(choices), watchBatch(world, life, handler)),
    reply: (contract: RequestContract, choices: SubscribeChoices, handler: ReplyHandler<unknown, unknown>) =>
      bus.reply(contract, choices, watchHandler(world, life, handler)),
    transact: (store: Store, work: Parameters<Bus["transact"]>[1]) => alive(bus.transact(mortal(store), work)),
    [Symbol.asyncDispose]: () => bus.close(),
  };
  // The typed face, as in the bus itself.
  return own as unknown as Bus;
}

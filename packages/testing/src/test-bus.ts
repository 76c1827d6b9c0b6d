import {
  createBus,
  createIds,
  memoryBroker,
  WaybillError,
  type Bus,
  type BusOptions,
  type Contract,
  type DeadLetter,
  type Duration,
  type MemoryBroker,
  type MemoryOptions,
  type MetricsSnapshot,
  type PublishChoices,
  type Published,
  type RequestContract,
  type Store,
} from "@waybill/core";
import { readFaults, readReplay, type Faults } from "./faults.ts";
import { createLife, type Life } from "./life.ts";
import { mortalBus } from "./mortal-bus.ts";
import { mortalStore } from "./mortal-store.ts";
import { mortalTransport } from "./mortal-transport.ts";
import { createRandom, randomSeed } from "./random.ts";
import { createRecorder, type AttemptRecord, type PublishedRecord } from "./recorder.ts";
import { settle } from "./settle.ts";
import { virtualClock, type TestClock } from "./virtual-clock.ts";
import { createWorld, type World } from "./world.ts";

/** What a service does to its bus before the start; the same function as in production. */
export type Setup = (bus: Bus) => void;

export interface TestBusOptions {
  /** Decides which faults happen and when. Default: `WAYBILL_TEST_SEED`, else a new one. */
  readonly seed?: number;
  readonly faults?: Faults;
  /** What `memory()` takes, but the clock. Default: a queue. */
  readonly memory?: MemoryOptions;
  /** What `createBus` takes, but the transport and the clock. */
  readonly bus?: Partial<Omit<BusOptions, "transport" | "clock">>;
  /** Where the wall clock starts, ms since the epoch. */
  readonly now?: number;
  /** Of `node:test`: closes the bus after the test and, if it failed, prints the seed. */
  readonly test?: TestEnd;
}

/** What `node:test` gives to a test. */
export interface TestEnd {
  readonly passed?: boolean;
  after(run: () => Promise<void>): void;
  diagnostic(text: string): void;
}

type Target = { readonly topic: string } | string;
type BodyOf<C> = C extends Contract<infer _Input, infer _Output> ? _Input : unknown;

export interface TestBus extends AsyncDisposable {
  /** Of the process that lives now. What is asked of it when it dies rejects with `CONNECTION_LOST`. */
  readonly bus: Bus;
  readonly broker: MemoryBroker;
  readonly clock: TestClock;
  readonly seed: number;
  /** Publishes from outside: when the process dies under it, again with the same id. */
  publish<Input, Output>(contract: Contract<Input, Output>, body: Input, options?: PublishChoices): Promise<Published>;
  request<Input, Output, ReplyInput, ReplyOutput>(
    contract: RequestContract<Input, Output, ReplyInput, ReplyOutput>,
    body: Input,
    options?: { readonly timeout?: Duration },
  ): Promise<ReplyOutput>;
  /** Lets time pass. Each timer runs at its time, and what it sets going goes on before the next. */
  advance(by: Duration): Promise<void>;
  /** Resolves when all has happened that can happen without time passing. */
  idle(): Promise<void>;
  /** What the broker has confirmed, in its order, each id once. */
  published<C extends Target>(contract: C): readonly PublishedRecord<BodyOf<C>>[];
  /** Every call of a handler for this contract, topic or message id, in their order. */
  attempts(of: Target): readonly AttemptRecord[];
  /** The attempts whose handler returned. */
  readonly handled: readonly AttemptRecord[];
  deadLetters(contract: Target, options: { readonly group: string }): Promise<readonly DeadLetter[]>;
  /** Of the process that lives now. */
  metrics(): MetricsSnapshot;
  /** Kills the process, which starts anew. */
  crash(): Promise<void>;
  /** Each call into the transport or a store is two crash points: before it, and between its effect and its answer. */
  readonly points: readonly string[];
  readonly crashes: World["crashes"];
  close(): Promise<void>;
}

interface Being {
  readonly life: Life;
  readonly bus: Bus;
  /** As the test has it. */
  readonly outside: Bus;
  readonly started: Promise<void>;
  isStarted: boolean;
}

const settleStoreMs = 5_000;
const driveMs = 120_000;

/**
 * Runs a service with no broker and under virtual time. Rejects as `bus.start()` does.
 * @throws `CONFIG`
 */
export async function testBus(setup: Setup, options: TestBusOptions = {}): Promise<TestBus> {
  const seed = options.seed ?? readReplay()?.seed ?? randomSeed();
  const settled = (): Promise<void> => rest();
  const clock = virtualClock({ settled, ...(options.now === undefined ? {} : { now: options.now }) });
  const broker = memoryBroker({ ...options.memory, clock });
  const world = createWorld({
    broker,
    clock,
    faults: readFaults(options.faults ?? {}),
    random: createRandom(seed),
    recorder: createRecorder(),
  });
  const nextId = createIds();
  const buried: Being[] = [];
  let failure: { readonly error: unknown } | undefined;
  let closing: Promise<void> | undefined;
  let observing: Promise<Bus> | undefined;
  let births = Promise.withResolvers<void>();
  let being = live();

  function live(): Being {
    const life = createLife(world);
    const inner = broker.open();
    const transport = mortalTransport(world, life, inner);
    const stores = new Map<Store, Store>();
    const mortal = (store: Store): Store => {
      let known = stores.get(store);
      if (known === undefined) {
        known = mortalStore(world, life, store, (own) => (own === transport ? inner : own));
        stores.set(store, known);
        stores.set(known, known);
      }
      return known;
    };
    const outbox = options.bus?.outbox?.map(mortal);
    const bus = createBus({ name: "test", ...options.bus, ...(outbox === undefined ? {} : { outbox }), transport, clock: life.clock });
    setup(mortalBus(world, life, bus, mortal));
    // Not at once: it may die on its first call, and by then has to be known here.
    const started = Promise.resolve().then(() => bus.start());
    const made: Being = { life, bus, started, isStarted: false, outside: mortalBus(world, life, bus, mortal, processDied) };
    started.then(
      () => {
        made.isStarted = true;
        world.stir();
      },
      (error: unknown) => {
        if (!life.isDead) failure ??= { error };
      },
    );
    life.atDeath(() => {
      broker.crash(inner);
      buried.push(made);
      setImmediate(rise);
    });
    return made;
  }

  function rise(): void {
    if (closing !== undefined) return;
    world.stir();
    try {
      being = live();
    } catch (error) {
      failure ??= { error };
    }
    const born = births;
    births = Promise.withResolvers();
    born.resolve();
  }

  async function rest(): Promise<void> {
    const until = performance.now() + settleStoreMs;
    do await settle(() => world.activity);
    while (world.realCalls > 0 && performance.now() < until);
    if (failure !== undefined) throw failure.error;
  }

  /** Lets time pass until it is done. */
  async function drive(isDone: () => boolean): Promise<void> {
    const end = clock.monotonic() + driveMs;
    await settled();
    while (!isDone() && clock.step(end - clock.monotonic())) await settled();
  }

  async function driven<T>(work: Promise<T>): Promise<T> {
    let isDone = false;
    const noted = work.finally(() => {
      isDone = true;
    });
    noted.catch(() => undefined);
    await drive(() => isDone);
    if (!isDone) throw new WaybillError("BUSY", `not done after ${driveMs} ms of virtual time`);
    return work;
  }

  async function publish(contract: Contract, body: unknown, choices: PublishChoices = {}): Promise<Published> {
    const id = choices.id ?? nextId();
    for (;;) {
      const { life, bus, started } = being;
      const work = started.then(() => bus.publish(contract, body, { ...choices, id }));
      const outcome = await Promise.race([work, life.died]);
      if (outcome !== undefined) return outcome;
      await born(life);
    }
  }

  async function born(after: Life): Promise<void> {
    while (being.life === after && closing === undefined) await births.promise;
    if (closing !== undefined) throw new WaybillError("CLOSED", "the test bus is closed");
  }

  /** A bus of the test's own, which does not die and is counted nowhere. */
  function observe(): Promise<Bus> {
    return (observing ??= (async () => {
      const { namespace } = options.bus ?? {};
      const bus = createBus({ name: "observer", ...(namespace === undefined ? {} : { namespace }), transport: broker.open(), clock });
      await bus.start();
      return bus;
    })());
  }

  async function shut(): Promise<void> {
    world.calm();
    births.resolve();
    const closed = being.life.isDead ? Promise.resolve() : being.bus.close();
    try {
      failure = undefined;
      await driven(closed);
    } finally {
      const observer = await observing?.catch(() => undefined);
      await observer?.close({ drain: 0 });
      await Promise.all(buried.map(bury));
    }
  }

  async function bury({ life, bus }: Being): Promise<void> {
    life.hurry();
    await bus.close({ drain: 0 });
    life.rest();
  }

  const bare = (target: Target): string => (typeof target === "string" ? target : target.topic);
  const namespace = options.bus?.namespace;
  const topicOf = (target: Target): string => (namespace === undefined ? bare(target) : `${namespace}.${bare(target)}`);

  const test: TestBus = {
    get bus() {
      return being.outside;
    },
    broker,
    clock,
    seed,
    publish: publish as TestBus["publish"],
    request: (contract, body, settings) => being.outside.request(contract, body, settings),
    advance: (by) => clock.advance(by),
    idle: settled,
    published: <C extends Target>(contract: C) =>
      world.recorder.published.filter(({ message }) => message.topic === topicOf(contract)) as readonly PublishedRecord<BodyOf<C>>[],
    attempts: (of) => world.recorder.attempts.filter(({ topic, id }) => topic === topicOf(of) || id === of),
    get handled() {
      return world.recorder.attempts.filter(({ state }) => state === "handled");
    },
    deadLetters: (contract, settings) => driven(observe().then((bus) => bus.deadLetters(bare(contract), settings).list())),
    metrics: () => being.bus.metrics(),
    async crash() {
      const { life } = being;
      life.kill();
      await drive(() => being.life !== life && being.isStarted);
    },
    points: world.points,
    crashes: world.crashes,
    close: () => (closing ??= shut()),
    [Symbol.asyncDispose]: () => test.close(),
  };

  try {
    await drive(() => being.isStarted);
    if (!being.isStarted) throw new WaybillError("BUSY", `the bus did not start within ${driveMs} ms of virtual time`);
  } catch (error) {
    await test.close();
    throw error;
  }
  options.test?.after(async () => {
    if (options.test?.passed === false) options.test.diagnostic(`seed ${seed}: WAYBILL_TEST_SEED=${seed} repeats it`);
    await test.close();
  });
  return test;
}

function processDied(): Promise<never> {
  return Promise.reject(new WaybillError("CONNECTION_LOST", "the process died before it answered"));
}

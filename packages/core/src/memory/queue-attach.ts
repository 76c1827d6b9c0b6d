import { WaybillError } from "../errors.ts";
import type { Delivery, Settlement, SettleOutcome, SubscribeRequest, Transaction } from "../transport.ts";
import type { Inboxes } from "./inbox.ts";
import { createGaps } from "./gap.ts";
import { doneAll } from "./outcomes.ts";
import type { Entry, Member } from "./queue-entry.ts";
import type { GroupQueue } from "./queue-group.ts";
import type { QueueTopic } from "./queue-topic.ts";
import type { Transactions } from "./queue-transaction.ts";
import type { QueueBroker } from "./queue.ts";
import type { Attachment, Port } from "./shape.ts";

function createMember(request: SubscribeRequest, port: Port, settles: boolean): Member {
  return { port, settles, leaseMs: request.leaseMs, inFlight: 0, inFlightBytes: 0, gap: createGaps(request) };
}

/** A member of a group: in one queue, or with a pattern in that of every topic that matches. */
export function attachGroup(
  broker: QueueBroker,
  transactions: Transactions,
  request: SubscribeRequest,
  port: Port,
  group: string,
): Attachment {
  const { topics, queues } = broker;
  const member = createMember(request, port, true);
  const keyed = request.order === "key";
  const joined: GroupQueue[] = [];
  let first = 0;
  let unwatch: (() => void) | undefined;

  function join(topic: QueueTopic): void {
    const queue = topic.ensureGroup(group);
    if (!queue.join(member, keyed)) {
      throw new WaybillError("CONFIG", `group "${group}" of topic "${topic.name}": its members must all ask for the same order`);
    }
    joined.push(queue);
    queue.handOut();
  }

  function enter(): void {
    try {
      if (request.topic !== undefined) return join(topics.ensure(request.topic));
      const pattern = request.pattern as string;
      topics.bind(pattern, group);
      unwatch = topics.watch(pattern, join);
    } catch (error) {
      leave(false);
      throw error;
    }
  }

  function leave(counted: boolean): void {
    unwatch?.();
    unwatch = undefined;
    for (const queue of joined.splice(0)) queue.leave(member, counted);
  }

  function take(): Delivery[] {
    const only = joined[0];
    if (joined.length === 1 && only !== undefined) return only.take(member);
    const all: Delivery[] = [];
    first += 1;
    for (let step = 0; step < joined.length; step += 1) {
      const taken = joined[(first + step) % joined.length]?.take(member);
      if (taken !== undefined) for (const delivery of taken) all.push(delivery);
    }
    return all;
  }

  /** What is this member's by the very delivery that is settled. */
  function heldBy({ handle, generation }: Delivery): Entry | undefined {
    const entry = handle as Entry | undefined;
    return entry?.lease?.member === member && entry.generation === generation ? entry : undefined;
  }

  function settle(settlements: readonly Settlement[], tx: Transaction | undefined): readonly SettleOutcome[] {
    const noted = tx === undefined ? undefined : transactions.noted(tx);
    if (tx !== undefined && noted === undefined) throw new WaybillError("CLOSED", "the transaction is over");
    let outcomes: SettleOutcome[] | undefined;
    const extended = new Map<GroupQueue, Entry[]>();
    for (let index = 0; index < settlements.length; index += 1) {
      const settlement = settlements[index] as Settlement;
      const entry = heldBy(settlement.delivery);
      if (entry === undefined) (outcomes ??= [...doneAll(settlements.length)])[index] = "lost";
      else if (noted !== undefined) noted.settlements.push({ entry, generation: entry.generation, settlement });
      else if (settlement.kind === "extend") note(entry, settlement.note);
      else broker.settle(entry, settlement);
    }
    for (const [queue, entries] of extended) queue.extend(entries);
    broker.handOut();
    // Room of its own may let in what another of its queues has.
    port.wake();
    return outcomes ?? doneAll(settlements.length);

    function note(entry: Entry, text: string | undefined): void {
      if (text !== undefined) entry.note = text;
      const entries = extended.get(entry.home);
      if (entries === undefined) extended.set(entry.home, [entry]);
      else entries.push(entry);
    }
  }

  enter();
  return {
    address: undefined,
    take,
    settle,
    drop(died) {
      leave(true);
      if (!died) void request.onEvent({ kind: "lost", part: "", generation: queues.nextGeneration() });
    },
    resume: enter,
    leave: () => leave(false),
  };
}

/** Reads what is published from now on, and takes nothing from anybody. With `inboxes` it is the owner of an address. */
export function attachReader(
  { topics, queues }: QueueBroker,
  request: SubscribeRequest,
  port: Port,
  inboxes: Inboxes<GroupQueue> | undefined,
): Attachment {
  const member = createMember(request, port, false);
  const address = inboxes?.open();
  const queue = inboxes === undefined ? queues.own(port.id) : (inboxes.find(address as string) as GroupQueue);
  queue.join(member, false);
  const read = new Set<QueueTopic>();
  const join = (topic: QueueTopic): void => {
    read.add(topic);
    topic.readers.push(queue);
  };
  let unwatch: (() => void) | undefined;
  const leave = (): void => {
    unwatch?.();
    if (address !== undefined) inboxes?.close(address);
    queue.leave(member, false);
    for (const topic of read) {
      topic.readers.splice(topic.readers.indexOf(queue), 1);
      if (topic.queues.length === 0 && topic.readers.length === 0) topics.drop(topic.name);
    }
    read.clear();
  };
  if (request.topic !== undefined) join(topics.ensure(request.topic));
  else if (request.pattern !== undefined) unwatch = topics.watch(request.pattern, join);

  return {
    address,
    take: () => queue.take(member),
    // Nothing was taken from anybody: there is nothing to do, and it is done.
    settle: (settlements) => doneAll(settlements.length),
    // Its queue outlives the connection: nothing is published while the broker is away.
    drop: (died) => (died ? leave() : undefined),
    resume: () => port.wake(),
    leave,
  };
}

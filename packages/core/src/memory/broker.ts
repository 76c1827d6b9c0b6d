import type { Lanes, Transport } from "../transport.ts";
import { createTurn } from "../turn.ts";
import { createLink, type Host, type Link, type MemoryTransport } from "./link.ts";
import { createLogShape } from "./log.ts";
import { readOptions, type MemoryOptions, type Settings } from "./options.ts";
import { createPushShape } from "./push.ts";
import { createQueueShape } from "./queue.ts";
import type { CommitFault, Shape } from "./shape.ts";

/**
 * A broker in this process, for several transports: several services in one test, or one that crashes and another that
 * takes over. What it keeps ends with it.
 */
export interface MemoryBroker {
  /** Messages published so far that nobody was there for, so that nobody keeps them. */
  readonly unheard: number;
  /** A new transport on it, not yet connected. */
  open(): MemoryTransport;
  /**
   * The process of this transport dies, as far as the broker can tell: what it held goes to others, as one more attempt.
   * The transport itself learns nothing: from now on nothing of it is heard or answered, until it is closed.
   */
  crash(transport: Transport): void;
  /**
   * `publishes` (default): none is taken or refused. `confirms`: publishes and settlements take effect, and their answers are
   * held back. If the broker stops before `unblock`, nobody learns what became of them.
   */
  block(what?: "publishes" | "confirms"): void;
  unblock(): void;
  /** Goes away, with what it keeps: connections break, and what is on its way is indefinite. */
  stop(): void;
  /** Comes back; its transports connect again and their subscriptions go on. */
  start(): void;
  /** Answers each commit with `TX_UNKNOWN`, before it takes effect or after. Answers how to stop it. */
  failCommit(when: CommitFault): () => void;
}

/** @throws `CONFIG` */
export function memoryBroker(options: MemoryOptions = {}): MemoryBroker {
  const settings = readOptions(options);
  const links = new Map<Transport, Link>();
  let up = true;
  let blocked: "publishes" | "confirms" | undefined;
  let commitFault: CommitFault | undefined;
  let opened = 0;

  function unblock(): void {
    blocked = undefined;
    for (const link of links.values()) link.unblock();
  }

  const broker: MemoryBroker = {
    get unheard() {
      return host.shape.unheard();
    },
    open() {
      opened += 1;
      const link = createLink(host, `memory-${opened}`);
      links.set(link.transport, link);
      return link.transport;
    },
    crash: (transport) => links.get(transport)?.crash(),
    block(what = "publishes") {
      blocked = what;
    },
    unblock,
    stop() {
      up = false;
      blocked = undefined;
      for (const link of links.values()) link.goDown();
    },
    start() {
      up = true;
      for (const link of links.values()) link.comeUp();
    },
    failCommit(when) {
      commitFault = when;
      return () => (commitFault = undefined);
    },
  };
  const host: Host = {
    settings,
    shape: createShape(settings),
    turn: createTurn(settings.clock),
    client: broker,
    lanes: oneLane,
    isUp: () => up,
    holds: () => blocked,
    commitFault: () => commitFault,
    closed: (link) => links.delete(link.transport),
  };
  return broker;
}

/** One batch at a time: what is published meanwhile makes the next one fuller. */
const oneLane: Lanes = { of: () => "", batches: 1, maxMessages: 1_000, maxBytes: 8 * 1024 * 1024 };

function createShape(settings: Settings): Shape {
  switch (settings.shape) {
    case "queue":
      return createQueueShape(settings);
    case "log":
      return createLogShape(settings);
    case "push":
      return createPushShape(settings);
  }
}

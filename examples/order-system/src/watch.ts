import { deadLetterGroup, deadLetterTopic, type Bus, type DeadLetter, type Known } from "@waybill/core";
import type { DeadOrder, QueueCount } from "./audit.ts";
import { GetQuote, stations } from "./contracts.ts";

/** What the transport itself counts. */
export interface Watch {
  /** As of the last `refresh`. */
  readonly deadLettered: number;
  depthOf(group: string): number | string;
  /** Asks the transport again; when it cannot answer just now, what it said before stays. Two calls at once are one. */
  refresh(): Promise<void>;
  /** All queues, the quotes' among them. */
  queues(): Promise<readonly QueueCount[]>;
  deadOrders(): Promise<readonly DeadOrder[]>;
  /** Dead letters, each counted once. */
  deadNow(): Promise<number>;
}

const mostLetters = 1_000_000;

export function watchTransport(bus: Bus): Watch {
  const { transport } = bus;
  let deadLettered = 0;
  let depths = new Map<string, number | string>();
  let asking: Promise<void> | undefined;

  async function depth(topic: string, group: string): Promise<number | string> {
    const { level, why } = transport.capabilities(topic).inspect;
    if (level === "none" || transport.inspect === undefined) return why ?? "the transport does not tell";
    return known((await transport.inspect(topic, group)).depth);
  }

  async function deadIn(contract: { readonly topic: string }, group: string): Promise<number> {
    const counted = await depth(deadLetterTopic(contract.topic, group), deadLetterGroup);
    // Counting them one by one is dear: only where the transport does not tell.
    return typeof counted === "number" ? counted : bus.deadLetters(contract.topic, { group }).count();
  }

  async function ask(): Promise<void> {
    const all = await Promise.all(
      stations.map(async ({ contract, group }) => ({
        group,
        depth: await depth(contract.topic, group),
        dead: await deadIn(contract, group),
      })),
    );
    depths = new Map(all.map((station) => [station.group, station.depth]));
    deadLettered = all.reduce((sum, station) => sum + station.dead, 0);
  }

  return {
    get deadLettered() {
      return deadLettered;
    },
    depthOf: (group) => depths.get(group) ?? "not asked yet",
    refresh() {
      asking ??= ask()
        .catch(() => undefined)
        .finally(() => (asking = undefined));
      return asking;
    },
    async queues() {
      const queues = [
        ...stations.map(({ contract, group }) => ({ topic: contract.topic, group })),
        { topic: GetQuote.topic, group: "pricing" },
      ];
      return Promise.all(queues.map(async ({ topic, group }) => ({ name: `${topic} of ${group}`, depth: await depth(topic, group) })));
    },
    deadOrders,
    async deadNow() {
      return isAtomic() ? deadLettered : (await deadOrders()).length;
    },
  };

  /** Whether a message leaves its group and enters the dead letters in one step. If not, a crash in between makes a second copy. */
  function isAtomic(): boolean {
    return stations.every(({ contract }) => transport.capabilities(contract.topic).deadLetter.level !== "none");
  }

  async function deadOrders(): Promise<readonly DeadOrder[]> {
    const lists = await Promise.all(
      stations.map(async ({ contract, group }) => {
        const letters = await bus.deadLetters(contract, { group }).list({ limit: mostLetters });
        const copies = isAtomic() ? letters : [...new Map(letters.map((letter) => [letter.message.id, letter])).values()];
        return copies.map((letter) => deadOrder(letter, group));
      }),
    );
    return lists.flat();
  }
}

function known(value: Known): number | string {
  return typeof value === "number" ? value : value.unknown;
}

/** The order's id is the message's key. */
function deadOrder({ message, cause }: DeadLetter, group: string): DeadOrder {
  return { orderId: message.key ?? message.id, group, code: cause.code, text: cause.text, attempts: cause.attempts };
}

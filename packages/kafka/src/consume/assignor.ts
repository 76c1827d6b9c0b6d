/** A partition of a topic. */
export interface TopicPartition {
  readonly topic: string;
  readonly partition: number;
}

export interface AssignorMember {
  readonly memberId: string;
  readonly topics: ReadonlySet<string>;
  /** What it has now, as it says. */
  readonly owned: readonly TopicPartition[];
  /** Of the generation in which it got them; an older claim yields. */
  readonly generation: number;
}

export type Assignments = ReadonlyMap<string, readonly TopicPartition[]>;

export const nameOf = ({ topic, partition }: TopicPartition): string => `${topic}/${partition}`;

/**
 * Sticky and balanced: everybody keeps what it has up to its share, the rest goes to whoever has least. With `cooperative` a
 * partition that another member still has is given to nobody: first its owner lets go of it, then the next round deals it out
 * (KIP-429).
 */
export function assign(members: readonly AssignorMember[], partitionsOf: ReadonlyMap<string, number>, cooperative: boolean): Assignments {
  const dealt = new Map<string, TopicPartition[]>(members.map(({ memberId }) => [memberId, []]));
  const owners = ownersOf(members);
  const sorted = members.toSorted((a, b) => (a.memberId < b.memberId ? -1 : 1));
  // Topic by topic where all read the same; a member's share of one topic does not depend on another one.
  const load = (memberId: string): number => dealt.get(memberId)?.length ?? 0;
  for (const [topic, count] of [...partitionsOf].toSorted(([a], [b]) => (a < b ? -1 : 1))) {
    const readers = sorted.filter(({ topics }) => topics.has(topic));
    if (readers.length === 0) continue;
    const of = new Map<string, number>(readers.map(({ memberId }) => [memberId, 0]));
    const least = Math.floor(count / readers.length);
    let spare = count % readers.length;
    const free: TopicPartition[] = [];
    for (let partition = 0; partition < count; partition += 1) {
      const part = { topic, partition };
      const owner = owners.get(nameOf(part));
      const has = owner === undefined ? undefined : of.get(owner);
      if (owner !== undefined && has !== undefined && (has < least || (has === least && spare > 0))) {
        if (has === least) spare -= 1;
        of.set(owner, has + 1);
        dealt.get(owner)?.push(part);
      } else free.push(part);
    }
    for (const part of free) {
      const to = readers.reduce((poorest, next) => {
        const difference = (of.get(next.memberId) ?? 0) - (of.get(poorest.memberId) ?? 0);
        return difference < 0 || (difference === 0 && load(next.memberId) < load(poorest.memberId)) ? next : poorest;
      });
      of.set(to.memberId, (of.get(to.memberId) ?? 0) + 1);
      const owner = owners.get(nameOf(part));
      if (cooperative && owner !== undefined && owner !== to.memberId) continue;
      dealt.get(to.memberId)?.push(part);
    }
  }
  return dealt;
}

/** Of two who claim the same one the later generation has it; of one generation neither. */
function ownersOf(members: readonly AssignorMember[]): ReadonlyMap<string, string> {
  const owners = new Map<string, { readonly memberId: string | undefined; readonly generation: number }>();
  for (const { memberId, owned, generation } of members) {
    for (const part of owned) {
      const name = nameOf(part);
      const before = owners.get(name);
      if (before === undefined || generation > before.generation) owners.set(name, { memberId, generation });
      else if (generation === before.generation) owners.set(name, { memberId: undefined, generation });
    }
  }
  const sure = new Map<string, string>();
  for (const [name, { memberId }] of owners) if (memberId !== undefined) sure.set(name, memberId);
  return sure;
}

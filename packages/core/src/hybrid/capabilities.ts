import { capabilityNames, type Capabilities, type Capability, type CapabilityName, type Level, type Transport } from "../transport.ts";

const strength: Readonly<Record<Level, number>> = { none: 0, unverified: 1, emulated: 2, native: 3 };

/** What all of them can do: of each capability the weakest, with the smallest limits. */
export function weakest(transports: readonly Transport[], all: readonly Capabilities[]): Capabilities {
  const first = all[0] as Capabilities;
  if (all.length === 1) return first;
  const entries = capabilityNames.map((name) => [name, weakestOf(name, transports, all)] as const);
  return {
    ...(Object.fromEntries(entries) as Record<CapabilityName, Capability>),
    body: first.body,
    durability: all.reduce((least, { durability }) => (durability < least ? durability : least), first.durability),
    maxBodyBytes: Math.min(...all.map(({ maxBodyBytes }) => maxBodyBytes)),
  };
}

function weakestOf(name: CapabilityName, transports: readonly Transport[], all: readonly Capabilities[]): Capability {
  let least = all[0]?.[name] as Capability;
  let whose = 0;
  const limits: Record<string, number> = {};
  for (let index = 0; index < all.length; index += 1) {
    const one = all[index]?.[name] as Capability;
    for (const [limit, value] of Object.entries(one.limits ?? {})) limits[limit] = Math.min(limits[limit] ?? Infinity, value);
    if (strength[one.level] < strength[least.level]) {
      least = one;
      whose = index;
    }
  }
  if (least.level === "native" || least.level === "emulated")
    return Object.keys(limits).length === 0 ? { level: least.level } : { level: least.level, limits };
  const who = transports[whose]?.name ?? "one of them";
  return { level: least.level, why: least.why === undefined ? who : `${who}: ${least.why}` };
}

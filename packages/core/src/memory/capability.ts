import { capabilityNames, type Capabilities, type Capability, type CapabilityName } from "../transport.ts";

export const native: Capability = Object.freeze({ level: "native" });
export const emulated: Capability = Object.freeze({ level: "emulated" });

export function limited(limits: Readonly<Record<string, number>>): Capability {
  return Object.freeze({ level: "native", limits: Object.freeze(limits) });
}

export function none(why: string): Capability {
  return Object.freeze({ level: "none", why });
}

/** All are `none` for the reason `otherwise`, but those that are given. */
export function capabilitiesOf(
  about: Pick<Capabilities, "body" | "durability" | "maxBodyBytes">,
  otherwise: string,
  given: Partial<Record<CapabilityName, Capability>>,
): Capabilities {
  const refused = none(otherwise);
  const entries = capabilityNames.map((name) => [name, given[name] ?? refused]);
  return Object.freeze({ ...(Object.fromEntries(entries) as Record<CapabilityName, Capability>), ...about });
}

import { capabilityNames, type Capabilities, type Capability, type CapabilityName } from "@waybill/core";
import type { Settings } from "./options.ts";

const native: Capability = Object.freeze({ level: "native" });

export function capabilitiesOf({ maxBodyBytes, deduplicationMs, deduplicationIds }: Settings): Capabilities {
  const all = Object.fromEntries(capabilityNames.map((name) => [name, native])) as Record<CapabilityName, Capability>;
  return Object.freeze({
    ...all,
    priority: Object.freeze({ level: "native", limits: Object.freeze({ levels: 10 }) }),
    deduplication:
      deduplicationMs > 0
        ? Object.freeze({ level: "native", limits: Object.freeze({ windowMs: deduplicationMs, windowMessages: deduplicationIds }) })
        : Object.freeze({ level: "none", why: "deduplicationWindow is 0" }),
    revocation: Object.freeze({ level: "none", why: "members own single messages, not parts of a topic" }),
    body: "bytes",
    durability: "D2",
    maxBodyBytes,
  } satisfies Capabilities);
}

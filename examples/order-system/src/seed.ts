import { catalogue } from "./catalogue.ts";
import type { Order } from "./contracts.ts";

/** A 32-bit hash of a text and a number: FNV-1a, finished with the mixer of MurmurHash3. Equal input, equal output, everywhere. */
export function hash(text: string, seed: number): number {
  let h = (0x811c9dc5 ^ seed) >>> 0;
  for (let at = 0; at < text.length; at++) h = Math.imul(h ^ text.charCodeAt(at), 0x01000193) >>> 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** Of every 1,000 orders about this many meet each fate at the payment; the others are paid at the first attempt. */
const perThousand = { refused: 8, fraud: 6, unreachable: 6, transient: 60 };

/**
 * What the payment of an order will do, fixed by seed and id alone, so that the audit knows without asking anybody.
 * `refused`: the card is refused, an error that is never retried. `fraud`: the handler gives it up by its own verdict.
 * `unreachable`: the bank fails every attempt. `transient`: it fails the first `failures` attempts, then succeeds.
 */
export type Fate =
  | { readonly kind: "paid" }
  | { readonly kind: "transient"; readonly failures: 1 | 2 }
  | { readonly kind: "refused" | "fraud" | "unreachable" };

const paid: Fate = { kind: "paid" };

export function fateOf(seed: number, orderId: string): Fate {
  const h = hash(`fate ${orderId}`, seed);
  let point = h % 1000;
  for (const kind of ["refused", "fraud", "unreachable"] as const) {
    if (point < perThousand[kind]) return { kind };
    point -= perThousand[kind];
  }
  if (point < perThousand.transient) return { kind: "transient", failures: h % 2 === 0 ? 1 : 2 };
  return paid;
}

/** Of each fate that ends in a dead letter: the code and the text that its cause must have. */
export const expectedCauses = {
  refused: { code: "HANDLER", text: "card refused" },
  fraud: { code: "DEAD_LETTER", text: "fraud suspected" },
  unreachable: { code: "HANDLER", text: "bank unreachable" },
} as const;

/** The cause that the dead letter of this order must have; undefined: it must be shipped. */
export function expectedCause(seed: number, orderId: string): { readonly code: string; readonly text: string } | undefined {
  const { kind } = fateOf(seed, orderId);
  return kind === "paid" || kind === "transient" ? undefined : expectedCauses[kind];
}

/** The order number `index` of the generator. */
export function orderOf(seed: number, index: number): Order {
  const id = `s${seed}-${String(index).padStart(6, "0")}`;
  const h = hash(id, seed);
  return {
    id,
    customer: `customer-${h % 997}`,
    sku: catalogue[(h >>> 10) % catalogue.length]!.sku,
    quantity: 1 + ((h >>> 16) % 5),
  };
}

/** A stream of numbers in [0, 1): mulberry32, for the chaos. */
export function randomOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t = (t + Math.imul(t ^ (t >>> 7), t | 61)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

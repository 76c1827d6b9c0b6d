/** A seeded generator: `chance` and `upTo` give the same answers in the same order for one seed. */
export interface Random {
  chance(probability: number): boolean;
  /** A whole number from 1 to `max`. */
  upTo(max: number): number;
}

/** Mulberry32 (Tommy Ettinger, 2017): 32 bits of state, plenty for choosing faults. */
export function createRandom(seed: number): Random {
  let state = seed >>> 0;
  function next(): number {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  }
  return {
    chance: (probability) => probability > 0 && next() < probability,
    upTo: (max) => 1 + Math.floor(next() * max),
  };
}

export function randomSeed(): number {
  return Math.floor(Math.random() * 0x1_0000_0000);
}

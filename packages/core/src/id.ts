import { randomFillSync } from "node:crypto";
import { closeSync, openSync, readSync } from "node:fs";

/** Makes ids. Pass the wall clock in ms if it has just been read: reading it is most of the cost. */
export type Ids = (nowMs?: number) => string;

export interface IdOptions {
  /** Wall clock in ms. */
  readonly now?: () => number;
  /** Fills all of it. Default: the kernel's generator. */
  readonly random?: (into: Uint8Array) => void;
}

// Crockford's base 32, lower-case: its order is the order of the character codes.
const digits = "0123456789abcdefghjkmnpqrstvwxyz";
const timeDigits = 9;
const randomBytes = 10;
const pairs: readonly string[] = Array.from({ length: 1024 }, (_, n) => digits.charAt(n >> 5) + digits.charAt(n & 31));
const countPerSeed = 32 * pairs.length;

/**
 * A source of ids of 28 characters: time (45 bits, ms), random (80 bits), count (15 bits), so that ids sort by time and, of one
 * source, by their order.
 *
 * The random part is drawn anew in each millisecond in which ids are made, and after 32,768 ids. A fresh process, a worker and a
 * restart therefore differ by 80 random bits per millisecond. So does a clone of a virtual machine, whose memory holds the same
 * seed, from the first millisecond after it woke on: no check for it is needed, nor one of the process id for a fork. This is also
 * why the bits come from the kernel, which stirs its generator when it finds itself cloned; `node:crypto` keeps the state of its
 * own in the memory that was cloned. One collision among 10^9 ids, even if all were made in one millisecond each by its own
 * process, has the probability 4 * 10^-7.
 */
export function createIds(options: IdOptions = {}): Ids {
  const now = options.now ?? Date.now;
  const random = options.random ?? kernelRandom;
  const seed = new Uint8Array(randomBytes);
  let seededAt = Number.NaN;
  let prefix = "";
  let count = 0;
  return (nowMs = now()) => {
    if (nowMs !== seededAt || count === countPerSeed) {
      random(seed);
      prefix = timeText(nowMs) + randomText(seed);
      seededAt = nowMs;
      count = 0;
    }
    const n = count++;
    return prefix + pairs[n >> 5] + digits.charAt(n & 31);
  };
}

function timeText(ms: number): string {
  let text = "";
  let rest = Math.max(0, Math.floor(ms));
  for (let digit = 0; digit < timeDigits; digit++) {
    text = digits.charAt(rest % 32) + text;
    rest = Math.floor(rest / 32);
  }
  return text;
}

function randomText(bytes: Uint8Array): string {
  let text = "";
  let held = 0;
  let bits = 0;
  for (const byte of bytes) {
    held = (held << 8) | byte;
    bits += 8;
    while (bits >= 5) {
      bits -= 5;
      text += digits.charAt((held >> bits) & 31);
    }
    held &= (1 << bits) - 1;
  }
  return text;
}

let kernelDevice = process.platform !== "win32";

/** Opened for each read (1.6 µs): a descriptor kept open would have to be closed by somebody. */
function kernelRandom(into: Uint8Array): void {
  if (kernelDevice) {
    try {
      const file = openSync("/dev/urandom", "r");
      try {
        if (readSync(file, into, 0, into.length, null) === into.length) return;
      } finally {
        closeSync(file);
      }
    } catch {
      // A sandbox without the device: there the state of `node:crypto` has to do.
      kernelDevice = false;
    }
  }
  randomFillSync(into);
}

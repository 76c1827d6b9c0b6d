import type { Range, Standing } from "./progress.ts";

/**
 * What is written beside a committed offset (its metadata, one line of JSON that people can read):
 * `w` 1 · `by` who wrote it · `open` how many offsets above the committed one may be in somebody's hands; missing: nobody has it ·
 * `done` finished ranges above the committed offset, as gap and length in turn · `notes` pairs of distance and note.
 */
export interface CommitNote {
  readonly by: string;
  /** The first offset that was surely not handed out; undefined: it was given back in good order. */
  readonly openBelow: number | undefined;
  readonly finished: readonly Range[];
  readonly notes: readonly (readonly [offset: number, note: string])[];
}

/** The server's default for `offset.metadata.max.bytes` is 4096. */
export const maxNoteBytes = 4_000;

/** What does not fit is left out, the farthest first: it comes again at worst. Answers undefined where even the first note does not fit. */
export function writeCommitNote(
  by: string,
  openBelow: number | undefined,
  standing: Standing,
  maxBytes: number = maxNoteBytes,
): string | undefined {
  const { committed } = standing;
  let { finished, notes } = standing;
  for (;;) {
    const text = JSON.stringify({
      w: 1,
      by,
      ...(openBelow === undefined ? {} : { open: Math.max(0, openBelow - committed) }),
      ...(finished.length === 0 ? {} : { done: writeRanges(committed, finished) }),
      ...(notes.length === 0 ? {} : { notes: notes.map(([offset, note]) => [offset - committed, note]) }),
    });
    if (Buffer.byteLength(text) <= maxBytes) return text;
    if (notes.length > 1) notes = notes.slice(0, notes.length >> 1);
    else if (finished.length > 0) finished = finished.slice(0, finished.length >> 1);
    else return undefined;
  }
}

/** Undefined for anything that is not ours: other clients write there too. */
export function readCommitNote(committed: number, text: string | null): CommitNote | undefined {
  if (text === null || !text.startsWith('{"w":1,')) return undefined;
  let found: { by?: unknown; open?: unknown; done?: unknown; notes?: unknown };
  try {
    found = JSON.parse(text) as typeof found;
  } catch {
    return undefined;
  }
  const { by, open, done, notes } = found;
  if (typeof by !== "string" || (open !== undefined && !isCount(open))) return undefined;
  return {
    by,
    openBelow: open === undefined ? undefined : committed + open,
    finished: Array.isArray(done) && done.every(isCount) ? readRanges(committed, done) : [],
    notes: Array.isArray(notes) ? notes.filter(isNote).map(([distance, note]) => [committed + distance, note] as const) : [],
  };
}

function writeRanges(committed: number, ranges: readonly Range[]): number[] {
  const numbers: number[] = [];
  let at = committed;
  for (const { from, to } of ranges) {
    numbers.push(from - at, to - from);
    at = to;
  }
  return numbers;
}

function readRanges(committed: number, numbers: readonly number[]): Range[] {
  const ranges: Range[] = [];
  let at = committed;
  for (let index = 0; index + 1 < numbers.length; index += 2) {
    const from = at + (numbers[index] ?? 0);
    const to = from + (numbers[index + 1] ?? 0);
    ranges.push({ from, to });
    at = to;
  }
  return ranges;
}

function isCount(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

function isNote(value: unknown): value is readonly [number, string] {
  return Array.isArray(value) && value.length === 2 && isCount(value[0]) && typeof value[1] === "string";
}

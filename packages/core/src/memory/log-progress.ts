import type { LogPart } from "./log-part.ts";
import type { LogMember } from "./log-member.ts";

/**
 * How far a group is in a part, and who has it. What outlives its owner is what a log can keep: one committed offset, below
 * which all is finished, and the note that was written with it. What was finished above it comes again.
 */
export interface Progress {
  readonly part: LogPart;
  readonly owner: LogMember | undefined;
  readonly generation: number;
  /** The first unfinished offset. */
  readonly committed: number;
  /** Asked back: nothing more of it is handed out. */
  revoking: boolean;
  /** Handed out and unfinished. */
  readonly inFlight: number;
  /** Not finished, handed out or not. */
  readonly left: number;
  give(owner: LogMember, generation: number): void;
  /** `died`: what the owner had in hand is suspect. */
  takeAway(died: boolean): void;
  /** The next to hand out; undefined: there is none. Skips what is not kept any more, and tells how many. */
  peek(skipped: (count: number) => void): number | undefined;
  handOut(offset: number, bytes: number): Handle;
  /** Finished without being handed out. */
  pass(offset: number): void;
  isHeld(handle: Handle): boolean;
  finish(handle: Handle): void;
  /** To be handed out again. */
  release(handle: Handle): void;
  isFinished(offset: number): boolean;
  /** A member that died may have had it. */
  isSuspect(offset: number): boolean;
  note(offset: number, text: string): void;
  noteOf(offset: number): string | undefined;
  moveTo(offset: number): void;
}

/** One handing-over. */
export interface Handle {
  readonly progress: Progress;
  readonly generation: number;
  readonly offset: number;
  readonly bytes: number;
}

export function createProgress(part: LogPart, start: number): Progress {
  const open = new Map<number, Handle>();
  const finished = new Set<number>();
  const notes = new Map<number, string>();
  let released: number[] = [];
  let owner: LogMember | undefined;
  let generation = 0;
  let committed = start;
  let next = start;
  let suspectBelow = 0;

  function finishOffset(offset: number): void {
    finished.add(offset);
    while (finished.delete(committed)) {
      notes.delete(committed);
      committed += 1;
    }
  }

  function close({ offset, bytes }: Handle): void {
    open.delete(offset);
    if (owner === undefined) return;
    owner.inFlight -= 1;
    owner.inFlightBytes -= bytes;
  }

  const progress: Progress = {
    part,
    get owner() {
      return owner;
    },
    get generation() {
      return generation;
    },
    get committed() {
      return committed;
    },
    revoking: false,
    get inFlight() {
      return open.size;
    },
    get left() {
      return Math.max(0, part.end - Math.max(committed, part.first) - finished.size);
    },
    give(to, newGeneration) {
      owner = to;
      generation = newGeneration;
    },
    takeAway(died) {
      if (died && next > committed) suspectBelow = Math.max(suspectBelow, next);
      for (const handle of [...open.values()]) close(handle);
      owner = undefined;
      progress.revoking = false;
      next = committed;
      finished.clear();
      released = [];
      const kept = notes.get(committed);
      notes.clear();
      if (kept !== undefined) notes.set(committed, kept);
    },
    peek(skipped) {
      if (released[0] !== undefined) return released[0];
      if (next < part.first) {
        skipped(part.first - next);
        for (let offset = next; offset < part.first; offset += 1) finishOffset(offset);
        next = part.first;
      }
      return next < part.end ? next : undefined;
    },
    handOut(offset, bytes) {
      if (released[0] === offset) released.shift();
      else next = offset + 1;
      const handle: Handle = { progress, generation, offset, bytes };
      open.set(offset, handle);
      return handle;
    },
    pass(offset) {
      if (released[0] === offset) released.shift();
      else next = offset + 1;
      finishOffset(offset);
    },
    isHeld: (handle) => open.get(handle.offset) === handle,
    finish(handle) {
      close(handle);
      finishOffset(handle.offset);
    },
    release(handle) {
      close(handle);
      released.push(handle.offset);
      released.sort((a, b) => a - b);
    },
    isFinished: (offset) => offset < committed || finished.has(offset),
    isSuspect: (offset) => offset < suspectBelow,
    note: (offset, text) => void notes.set(offset, text),
    noteOf: (offset) => notes.get(offset),
    moveTo(offset) {
      committed = offset;
      next = offset;
      finished.clear();
      notes.clear();
      suspectBelow = 0;
    },
  };
  return progress;
}

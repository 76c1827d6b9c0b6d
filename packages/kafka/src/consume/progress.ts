import type { Message } from "@waybill/core";
import type { Part } from "./part.ts";

/** One handing-over of a record. */
export interface Handle {
  readonly part: Part;
  readonly offset: number;
  readonly message: Message;
  readonly bytes: number;
  /** In the hands of the subscription: neither settled nor given back. */
  held: boolean;
  finished: boolean;
  note: string | undefined;
}

/** Of offsets that are finished above the committed one: begins, and the first that is not in it any more. */
export interface Range {
  readonly from: number;
  readonly to: number;
}

/** What another member needs to go on where this one stands. */
export interface Standing {
  /** The first unfinished offset: everything below it is done. */
  readonly committed: number;
  readonly finished: readonly Range[];
  readonly notes: readonly (readonly [offset: number, note: string])[];
}

/**
 * How far a part is: which offsets are handed out and which of them are finished. The committed offset never passes an
 * unfinished one; what is finished above it is told as ranges, so that it need not come again either.
 */
export interface Progress {
  /** The first unfinished offset. */
  readonly committed: number;
  /** One above the last that was handed out or passed. */
  readonly next: number;
  /** Handed out, and not settled or given back. */
  readonly held: number;
  readonly heldBytes: number;
  /** Changes with everything that a commit would write down. */
  readonly version: number;
  /** Whether it was finished before, by whoever had the part then. */
  isFinished(offset: number): boolean;
  noteOf(offset: number): string | undefined;
  /** The next of those that were given back. */
  released(): Handle | undefined;
  handOut(part: Part, offset: number, message: Message, bytes: number): Handle;
  /** Out again, after it was given back. */
  handOutAgain(handle: Handle): Handle;
  /** Finished without being handed out. */
  pass(offset: number): void;
  finish(handle: Handle): void;
  /** A transaction takes it along: neither in hand nor finished until that ends. */
  take(handle: Handle): void;
  /** In hand again: the transaction was rolled back. */
  unfinish(handle: Handle): void;
  release(handle: Handle): void;
  note(handle: Handle, text: string): void;
  /** `beyond`: taken for finished as well, although their transaction is not committed yet. */
  standing(beyond?: ReadonlySet<Handle>): Standing;
}

export function createProgress(start: Standing): Progress {
  // In the order of offsets; those before `head` are finished.
  let handles: Handle[] = [];
  let head = 0;
  let next = start.committed;
  let held = 0;
  let heldBytes = 0;
  let version = 0;
  const finishedBefore = start.finished;
  let rangeAt = 0;
  const notesBefore = new Map(start.notes);
  const released: Handle[] = [];

  function hold(bytes: number): void {
    held += 1;
    heldBytes += bytes;
  }

  function letGo(handle: Handle): void {
    if (!handle.held) return;
    handle.held = false;
    held -= 1;
    heldBytes -= handle.bytes;
  }

  function advance(): void {
    while (head < handles.length && handles[head]?.finished === true) head += 1;
    // Cut now and then: for each one alone it would cost the square.
    if (head < 512 || head * 2 < handles.length) return;
    handles = handles.slice(head);
    head = 0;
  }

  function committed(): number {
    return handles[head]?.offset ?? next;
  }

  function isFinished(offset: number): boolean {
    // Asked in the order of offsets.
    while (rangeAt < finishedBefore.length && (finishedBefore[rangeAt]?.to ?? 0) <= offset) rangeAt += 1;
    const range = finishedBefore[rangeAt];
    return range !== undefined && offset >= range.from;
  }

  /** What was never handed out, between two that were, was passed. */
  function rangesAbove(isDone: (handle: Handle) => boolean): { readonly first: number; readonly ranges: Range[] } {
    const ranges: Range[] = [];
    let at = head;
    while (at < handles.length && isDone(handles[at] as Handle)) at += 1;
    const first = handles[at]?.offset ?? next;
    let end = first + 1;
    for (at += 1; at < handles.length; at += 1) {
      const handle = handles[at] as Handle;
      if (isDone(handle)) continue;
      if (handle.offset > end) ranges.push({ from: end, to: handle.offset });
      end = handle.offset + 1;
    }
    if (next > end) ranges.push({ from: end, to: next });
    // What others had finished above, and this one has not come to yet.
    for (const { from, to } of finishedBefore) if (to > Math.max(next, end)) ranges.push({ from: Math.max(from, next, end), to });
    return { first, ranges };
  }

  return {
    get committed() {
      return committed();
    },
    get next() {
      return next;
    },
    get held() {
      return held;
    },
    get heldBytes() {
      return heldBytes;
    },
    get version() {
      return version;
    },
    isFinished,
    noteOf: (offset) => notesBefore.get(offset),
    released: () => released[0],
    handOut(part, offset, message, bytes) {
      const handle: Handle = { part, offset, message, bytes, held: true, finished: false, note: notesBefore.get(offset) };
      handles.push(handle);
      next = offset + 1;
      hold(handle.bytes);
      return handle;
    },
    handOutAgain(old) {
      released.splice(released.indexOf(old), 1);
      // A new object: whoever settles the former handing-over settles nothing.
      const handle: Handle = { ...old, held: true };
      for (let at = head; at < handles.length; at += 1) if (handles[at] === old) handles[at] = handle;
      hold(handle.bytes);
      return handle;
    },
    pass(offset) {
      if (offset < next) return;
      next = offset + 1;
      version += 1;
    },
    finish(handle) {
      letGo(handle);
      handle.finished = true;
      handle.note = undefined;
      version += 1;
      advance();
    },
    take: letGo,
    unfinish(handle) {
      if (handle.finished || handle.held) return;
      handle.held = true;
      hold(handle.bytes);
    },
    release(handle) {
      if (!handle.held) return;
      letGo(handle);
      const at = released.findIndex(({ offset }) => offset > handle.offset);
      if (at === -1) released.push(handle);
      else released.splice(at, 0, handle);
    },
    note(handle, text) {
      handle.note = text;
      version += 1;
    },
    standing(beyond) {
      const { first, ranges } = rangesAbove((handle) => handle.finished || beyond?.has(handle) === true);
      const notes: [number, string][] = [];
      for (let at = head; at < handles.length; at += 1) {
        const handle = handles[at] as Handle;
        if (handle.note !== undefined && !handle.finished) notes.push([handle.offset, handle.note]);
      }
      for (const [offset, note] of notesBefore) if (offset >= next) notes.push([offset, note]);
      return { committed: first, finished: ranges, notes };
    },
  };
}

/**
 * Which delivery tags of a channel are finished, and how few acknowledgements tell the broker: all up to the highest tag below
 * which nothing is unfinished by one `multiple`, and those beyond it, when they cannot wait any longer, one by one.
 */
export interface AckWindow {
  /** Tags come in order, one after another. */
  delivered(tag: number): void;
  isOpen(tag: number): boolean;
  /** It is to be acknowledged. False: it is not open (any more). */
  finish(tag: number): boolean;
  /** The broker was told otherwise (a nack), and knows. */
  close(tag: number): boolean;
  /** Open ones, in order. */
  open(): number[];
  /** Finished, and not told: behind an unfinished one. */
  readonly waiting: number;
  /** What to acknowledge now. `all`: also what an unfinished one keeps from being covered by `upTo`. */
  take(all: boolean): { readonly upTo: number | undefined; readonly singles: readonly number[] };
}

const isOpen = 0;
const isFinished = 1;
const isTold = 2;
/** Told tags at the front that are kept before the array is cut. */
const slack = 1_024;

export function createAckWindow(): AckWindow {
  let states: number[] = [];
  /** Tag of `states[0]`. */
  let base = 1;
  /** Index of the first that is not told. */
  let head = 0;
  let finished = 0;

  const at = (tag: number): number => tag - base;

  function set(tag: number, state: number): boolean {
    if (states[at(tag)] !== isOpen) return false;
    states[at(tag)] = state;
    if (state === isFinished) finished += 1;
    return true;
  }

  function cut(): void {
    while (head < states.length && states[head] === isTold) head += 1;
    if (head < slack || head < states.length / 2) return;
    states = states.slice(head);
    base += head;
    head = 0;
  }

  return {
    delivered(tag) {
      if (states.length === 0) base = tag;
      states[at(tag)] = isOpen;
    },
    isOpen: (tag) => states[at(tag)] === isOpen,
    finish: (tag) => set(tag, isFinished),
    close(tag) {
      const closed = set(tag, isTold);
      if (closed) cut();
      return closed;
    },
    open() {
      const tags: number[] = [];
      for (let index = head; index < states.length; index += 1) if (states[index] === isOpen) tags.push(base + index);
      return tags;
    },
    get waiting() {
      return finished;
    },
    take(all) {
      let upTo: number | undefined;
      let covered = 0;
      let index = head;
      for (; index < states.length && states[index] !== isOpen; index += 1) {
        if (states[index] !== isFinished) continue;
        upTo = base + index;
        covered += 1;
        states[index] = isTold;
      }
      const singles: number[] = [];
      if (all && finished > covered) {
        for (; index < states.length; index += 1) {
          if (states[index] !== isFinished) continue;
          singles.push(base + index);
          states[index] = isTold;
        }
      }
      finished -= covered + singles.length;
      cut();
      return { upTo, singles };
    },
  };
}

import { WaybillError } from "./errors.ts";

/** `(thing, next)`: do something, return `next(thing)`, do something with what it gives. */
export type Middleware<Thing, Result> = (thing: Thing, next: (thing: Thing) => Result) => Result;

/** How far the thing has come. A spread copy of the thing shares it, so that two copies cannot be given to `next` either. */
const progress = Symbol("waybill.progress");
interface Guarded {
  [progress]?: { step: number };
}

/**
 * One function of many: the first middleware runs first, `last` is what they are around. Composed once; a call makes no closure, and
 * one object of one number, which costs a few ns.
 *
 * `next` must be given the thing or a spread copy of it, and once: called again it throws `CONFIG`, and the rest does not run twice.
 */
export function compose<Thing extends object, Result>(
  middleware: readonly Middleware<Thing, Result>[],
  last: (thing: Thing) => Result,
): (thing: Thing) => Result {
  const [first] = middleware;
  if (first === undefined) return last;
  let next = once(last, middleware.length);
  for (let index = middleware.length - 1; index > 0; index--) {
    const one = middleware[index];
    const rest = next;
    if (one !== undefined) next = once((thing) => one(thing, rest), index);
  }
  const rest = next;
  return (thing) => {
    (thing as Guarded)[progress] = { step: 0 };
    return first(thing, rest);
  };
}

/** Lets a thing through from step `step - 1`, and only from there. */
function once<Thing, Result>(run: (thing: Thing) => Result, step: number): (thing: Thing) => Result {
  return (thing) => {
    const at = (thing as Guarded | undefined)?.[progress];
    if (at?.step !== step - 1) throw misused(step - 1, at !== undefined);
    at.step = step;
    return run(thing);
  };
}

function misused(index: number, twice: boolean): WaybillError {
  if (twice)
    return new WaybillError("CONFIG", `middleware[${index}] called next() twice`, {
      remedy: "call next once; repeating is the retry policy's",
    });
  return new WaybillError("CONFIG", `middleware[${index}] gave next() something of its own`, {
    remedy: "change what it was given, or copy it with a spread",
  });
}

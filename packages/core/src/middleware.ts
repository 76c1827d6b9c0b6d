/** `(thing, next)`: do something, return `next(thing)`, do something with what it gives. */
export type Middleware<Thing, Result> = (thing: Thing, next: (thing: Thing) => Result) => Result;

/**
 * One function of many: the first middleware runs first, `last` is what they are around. Composed once; a call makes no closure.
 * Calling `next` again runs the rest again: that is what a middleware which repeats is for.
 */
export function compose<Thing, Result>(middleware: readonly Middleware<Thing, Result>[], last: (thing: Thing) => Result): (thing: Thing) => Result {
  let next = last;
  for (const one of middleware.toReversed()) {
    const rest = next;
    next = (thing) => one(thing, rest);
  }
  return next;
}

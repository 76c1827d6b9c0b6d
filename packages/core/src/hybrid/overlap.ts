/** Whether some topic fits both patterns. `*` is one token, `>` (last) one or more. */
export function overlaps(a: string, b: string): boolean {
  return meet(a.split("."), b.split("."));
}

function meet(a: readonly string[], b: readonly string[]): boolean {
  for (let at = 0; ; at += 1) {
    const left = a[at];
    const right = b[at];
    if (left === undefined || right === undefined) return left === right;
    // The other has at least this one token left, which is what `>` asks for.
    if (left === ">" || right === ">") return true;
    if (left !== "*" && right !== "*" && left !== right) return false;
  }
}

/** Whether every topic of `inner` fits `outer`. */
export function covers(outer: string, inner: string): boolean {
  const wide = outer.split(".");
  const narrow = inner.split(".");
  for (let at = 0; ; at += 1) {
    const left = wide[at];
    const right = narrow[at];
    if (left === undefined || right === undefined) return left === right;
    if (left === ">") return true;
    if (right === ">") return false;
    if (left !== "*" && left !== right) return false;
  }
}

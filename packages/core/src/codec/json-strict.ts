const number = /-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/y;

/**
 * What `JSON.parse` changes without a word: a key twice in one object, an integer that a double cannot hold, a number beyond its range.
 * `text` is JSON that has been parsed already. Answers the first such place, without the body's own words.
 */
export function strictProblem(text: string): string | undefined {
  // One entry for each open object (its keys) or array (undefined).
  const open: (Set<string> | undefined)[] = [];
  let keys: Set<string> | undefined;
  let at = 0;
  while (at < text.length) {
    const char = text.charAt(at);
    if (char === '"') {
      const end = endOfString(text, at);
      if (keys !== undefined && nextMark(text, end) === ":") {
        const key = JSON.parse(text.slice(at, end)) as string;
        if (keys.has(key)) return `JSON has a key twice in one object, at ${at}`;
        keys.add(key);
      }
      at = end;
    } else if (char === "-" || (char >= "0" && char <= "9")) {
      number.lastIndex = at;
      const digits = number.exec(text)?.[0] ?? char;
      if (!survives(digits)) return `JSON has a number that would be changed, at ${at}`;
      at += digits.length;
    } else {
      if (char === "{" || char === "[") {
        keys = char === "{" ? new Set() : undefined;
        open.push(keys);
      } else if (char === "}" || char === "]") {
        open.pop();
        keys = open.at(-1);
      }
      at += 1;
    }
  }
  return undefined;
}

/** After the closing quote of the string that starts at `at`. */
function endOfString(text: string, at: number): number {
  let end = at + 1;
  while (end < text.length && text.charCodeAt(end) !== 34) end += text.charCodeAt(end) === 92 ? 2 : 1;
  return end + 1;
}

function nextMark(text: string, from: number): string {
  let at = from;
  while (at < text.length && text.charCodeAt(at) <= 32) at += 1;
  return text.charAt(at);
}

function survives(digits: string): boolean {
  const value = Number(digits);
  if (!Number.isFinite(value)) return false;
  return /[.eE]/.test(digits) || Number.isSafeInteger(value);
}

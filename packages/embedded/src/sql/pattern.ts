/** Topics of the store's own; no pattern matches them. */
export const inboxPrefix = "_inbox.";

export type Matcher = (topic: string) => boolean;

/** Tokens split by `.`: `*` is one token, `>` at the end is one or more. */
export function matcher(pattern: string): Matcher {
  const tokens = pattern.split(".");
  const rest = tokens.at(-1) === ">";
  const fixed = rest ? tokens.slice(0, -1) : tokens;
  return (topic) => {
    if (topic.startsWith(inboxPrefix)) return false;
    const parts = topic.split(".");
    if (rest ? parts.length <= fixed.length : parts.length !== fixed.length) return false;
    return fixed.every((token, i) => token === "*" || token === parts[i]);
  };
}

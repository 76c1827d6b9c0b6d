// Just enough of a reader of TypeScript to tell code from comments and text, and to find imports.

export interface Import {
  readonly specifier: string;
  readonly line: number;
  readonly dynamic: boolean;
  readonly typeOnly: boolean;
}

/** `text` with comments and the insides of strings, templates and regular expressions blanked; lines keep their places. */
export function codeOf(text: string): string {
  return blank(text, true);
}

/** Static and dynamic imports, re-exports, `import.meta.resolve`, and `new URL("…", import.meta.url)`. */
export function importsOf(text: string): Import[] {
  const code = blank(text, false);
  const bare = blank(text, true);
  const found: Import[] = [];
  const add = (pattern: RegExp, dynamic: boolean): void => {
    for (const match of code.matchAll(pattern)) {
      const specifier = match.groups?.["path"];
      const at = match.index + match[0].search(/[a-z]/);
      if (specifier === undefined || bare[at] !== code[at]) continue; // the latter: it stands in a text
      const line = code.slice(0, match.index + match[0].length).split("\n").length;
      found.push({ specifier, line, dynamic, typeOnly: /^[;}\s]*(import|export)\s+type\b/.test(match[0]) });
    }
  };
  add(/(?:^|[;}\n])\s*(?:import|export)\b(?:\s+type\b)?[\s\w$*,{}]*?\bfrom\s*["'](?<path>[^"'\n]+)["']/g, false);
  add(/(?:^|[;}\n])\s*import\s*["'](?<path>[^"'\n]+)["']/g, false);
  add(/\b(?:import|require)\s*\(\s*["'`](?<path>[^"'`\n]+)["'`]/g, true);
  add(/\bimport\.meta\.resolve\(\s*["'`](?<path>[^"'`\n]+)["'`]/g, true);
  add(/\bnew\s+URL\(\s*["'`](?<path>\.[^"'`\n]*)["'`]\s*,\s*import\.meta\.url/g, true);
  return found;
}

function blank(text: string, strings: boolean): string {
  let out = "";
  let at = 0;
  // The last character of code, to tell a division from the start of a regular expression.
  let last = "";
  const templates: number[] = [];
  const keep = (end: number): void => {
    out += text.slice(at, end);
    at = end;
  };
  const hide = (end: number): void => {
    out += text.slice(at, end).replaceAll(/[^\n]/g, " ");
    at = end;
  };
  while (at < text.length) {
    const char = text[at] ?? "";
    const next = text[at + 1] ?? "";
    if (char === "/" && next === "/") hide(endOf(text, "\n", at));
    else if (char === "/" && next === "*") hide(Math.min(text.length, endOf(text, "*/", at + 2) + 2));
    else if (char === '"' || char === "'") {
      const end = closing(text, at + 1, char);
      keep(at + 1);
      if (strings) hide(end);
      else keep(end);
      keep(Math.min(text.length, end + 1));
      last = char;
    } else if (char === "`" || (char === "}" && templates.at(-1) === 0)) {
      if (char === "}") templates.pop();
      keep(at + 1);
      const end = templateEnd(text, at);
      if (strings) hide(end);
      else keep(end);
      if (text[end] === "`") keep(end + 1);
      else if (end < text.length) {
        keep(end + 2);
        templates.push(0);
      }
      last = "`";
    } else if (char === "/" && startsExpression(last, out.slice(-12))) {
      const end = regexEnd(text, at + 1);
      keep(at + 1);
      hide(end);
      last = "/";
    } else {
      const depth = templates.length - 1;
      if (depth >= 0 && char === "{") templates[depth] = (templates[depth] ?? 0) + 1;
      if (depth >= 0 && char === "}") templates[depth] = (templates[depth] ?? 0) - 1;
      if (!/\s/.test(char)) last = char;
      keep(at + 1);
    }
  }
  return out;
}

function endOf(text: string, what: string, from: number): number {
  const found = text.indexOf(what, from);
  return found < 0 ? text.length : found;
}

function closing(text: string, from: number, quote: string): number {
  for (let at = from; at < text.length; at += 1) {
    if (text[at] === "\\") at += 1;
    else if (text[at] === quote || text[at] === "\n") return at;
  }
  return text.length;
}

/** Where the text part of a template ends: at its closing back-quote or at `${`. */
function templateEnd(text: string, from: number): number {
  for (let at = from; at < text.length; at += 1) {
    if (text[at] === "\\") at += 1;
    else if (text[at] === "`" || (text[at] === "$" && text[at + 1] === "{")) return at;
  }
  return text.length;
}

function startsExpression(last: string, before: string): boolean {
  return last === "" || /[(,=:[!&|?{};+\-*%<>~^]/.test(last) || /\b(return|typeof|case|of|in|await|yield|void)\s*$/.test(before);
}

function regexEnd(text: string, from: number): number {
  let inClass = false;
  for (let at = from; at < text.length; at += 1) {
    const char = text[at];
    if (char === "\\") at += 1;
    else if (char === "[") inClass = true;
    else if (char === "]") inClass = false;
    else if (char === "\n" || (char === "/" && !inClass)) return at;
  }
  return text.length;
}

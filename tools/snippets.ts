// Documentation as tests: every `ts` fence of every page becomes a file that is type-checked and run. A fence marked
// `ts check` is only type-checked. The file keeps the line numbers of its page.
import { globSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

export const snippetsDirectory = "docs/.snippets";
const pages = ["*.md", "docs/*.md", "packages/*/README.md", "examples/*/README.md", "bench/README.md"];

export interface Snippet {
  readonly page: string;
  /** Of the first line inside the fence, from 1. */
  readonly line: number;
  readonly run: boolean;
  readonly code: string;
}

/** The fences of one page. Throws for a fence in another spelling of TypeScript, and for one that never ends. */
export function snippetsOf(page: string, text: string): Snippet[] {
  const found: Snippet[] = [];
  const lines = text.split("\n");
  let open: { line: number; info: string; indent: string } | undefined;
  for (const [index, line] of lines.entries()) {
    const fence = /^( *)(?:```|~~~)(.*)$/.exec(line);
    if (fence === null) continue;
    const info = (fence[2] ?? "").trim();
    if (open === undefined) {
      open = { line: index + 2, info, indent: fence[1] ?? "" };
      if (/^(typescript|js|javascript|mjs|tsx)\b/.test(info) || (/^ts\b/.test(info) && info !== "ts" && info !== "ts check")) {
        throw new Error(`${page}:${index + 1}: write the fence as \`ts\` or \`ts check\`, not \`${info}\``);
      }
      continue;
    }
    if (open.info === "ts" || open.info === "ts check") {
      const { indent } = open;
      const body = lines.slice(open.line - 1, index).map((row) => (row.startsWith(indent) ? row.slice(indent.length) : row));
      found.push({ page, line: open.line, run: open.info === "ts", code: body.join("\n") });
    }
    open = undefined;
  }
  if (open !== undefined) throw new Error(`${page}:${open.line - 1}: the fence has no end`);
  return found;
}

/** Writes the snippets of all pages below `root` and removes those that are gone. Gives what it wrote. */
export function writeSnippets(root: string): Snippet[] {
  const all = globSync(pages, { cwd: root })
    .toSorted()
    .flatMap((page) => snippetsOf(page, readFileSync(join(root, page), "utf8")));
  const directory = join(root, snippetsDirectory);
  mkdirSync(directory, { recursive: true });
  const keep = new Set<string>();
  for (const snippet of all) {
    const name = fileName(snippet);
    keep.add(name);
    const padding = "\n".repeat(Math.max(0, snippet.line - 2));
    writeFileSync(join(directory, name), `// ${snippet.page}\n${padding}${snippet.code}\n`);
  }
  for (const name of readdirSync(directory)) if (!keep.has(name)) rmSync(join(directory, name), { recursive: true });
  return all;
}

function fileName(snippet: Snippet): string {
  const page = snippet.page
    .replace(/^docs[\\/]/, "")
    .replace(/\.md$/, "")
    .replaceAll(/[\\/]/g, "-");
  return `${page}-${snippet.line}.${snippet.run ? "test" : "check"}.ts`;
}

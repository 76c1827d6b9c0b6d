// The tables that are made from the code. They stand between `<!-- generated:name -->` and `<!-- /generated:name -->`;
// `npm run docs` writes them, and `npm run check` fails when one is stale.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { errorCodes } from "@waybill/core";

interface Table {
  readonly page: string;
  readonly name: string;
  readonly make: () => string | Promise<string>;
}

const tables: readonly Table[] = [{ page: "docs/errors.md", name: "errors", make: errorTable }];

/** One row for each code, in the order of the list. */
export function errorTable(): string {
  const rows = Object.entries(errorCodes).map(([code, info]) => [
    `\`${code}\``,
    info.meaning,
    info.retryable ? "yes" : "no",
    info.certainty,
    info.remedy,
  ]);
  return markdown(["code", "meaning", "retryable", "certainty", "remedy"], rows);
}

export function markdown(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
  return [line(head), line(head.map(() => "---")), ...rows.map(line)].join("\n");
}

/** `text` with `table` between the markers of that name. Throws when it has none. */
export function insert(text: string, name: string, table: string): string {
  const [start, end] = [`<!-- generated:${name} -->`, `<!-- /generated:${name} -->`];
  const from = text.indexOf(start);
  const to = text.indexOf(end);
  if (from < 0 || to < from) throw new Error(`the markers of the table ${name} are missing`);
  return `${text.slice(0, from + start.length)}\n${table}\n${text.slice(to)}`;
}

/** The pages whose tables are not what the code says. */
export async function staleTables(root: string): Promise<string[]> {
  const stale: string[] = [];
  for (const table of tables) {
    const text = readFileSync(join(root, table.page), "utf8");
    if (insert(text, table.name, await table.make()) !== text) stale.push(table.page);
  }
  return stale;
}

/** Brings every table up to date. Gives the pages that changed. */
export async function writeTables(root: string): Promise<string[]> {
  const changed: string[] = [];
  for (const table of tables) {
    const file = join(root, table.page);
    const text = readFileSync(file, "utf8");
    const next = insert(text, table.name, await table.make());
    if (next === text) continue;
    writeFileSync(file, next);
    changed.push(table.page);
  }
  return changed;
}

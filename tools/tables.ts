// The tables that are made from the code. They stand between `<!-- generated:name -->` and `<!-- /generated:name -->`;
// `npm run docs` writes them, and `npm run check` fails when one is stale.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { capabilityNames, errorCodes, memory, type Capability, type CapabilityName, type Transport } from "@waybill/core";
import { openTransport } from "@waybill/transports";

interface Table {
  readonly page: string;
  readonly name: string;
  readonly make: () => string | Promise<string>;
}

const tables: readonly Table[] = [
  { page: "docs/errors.md", name: "errors", make: errorTable },
  { page: "docs/guarantees.md", name: "capabilities", make: capabilityTable },
];

/** Not connected: what each could give at most. */
const transports: Readonly<Record<string, () => Transport | Promise<Transport>>> = {
  memory: () => memory(),
  "memory-log": () => memory({ shape: "log" }),
  "memory-push": () => memory({ shape: "push" }),
  embedded: () => openTransport("embedded:orders.db"),
  rabbitmq: () => openTransport("amqp://127.0.0.1"),
  kafka: () => openTransport("kafka://127.0.0.1:9092"),
};

const meanings: Readonly<Record<CapabilityName, string>> = {
  confirm: "an ok outcome is the transport's own word",
  mandatory: "a message that nobody would receive is refused",
  headers: "headers travel with the message",
  tombstone: "a body may be absent",
  delay: "not delivered before a time",
  expiry: "not delivered after a time",
  priority: "0 to 9, higher first",
  deduplication: "a repeated id is stored once, within a window",
  groups: "members of a group share its messages",
  publishToGroup: "a message for one group alone",
  reader: "reading without a group takes nothing from anybody",
  patterns: "topics by wildcard",
  fromEarliest: "a new group starts with the oldest kept message",
  fromPosition: "a new group starts at a position",
  fromTime: "a new group starts at a time",
  settle: "what was not settled comes again",
  settleConfirm: "a settlement that is done is the transport's own word",
  attempts: "deliveries are counted",
  retry: "a retry needs no copy of the message",
  deadLetter: "a dead letter is moved in one step",
  note: "a note stays with a message between its deliveries",
  lease: "a delivery that is not extended goes to another member",
  orderByKey: "order of a key holds across processes",
  credit: "the consumer bounds what it is handed",
  revocation: "parts move between members",
  inbox: "a reply address for each instance",
  noResponders: "a request that nobody would answer fails at once",
  transaction: "publish and settle commit together",
  inspect: "depth, lag and consumers can be asked for",
  topology: "topics and groups can be made and checked",
  browse: "messages can be looked at without being taken",
  remove: "browsed messages can be settled",
  seek: "a group can be moved to another place",
};

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

/** One row for each capability, one column for each transport. */
export async function capabilityTable(): Promise<string> {
  const all = await Promise.all(Object.entries(transports).map(async ([name, open]) => ({ name, can: (await open()).capabilities() })));
  const rows = capabilityNames.map((capability) => [
    `\`${capability}\``,
    meanings[capability],
    ...all.map(({ can }) => cell(can[capability])),
  ]);
  const bodies = all.map(({ can }) => (can.body === "value" ? "by reference" : "bytes"));
  rows.push(["bodies", "how they travel", ...bodies]);
  rows.push(["durability", "what a confirmed publish survives", ...all.map(({ can }) => can.durability)]);
  rows.push([
    "largest body",
    "above it `TOO_LARGE`",
    ...all.map(({ can }) => `${Number((can.maxBodyBytes / 1024 / 1024).toFixed(2))} MiB`),
  ]);
  return markdown(["capability", "", ...all.map(({ name }) => name)], rows);
}

function cell(capability: Capability): string {
  const limits = Object.entries(capability.limits ?? {}).map(([name, value]) => `${name} ${value.toLocaleString("en")}`);
  const level = capability.level === "none" ? "–" : capability.level;
  return limits.length === 0 ? level : `${level} (${limits.join(", ")})`;
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

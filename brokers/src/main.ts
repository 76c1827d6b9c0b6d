// npm run brokers -- up NAME[:3]...      starts them in the background, prints addresses and settings
//                    down [NAME...]      ends them (all), with their processes and data
//                    status [NAME...]    what runs, and whether it answers
import { down, hold, status, up } from "./command.ts";
import { servers } from "./servers.ts";
import type { BrokerName } from "./types.ts";

const names = Object.keys(servers) as BrokerName[];
const usage = `usage: npm run brokers -- up NAME[:3]... | down [NAME...] | status [NAME...]
names: ${names.map((name) => (servers[name].clusters ? `${name}[:3]` : name)).join(" ")}\n`;

interface Wanted {
  readonly name: BrokerName;
  readonly nodes: 1 | 3;
}

function parse(word: string): Wanted | undefined {
  const [first = "", nodes = "1", ...more] = word.split(":");
  const name = names.find((one) => one === first);
  if (name === undefined || more.length > 0 || (nodes !== "1" && nodes !== "3") || (nodes === "3" && !servers[name].clusters))
    return undefined;
  return { name, nodes: nodes === "3" ? 3 : 1 };
}

async function main([verb, ...words]: readonly string[]): Promise<void> {
  const wanted: Wanted[] = [];
  for (const word of words) {
    const one = parse(word);
    if (one === undefined) return misused(`no such broker: ${word}`);
    wanted.push(one);
  }
  const chosen = wanted.length > 0 ? wanted.map(({ name }) => name) : names;
  if (verb === "up" && wanted.length > 0) for (const { name, nodes } of wanted) await up(name, nodes);
  else if (verb === "down") for (const name of chosen) await down(name);
  else if (verb === "status") for (const name of chosen) await status(name);
  else if (verb === "hold" && wanted[0] !== undefined) await hold(wanted[0].name, wanted[0].nodes);
  else misused(verb === undefined ? "" : `not understood: ${[verb, ...words].join(" ")}`);
}

function misused(why: string): void {
  process.stderr.write(`${why}${why === "" ? "" : "\n"}${usage}`);
  process.exitCode = 2;
}

try {
  await main(process.argv.slice(2));
} catch (cause) {
  process.stderr.write(`${cause instanceof Error ? cause.message : String(cause)}\n`);
  process.exitCode = 1;
}

// A process that starts the brokers named on its command line. `--dispose` disposes of them; else it waits to be killed.
import { startBroker, type BrokerName } from "./index.ts";

const words = process.argv.slice(2);
const names = words.filter((word) => !word.startsWith("--")) as BrokerName[];
const brokers = await Promise.all(names.map((name) => startBroker(name)));
process.stdout.write(`${brokers.flatMap((broker) => broker.nodes.map((node) => node.port)).join(" ")}\n`);
if (words.includes("--dispose")) for (const broker of brokers) await broker[Symbol.asyncDispose]();
else if (words.includes("--wait")) setInterval(() => {}, 60_000);

// A process of its own, to be killed: a member that holds all that it gets, and tells how many that are.
import { kafka } from "../kafka.ts";
import { keep, until } from "./real.fixture.ts";

const [address = "", topic = "", group = "", groupProtocol = "classic"] = process.argv.slice(2);
const transport = kafka({ brokers: address, groupProtocol: groupProtocol === "consumer" ? "consumer" : "classic" });
await transport.connect({ signal: AbortSignal.timeout(20_000), onStatus: () => undefined });
const kept = await keep(transport, { topic, group }, false);
process.stdout.write("ready\n");
let told = 0;
await until(
  "the end",
  () => {
    if (kept.got.length > told) process.stdout.write(`${(told = kept.got.length)}\n`);
    return false;
  },
  120_000,
);

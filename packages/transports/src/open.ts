import { WaybillError, type Transport } from "@waybill/core";
import { filePath, hostList, optionsOf, parseAddress, type Address } from "./address.ts";

/** One line a scheme: what opens it, loaded only when it is asked for. */
const table: Readonly<Record<string, (address: Address) => Promise<Transport>>> = {
  async embedded(address) {
    const { embedded } = await import("@waybill/embedded");
    return embedded({ ...optionsOf(address), path: filePath(address) });
  },
  amqp: openRabbitmq,
  amqps: openRabbitmq,
  rabbitmq: openRabbitmq,
  kafka: openKafka,
  async memory(address) {
    const { memory } = await import("@waybill/core");
    if (address.rest !== "") throw new WaybillError("CONFIG", "transport URL: memory has no address; write memory: or memory:?shape=log");
    return memory(optionsOf(address));
  },
};

/**
 * `amqp://user:password@host:5672,host:5672/vhost?queue=classic`: several hosts are nodes of one cluster, and `queue` is the type
 * of the queues. The adapter reads what stands between the scheme and the `?`.
 */
async function openRabbitmq(address: Address): Promise<Transport> {
  const { rabbitmq } = await import("@waybill/rabbitmq");
  const { queue: type, ...options } = optionsOf(address);
  const [, user = "", hosts = "", path = ""] = /^\/\/((?:[^/]*@)?)([^/]*)(.*)$/.exec(address.rest) ?? [];
  const scheme = address.scheme === "amqps" ? "amqps" : "amqp";
  const url = hosts.split(",").map((host) => `${scheme}://${user}${host}${path}`);
  return rabbitmq({
    ...options,
    ...(type === undefined ? {} : { queue: { type: type as "quorum" } }),
    url: url.length === 1 ? String(url[0]) : url,
  });
}

/** `kafka://user:password@host:9092,host:9092?sasl=scram-sha-512&tls=true`; without `sasl` a user logs in by `plain`. */
async function openKafka(address: Address): Promise<Transport> {
  const { kafka } = await import("@waybill/kafka");
  const { sasl: mechanism = "plain", ...options } = optionsOf(address);
  const { credentials, hosts } = hostList(address);
  const sasl = credentials === undefined ? {} : { sasl: { mechanism: mechanism as "plain", ...credentials } };
  return kafka({ ...options, ...sasl, ...(hosts === "" ? {} : { brokers: hosts }) });
}

/** The schemes that `openTransport` knows. */
export const schemes: readonly string[] = Object.freeze(Object.keys(table).toSorted());

/**
 * Makes the transport that a URL names, not yet connected: `embedded:orders.db`, `embedded:///var/lib/orders.db`,
 * `memory:?shape=log`. What follows the `?` are the adapter's own options. Throws `CONFIG`; its errors never repeat the URL.
 */
export async function openTransport(url: string): Promise<Transport> {
  const address = parseAddress(url);
  const open = Object.hasOwn(table, address.scheme) ? table[address.scheme] : undefined;
  if (open === undefined) {
    throw new WaybillError(
      "CONFIG",
      `transport URL: no transport for this scheme; there are ${schemes.map((scheme) => `${scheme}:`).join(", ")}`,
    );
  }
  return open(address);
}

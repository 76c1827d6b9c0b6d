import { WaybillError, type Transport } from "@waybill/core";
import { filePath, optionsOf, parseAddress, type Address } from "./address.ts";

/** One line a scheme: what opens it, loaded only when it is asked for. */
const table: Readonly<Record<string, (address: Address) => Promise<Transport>>> = {
  async embedded(address) {
    const { embedded } = await import("@waybill/embedded");
    return embedded({ ...optionsOf(address), path: filePath(address) });
  },
  amqp: openRabbitmq,
  amqps: openRabbitmq,
  async memory(address) {
    const { memory } = await import("@waybill/core");
    if (address.rest !== "") throw new WaybillError("CONFIG", "transport URL: memory has no address; write memory: or memory:?shape=log");
    return memory(optionsOf(address));
  },
};

/** The adapter reads the rest of the URL: user, hosts, virtual host. */
async function openRabbitmq(address: Address): Promise<Transport> {
  const { rabbitmq } = await import("@waybill/rabbitmq");
  return rabbitmq({ ...optionsOf(address), url: `${address.scheme}:${address.rest}` });
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

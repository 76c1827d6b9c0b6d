import type { Problem } from "@waybill/core";

export interface BrokerAddress {
  readonly host: string;
  readonly port: number;
}

const defaultPort = 9092;

/** What cannot be read goes into `problems`, without its text: somebody may have written a password into it. */
export function parseBrokers(given: string | readonly string[], problems: Problem[]): readonly BrokerAddress[] {
  const texts = typeof given === "string" ? [given] : given;
  const found: BrokerAddress[] = [];
  texts.forEach((text, index) => {
    const path = typeof given === "string" ? "kafka.brokers" : `kafka.brokers[${index}]`;
    for (const one of text.replace(/^kafka:\/\//, "").split(",")) {
      const address = parseBroker(one);
      if (address === undefined) problems.push({ path, expected: "host:port, such as 127.0.0.1:9092", found: "another text" });
      else found.push(address);
    }
  });
  return found;
}

function parseBroker(text: string): BrokerAddress | undefined {
  const parts = /^(?:\[([0-9a-f:.%]+)\]|([A-Za-z0-9._-]+))(?::(\d{1,5}))?\/?$/i.exec(text.trim());
  const host = parts?.[1] ?? parts?.[2];
  const port = parts?.[3] === undefined ? defaultPort : Number(parts[3]);
  return host === undefined || port < 1 || port > 65_535 ? undefined : { host, port };
}

/** For people. */
export function placeOf({ host, port }: BrokerAddress): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

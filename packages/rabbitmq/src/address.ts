import type { Problem } from "@waybill/core";

/** One broker, as it is connected to. */
export interface BrokerAddress {
  readonly secure: boolean;
  readonly host: string;
  readonly port: number;
  readonly username: string;
  readonly password: string;
  readonly vhost: string;
}

interface Instead {
  readonly username?: string;
  readonly password?: string;
  readonly vhost?: string;
}

/** Undefined if it cannot be read: then `problems` says why, without the URL, which may hold a password. */
export function parseUrl(text: string, instead: Instead, path: string, problems: Problem[]): BrokerAddress | undefined {
  const wrong = (expected: string): undefined => void problems.push({ path, expected, found: "another text" });
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    return wrong("a URL such as amqp://user:password@host:5672/vhost");
  }
  if (url.protocol !== "amqp:" && url.protocol !== "amqps:") return wrong("the scheme amqp: or amqps:");
  if (url.hostname === "") return wrong("a host");
  if (url.search !== "" || url.hash !== "") return wrong("nothing after the virtual host: options are given beside the URL");
  const secure = url.protocol === "amqps:";
  try {
    const given = decodeURIComponent(url.pathname.slice(1));
    return {
      secure,
      host: url.hostname.replace(/^\[|\]$/g, ""),
      port: url.port === "" ? (secure ? 5671 : 5672) : Number(url.port),
      username: instead.username ?? (url.username === "" ? "guest" : decodeURIComponent(url.username)),
      password: instead.password ?? (url.password === "" && url.username === "" ? "guest" : decodeURIComponent(url.password)),
      // As elsewhere: without a path, or with nothing but a slash, it is the default one.
      vhost: instead.vhost ?? (given === "" ? "/" : given),
    };
  } catch {
    return wrong("percent signs written as %25");
  }
}

/** For people: no credentials. */
export function placeOf({ host, port }: BrokerAddress): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

import { pathToFileURL } from "node:url";

/** Where messages go, and how to let go of it. */
export interface Server {
  /** For `openTransport`. */
  readonly url: string;
  /** The database file that the transport itself is, if it is one: the services' data may live in it too. */
  readonly file: string | undefined;
  stop(): Promise<void>;
}

/** A name starts what it needs and lives in `directory`; a URL names what runs already. Undefined: neither. */
export async function startServer(transport: string, directory: string): Promise<Server | undefined> {
  const starter = starters[transport];
  if (starter !== undefined) return starter(directory);
  return /^[a-z][a-z0-9+.-]*:/i.test(transport) ? outside(transport) : undefined;
}

export const serverNames: readonly string[] = ["embedded"];

const starters: Readonly<Record<string, (directory: string) => Promise<Server>>> = {
  embedded: (directory) => Promise.resolve(outside(embeddedUrl(`${directory}/messages.db`))),
};

function outside(url: string): Server {
  return { url, file: fileOf(url), stop: () => Promise.resolve() };
}

function embeddedUrl(path: string): string {
  return pathToFileURL(path).href.replace(/^file:/, "embedded:");
}

function fileOf(_url: string): string | undefined {
  return undefined;
}

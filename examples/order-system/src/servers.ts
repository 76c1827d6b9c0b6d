import { join } from "node:path";
import { pathToFileURL } from "node:url";

/** Where messages go, and how to let go of it. */
export interface Server {
  /** For `openTransport`. */
  readonly url: string;
  /** Its messages are in the run's directory, and share its fate. */
  readonly inDirectory: boolean;
  stop(): Promise<void>;
}

/** One line a name: what starts its server, with its files in `directory`. */
const starters: Readonly<Record<string, (directory: string) => Promise<Server>>> = {
  // No server: the file is all there is.
  embedded: (directory) =>
    Promise.resolve(running(pathToFileURL(join(directory, "messages.db")).href.replace(/^file:/, "embedded:"), true)),
};

export const serverNames: readonly string[] = Object.keys(starters);

/** A name starts what it needs; a URL is of something that runs already. Undefined: neither. */
export async function startServer(transport: string, directory: string): Promise<Server | undefined> {
  const starter = Object.hasOwn(starters, transport) ? starters[transport] : undefined;
  if (starter !== undefined) return starter(directory);
  // Each service is a process of its own, and would have a memory of its own.
  if (/^memory:/i.test(transport)) throw new Error("--transport: memory: lives in one process, and these are four");
  return transport.includes(":") ? running(transport, false) : undefined;
}

function running(url: string, inDirectory: boolean): Server {
  return { url, inDirectory, stop: () => Promise.resolve() };
}

// Where a server comes from: installed, else installed now, else Docker.
import { installLock } from "./cache.ts";
import { hasImage, inContainer, pullImage } from "./docker.ts";
import { environmentName } from "./environment.ts";
import type { Installed, Server } from "./server.ts";

/** One installation at a time across processes. An error names what was tried and all the ways there are. */
export async function find(server: Server): Promise<Installed> {
  return (await findHere(server)) ?? installLock(async () => (await findHere(server)) ?? install(server));
}

async function findHere(server: Server): Promise<Installed | undefined> {
  const found = await server.find();
  if (found !== undefined) return found;
  return hasImage(server.container.image) ? contained(server) : undefined;
}

async function install(server: Server): Promise<Installed> {
  const failures: string[] = [];
  const attempt = async (work: () => Promise<Installed>): Promise<Installed | undefined> => {
    try {
      return await work();
    } catch (cause) {
      failures.push(cause instanceof Error ? cause.message : String(cause));
      return undefined;
    }
  };
  const installed = (await attempt(() => server.install())) ?? (await attempt(() => pull(server)));
  if (installed !== undefined) return installed;
  const ways = [...server.ways, `Docker with the image ${server.container.image}`, `an address in ${environmentName(server.name)}`];
  throw new Error(
    `${server.title} is not on this machine and could not be installed: ${failures.join("; ")}. Ways to have it: ${ways.join("; ")}.`,
  );
}

async function pull(server: Server): Promise<Installed> {
  await pullImage(server.container.image);
  return contained(server);
}

function contained({ container: { image, home } }: Server): Installed {
  return { version: image.slice(image.lastIndexOf(":") + 1), home, wrap: (command) => inContainer(image, command) };
}

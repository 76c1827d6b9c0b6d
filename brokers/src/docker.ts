// The last way to have a server: the same command inside a container of its image. The container shares the machine's
// network and the folder of temporary files, so that it is a process like the others: same ports, same signals.
import { spawnSync } from "node:child_process";
import { tmpdir } from "node:os";
import { cacheFolder } from "./cache.ts";
import { markName } from "./process-tree.ts";
import { findProgram, run } from "./run.ts";
import type { Command } from "./server.ts";

/** True when the image is on this machine already. */
export function hasImage(image: string): boolean {
  if (findProgram("docker") === undefined) return false;
  return spawnSync("docker", ["image", "inspect", image], { stdio: "ignore", timeout: 20_000 }).status === 0;
}

/** Throws when there is no Docker or no such image. */
export async function pullImage(image: string): Promise<void> {
  if (process.platform !== "linux") throw new Error("containers share the machine's network on Linux only");
  if (findProgram("docker") === undefined) throw new Error("this machine has no docker");
  await run("docker", ["pull", "--quiet", image], { timeoutMs: 600_000 });
}

/** The command that runs `command` in a container, as the user that it names or else as this one. */
export function inContainer(image: string, command: Command): Command {
  const user = command.user ?? { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };
  const folders = [tmpdir(), cacheFolder()].flatMap((folder) => ["--volume", `${folder}:${folder}`]);
  const environment = [...Object.keys(command.env ?? {}), markName].flatMap((name) => ["--env", name]);
  return {
    program: findProgram("docker") ?? "docker",
    args: [
      ...["run", "--rm", "--network", "host", "--user", `${user.uid}:${user.gid}`],
      ...["--workdir", command.cwd ?? tmpdir(), ...folders, ...environment, "--entrypoint", command.program, image],
      ...command.args,
    ],
    ...(command.env === undefined ? {} : { env: command.env }),
  };
}

import type { Duplex } from "node:stream";

/** The client writes one frame a call; corked, all frames of a turn go out in one. */
export function corkWrites(socket: Duplex): void {
  const write = socket.write.bind(socket) as (...args: readonly unknown[]) => boolean;
  let corked = false;
  const uncork = (): void => {
    corked = false;
    socket.uncork();
  };
  socket.write = (...args: readonly unknown[]): boolean => {
    if (!corked) {
      corked = true;
      socket.cork();
      process.nextTick(uncork);
    }
    return write(...args);
  };
}

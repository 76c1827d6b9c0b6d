import type { Lanes, Message, Transport } from "../transport.ts";
import type { Routes } from "./routes.ts";

/** Each transport keeps its own lanes. What is common to all lanes is as narrow as the narrowest of them. */
export function createLanes(routes: Routes): Lanes {
  const all = routes.transports.map(({ lanes }) => lanes);
  // One string a lane and not one a message; the last lane of each transport is the likely one.
  const lastOwn: (string | undefined)[] = all.map(() => undefined);
  const lastName: string[] = all.map(() => "");

  function of(message: Message): string {
    const index = routes.ofMessage(message);
    const own = (routes.transports[index] as Transport).lanes.of(message);
    if (own !== lastOwn[index]) {
      lastOwn[index] = own;
      lastName[index] = `${index}/${own}`;
    }
    return lastName[index] as string;
  }

  return {
    of,
    batches: Math.min(...all.map(({ batches }) => batches)),
    maxMessages: Math.min(...all.map(({ maxMessages }) => maxMessages)),
    maxBytes: Math.min(...all.map(({ maxBytes }) => maxBytes)),
  };
}

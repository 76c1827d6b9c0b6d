import type { BrowseRequest, Position, StartPosition, Topology, Transport } from "../transport.ts";
import type { Shape, TransactionLink } from "./shape.ts";

type Face = "begin" | "inspect" | "declare" | "check" | "browse" | "remove" | "seek";

/** Waits until the broker can be asked. */
type Ask = <T>(answer: () => T, signal?: AbortSignal) => Promise<T>;

/** Those members of the contract that this shape has. */
export function facesOf(shape: Shape, ask: Ask, transactionLink: () => TransactionLink): Pick<Transport, Face> {
  const { begin, inspect, declare, check, browse, remove, seek } = shape;
  return {
    ...(begin && { begin: ({ signal }: { readonly signal: AbortSignal }) => ask(() => begin(transactionLink()), signal) }),
    ...(inspect && { inspect: (topic: string, group: string) => ask(() => inspect(topic, group)) }),
    ...(declare && { declare: (topology: Topology) => ask(() => declare(topology)) }),
    ...(check && { check: (topology: Topology) => ask(() => check(topology)) }),
    ...(browse && { browse: (request: BrowseRequest) => ask(() => browse(request), request.signal) }),
    ...(remove && { remove: (topic: string, group: string, positions: readonly Position[]) => ask(() => remove(topic, group, positions)) }),
    ...(seek && { seek: (topic: string, group: string, to: StartPosition) => ask(() => seek(topic, group, to)) }),
  };
}

import { systemClock } from "../clock.ts";
import { withDeadline } from "../deadline.ts";
import { isWaybillError, WaybillError } from "../errors.ts";
import type { ConnectOptions, Transport, TransportStatus } from "../transport.ts";

const badness: Readonly<Record<TransportStatus, number>> = { connected: 0, connecting: 1, disconnected: 2, closed: 3 };
const closeMs = 10_000;

/** Connects and closes several transports as if they were one. */
export interface Links {
  /**
   * Those that are not connected yet. A transport that cannot be reached now leaves the others connected, for the next call; one
   * that can never be reached closes them.
   */
  connect(options: ConnectOptions): Promise<void>;
  close(): Promise<void>;
}

export function createLinks(transports: readonly Transport[]): Links {
  const states: TransportStatus[] = transports.map(() => "disconnected");
  const connected = new Set<Transport>();
  let told: TransportStatus | undefined;
  let onStatus: ConnectOptions["onStatus"] = () => undefined;
  let closing: Promise<void> | undefined;

  function changed(index: number, status: TransportStatus, reason: WaybillError | undefined): void {
    states[index] = status;
    const worst = states.reduce((bad, state) => (badness[state] > badness[bad] ? state : bad));
    if (worst === told && reason === undefined) return;
    told = worst;
    onStatus(worst, reason);
  }

  async function connectOne(index: number, signal: AbortSignal): Promise<void> {
    const transport = transports[index] as Transport;
    if (connected.has(transport)) return;
    await transport.connect({ signal, onStatus: (status, reason) => changed(index, status, reason) });
    connected.add(transport);
    if (states[index] !== "connected") changed(index, "connected", undefined);
  }

  async function connect(options: ConnectOptions): Promise<void> {
    if (closing !== undefined) throw new WaybillError("CLOSED", "the transport is closed");
    ({ onStatus } = options);
    // One that can never be reached ends the wait for the others.
    const hopeless = new AbortController();
    const signal = AbortSignal.any([options.signal, hopeless.signal]);
    const failures: unknown[] = [];
    await Promise.all(
      transports.map((_, index) =>
        connectOne(index, signal).catch((error: unknown) => {
          failures.push(error);
          if (isFinal(error)) hopeless.abort();
        }),
      ),
    );
    const final = failures.find(isFinal);
    if (final !== undefined) await close();
    if (failures.length > 0) throw (final ?? failures[0]) as Error;
  }

  async function shut(): Promise<void> {
    await Promise.all(transports.map((transport) => withDeadline(transport.close(), closeMs, systemClock)));
    transports.forEach((_, index) => (states[index] = "closed"));
    if (told !== "closed") onStatus((told = "closed"));
  }

  function close(): Promise<void> {
    return (closing ??= shut());
  }

  return { connect, close };
}

function isFinal(error: unknown): boolean {
  return isWaybillError(error) && !error.retryable;
}

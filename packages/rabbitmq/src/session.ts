import { WaybillError, isWaybillError } from "@waybill/core";
import { aborted, pause } from "./deadline.ts";
import { openLink, type Link } from "./link.ts";
import type { Settings } from "./options.ts";

/** Keeps one connection open: a new one, and never the old one again, whenever it has ended, at the next address if need be. */
export interface Session {
  /** The first connection; final errors and what `onUp` throws are thrown, nothing is tried again. */
  open(signal: AbortSignal): Promise<void>;
  readonly link: Link | undefined;
  /** Why the broker takes no publishes at the moment. */
  readonly blocked: string | undefined;
  /** Of a first connection that came too early: `open` may be called again. */
  drop(): Promise<void>;
  close(): Promise<void>;
}

export interface SessionOptions {
  readonly settings: Settings;
  readonly role: "publish" | "consume";
  /** Makes ready what lives on the connection; it is up when this has resolved. */
  readonly onUp: (link: Link) => Promise<void>;
  /** It is up. */
  readonly onReady: () => void;
  /** It was up, and is not any more. */
  readonly onDown: (reason: WaybillError) => void;
  /** It is being tried again. */
  readonly onTry: () => void;
  readonly onFailedTry: (reason: WaybillError) => void;
  readonly onBlocked: (reason: string | undefined) => void;
}

const firstWaitMs = 100;
const longestWaitMs = 3_000;
/** A broker that starts may refuse a virtual host for a moment. */
const againMs = 500;

export function createSession(options: SessionOptions): Session {
  const { settings, role } = options;
  /** From `open` to `drop` or `close`. */
  let life = new AbortController();
  let closed = false;
  let link: Link | undefined;
  let blocked: string | undefined;
  let nextAddress = 0;
  let keeping: Promise<void> = Promise.resolve();

  async function connectOnce(signal: AbortSignal): Promise<Link> {
    let last: unknown;
    for (let tried = 0; tried < settings.addresses.length; tried += 1) {
      if (signal.aborted) throw aborted();
      const opened = await openNext(signal).catch((error: unknown) => void (last = error));
      if (opened === undefined) {
        if (isWaybillError(last) && !last.retryable) throw last;
        continue;
      }
      return opened;
    }
    throw last;
  }

  async function openNext(signal: AbortSignal): Promise<Link> {
    const address = settings.addresses[nextAddress % settings.addresses.length];
    if (address === undefined) throw new WaybillError("CONFIG", "rabbitmq.url: no address");
    const open = (): Promise<Link> => {
      const opening: { link: Link | undefined } = { link: undefined };
      return openLink({
        address,
        settings,
        role,
        signal,
        onBlocked(reason) {
          if (opening.link !== undefined && opening.link !== link) return;
          blocked = reason;
          options.onBlocked(reason);
        },
      }).then((made) => (opening.link = made));
    };
    try {
      return await open();
    } catch (error) {
      if (isWaybillError(error, "AUTH") && error.message.includes("virtual host")) {
        await pause(againMs, signal);
        return await open();
      }
      // Where it works it stays; where not, the next one is asked, by the next call as well.
      nextAddress += 1;
      throw error;
    }
  }

  async function bringUp(signal: AbortSignal, mine: AbortSignal): Promise<void> {
    const made = await connectOnce(signal);
    blocked = undefined;
    link = made;
    try {
      await options.onUp(made);
      if (signal.aborted) throw aborted();
      if (!made.isOpen) throw await made.ended;
    } catch (error) {
      link = undefined;
      made.destroy(new WaybillError("CONNECTION_LOST", `${made.place}: not made ready`));
      throw error;
    }
    options.onReady();
    void made.ended.then((reason) => {
      if (link !== made) return;
      link = undefined;
      if (mine.aborted) return;
      options.onDown(reason);
      keeping = keep(mine);
    });
  }

  async function keep(signal: AbortSignal): Promise<void> {
    for (let waitMs = firstWaitMs; !signal.aborted; waitMs = Math.min(waitMs * 2, longestWaitMs)) {
      // Spread, so that a fleet does not come back in step.
      await pause(waitMs * (0.5 + Math.random() / 2), signal);
      if (signal.aborted) return;
      options.onTry();
      try {
        return await bringUp(signal, signal);
      } catch (error) {
        if (signal.aborted) return;
        options.onFailedTry(
          isWaybillError(error) ? error : new WaybillError("CONNECTION", "the connection could not be made ready", { cause: error }),
        );
      }
    }
  }

  async function drop(): Promise<void> {
    life.abort();
    const last = link;
    link = undefined;
    await last?.close();
    await keeping;
  }

  return {
    async open(signal) {
      if (closed) throw new WaybillError("CLOSED", "the transport is closed");
      life = new AbortController();
      await bringUp(AbortSignal.any([signal, life.signal]), life.signal);
    },
    get link() {
      return link;
    },
    get blocked() {
      return blocked;
    },
    drop,
    async close() {
      closed = true;
      await drop();
    },
  };
}

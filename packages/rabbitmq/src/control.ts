import { createPool, WaybillError, type ConnectionPool } from "@waybill/core";
import type { Channel, Replies } from "amqplib";
import { answered } from "./deadline.ts";
import { replyCodeOf, replyError } from "./failures.ts";
import type { Link } from "./link.ts";
import type { Settings } from "./options.ts";

/** Channels to declare and to look by: an answer of no ends the channel, and nothing else with it. */
export interface Control {
  control<T>(what: string, work: (channel: Channel) => Promise<T>): Promise<T>;
  /** Undefined: it is not there. */
  look(queue: string): Promise<Replies.AssertQueue | undefined>;
  close(): Promise<void>;
}

const idleMs = 30_000;
const closeMs = 1_000;

export function createControl(settings: Settings, link: () => Link | undefined): Control {
  const closed = new WeakSet<Channel>();
  const owners = new WeakMap<Channel, Link>();

  const pool: ConnectionPool<Channel> = createPool<Channel>({
    name: "rabbitmq control channels",
    max: settings.maxControlChannels,
    acquireTimeout: settings.replyTimeoutMs,
    idleTimeout: idleMs,
    async create() {
      const current = link();
      if (current === undefined) throw new WaybillError("CONNECTION", "the broker cannot be reached");
      const what = "a control channel";
      const channel = await answered(what, current.model.createChannel(), settings.replyTimeoutMs).catch((error: unknown) => {
        throw replyError(error, what);
      });
      // What it says is the error of the call that waits.
      channel.on("error", () => undefined);
      channel.on("close", () => closed.add(channel));
      owners.set(channel, current);
      return channel;
    },
    check: (channel) => !closed.has(channel) && owners.get(channel) === link(),
    destroy: (channel) =>
      closed.has(channel) || owners.get(channel)?.isOpen !== true ? undefined : channel.close().catch(() => undefined),
  });

  async function on<T>(what: string, work: (channel: Channel) => Promise<T>): Promise<T> {
    const lease = await pool.acquire({ holder: what });
    try {
      const answer = await answered(what, work(lease.value), settings.replyTimeoutMs);
      lease.release();
      return answer;
    } catch (error) {
      lease.discard();
      throw error;
    }
  }

  return {
    async control(what, work) {
      try {
        return await on(what, work);
      } catch (error) {
        throw replyError(error, what);
      }
    },
    async look(queue) {
      const what = `queue "${queue}"`;
      try {
        return await on(what, (channel) => channel.checkQueue(queue));
      } catch (error) {
        if (replyCodeOf(error) === 404) return undefined;
        throw replyError(error, what);
      }
    },
    async close() {
      await pool.close({ timeout: closeMs });
    },
  };
}

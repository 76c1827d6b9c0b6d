import type { API } from "@platformatic/kafka";
import { WaybillError, type Clock } from "@waybill/core";
import { call } from "../session/call.ts";
import type { KafkaSession } from "../session/session.ts";

/** Calls to the coordinator of a group, on a connection of their own. */
export interface CoordinatorLink {
  /** Answers also what holds an error code. Rejects with `CONNECTION` or `CONNECTION_LOST`; then the next call finds the coordinator again. */
  call<Asked extends unknown[], Answer>(api: API<Asked, Answer>, timeoutMs: number, ...asked: Asked): Promise<Answer>;
  /** It said that it is the coordinator no more. */
  moved(): void;
  close(): void;
}

/** `requestTimeoutMs`: above what the coordinator may let a call wait. */
export function createCoordinatorLink(session: KafkaSession, group: string, name: string, requestTimeoutMs: number): CoordinatorLink {
  let closed = false;

  function moved(): void {
    session.forgetCoordinator(group);
  }

  return {
    async call(api, timeoutMs, ...asked) {
      if (closed) throw new WaybillError("CLOSED", "the member has left");
      const { connection } = await session.coordinatorOf(group, { name, requestTimeoutMs });
      try {
        return await within(session.clock, timeoutMs, call(api, connection, ...asked));
      } catch (error) {
        // What comes late would be read as the answer to another call, and the coordinator may have moved with its node.
        session.release(name);
        moved();
        throw error;
      }
    },
    moved,
    close() {
      closed = true;
      session.release(name);
    },
  };
}

export function within<T>(clock: Clock, timeoutMs: number, promise: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = clock.after(timeoutMs, () => reject(new WaybillError("CONNECTION_LOST", `no answer within ${timeoutMs} ms`)));
    promise.then(
      (value) => {
        timer.cancel();
        resolve(value);
      },
      (error: unknown) => {
        timer.cancel();
        reject(error);
      },
    );
  });
}

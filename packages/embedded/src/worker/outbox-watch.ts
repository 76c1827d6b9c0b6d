import type { Post } from "./serve.ts";
import type { Session } from "./session.ts";

/** Tells the user's thread of new rows in the outbox, while a relay there wants to hear of them. */
export interface OutboxWatch {
  watched(on: boolean): void;
  look(session: Session): void;
}

export function createOutboxWatch(post: Post): OutboxWatch {
  let isWatched = false;
  let lastRow = 0;
  return {
    watched(on) {
      isWatched = on;
    },
    look({ connection }) {
      if (!isWatched) return;
      const newest = Number(connection.one("select max(row) from waybill_outbox")?.[0] ?? 0);
      if (newest > lastRow) post({ t: "outbox" });
      lastRow = Math.max(newest, lastRow);
    },
  };
}

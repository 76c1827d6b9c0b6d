import { isWaybillError, type Message } from "@waybill/core";

/** A message that the broker took. */
export interface PublishedRecord<Body = unknown> {
  readonly body: Body;
  readonly message: Message;
  /** More than once: a repeat of the same id. */
  readonly times: number;
}

/** `running` · `handled`: the handler returned · `failed`: it threw · `crashed`: its process died. */
export type AttemptState = "running" | "handled" | "failed" | "crashed";

export interface AttemptRecord {
  readonly topic: string;
  readonly group: string;
  /** Of the message. */
  readonly id: string;
  /** As the handler was told: 1 for the first. */
  readonly attempt: number;
  readonly body: unknown;
  readonly state: AttemptState;
  /** Of a failed one: what was thrown, or its code. */
  readonly error: unknown;
}

export interface Recorder {
  tookMessage(message: Message): void;
  /** Answers how to say how it ended; only the first word counts. */
  began(attempt: Pick<AttemptRecord, "topic" | "group" | "id" | "attempt" | "body">): (state: AttemptState, error?: unknown) => void;
  readonly published: readonly PublishedRecord[];
  readonly attempts: readonly AttemptRecord[];
}

type Writable<T> = { -readonly [Key in keyof T]: T[Key] };

export function createRecorder(): Recorder {
  const published: Writable<PublishedRecord>[] = [];
  const byId = new Map<string, Writable<PublishedRecord>>();
  const attempts: AttemptRecord[] = [];
  return {
    tookMessage(message) {
      // Copies to one group are the retries and dead letters of what was published before.
      if (message.group !== undefined) return;
      const key = `${message.topic} ${message.id}`;
      const known = byId.get(key);
      if (known !== undefined) {
        known.times += 1;
        return;
      }
      const record = { body: message.body, message, times: 1 };
      published.push(record);
      byId.set(key, record);
    },
    began(attempt) {
      const record: Writable<AttemptRecord> = { ...attempt, state: "running", error: undefined };
      attempts.push(record);
      return (state, error) => {
        if (record.state !== "running") return;
        record.state = state;
        record.error = isWaybillError(error) ? error.code : error;
      };
    },
    published,
    attempts,
  };
}

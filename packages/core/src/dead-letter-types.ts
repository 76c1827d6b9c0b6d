import type { Headers, Message } from "./transport.ts";

/** Why and when a message was given up. From the headers that its dead letter carries. */
export interface DeadLetterCause {
  readonly code: string;
  readonly text: string;
  readonly attempts: number;
  readonly topic: string;
  readonly group: string;
  readonly position: string | undefined;
  /** ms since the epoch. */
  readonly firstFailureAt: number;
  readonly lastFailureAt: number;
}

export interface DeadLetter {
  /** With the id and the headers it had; the cause headers are taken off. `body` as the transport has it. */
  readonly message: Message;
  readonly cause: DeadLetterCause;
}

export interface ReplayOptions {
  /** Which ones; default all. */
  readonly where?: (letter: DeadLetter) => boolean;
  /** Messages per second at most; default unlimited. */
  readonly rate?: number;
  /** Counts, and changes nothing. */
  readonly dryRun?: boolean;
  /** A corrected body or headers; id, key and topic stay. `body` in the form that `DeadLetter.message.body` has. */
  readonly edit?: (letter: DeadLetter) => { readonly body?: unknown; readonly headers?: Headers };
  /** Ends it after the one that is being written, with the report of what was done. */
  readonly signal?: AbortSignal;
}

export interface ReplayReport {
  readonly matched: number;
  readonly replayed: number;
  readonly left: number;
}

/** The dead letters of one group of one topic. */
export interface DeadLetters {
  /** Oldest first. */
  list(options?: { readonly limit?: number; readonly signal?: AbortSignal }): Promise<readonly DeadLetter[]>;
  count(): Promise<number>;
  /** To that group alone, with the same id and fresh attempts. The next one goes on where one was interrupted; a repeat, after a crash, carries the same id. */
  replay(options?: ReplayOptions): Promise<ReplayReport>;
  /** Deletes. */
  discard(options: {
    readonly where: (letter: DeadLetter) => boolean;
    readonly dryRun?: boolean;
    readonly signal?: AbortSignal;
  }): Promise<number>;
}

// Asks a server over TCP whether it serves.
import { connect } from "node:net";

export interface Question {
  readonly host: string;
  readonly port: number;
  /** Written on connect. Default: nothing, for a server that speaks first. */
  readonly first?: Uint8Array;
  /** Undefined: more is needed. A throw ends it. */
  answer(received: Buffer): string | undefined;
}

const timeoutMs = 3_000;

/** One connection, one question, one answer, within 3 s; the connection is always destroyed. */
export function ask(question: Question): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: question.host, port: question.port });
    const parts: Buffer[] = [];
    const timer = setTimeout(() => fail(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs);
    const finish = (): void => {
      clearTimeout(timer);
      socket.destroy();
    };
    const fail = (cause: unknown): void => {
      finish();
      reject(new Error(`${question.host}:${question.port} does not serve`, { cause }));
    };
    socket.on("error", fail);
    socket.on("close", () => fail(new Error("closed")));
    if (question.first !== undefined) socket.write(question.first);
    socket.on("data", (part: Buffer) => {
      parts.push(part);
      try {
        const text = question.answer(Buffer.concat(parts));
        if (text === undefined) return;
        finish();
        resolve(text);
      } catch (cause) {
        fail(cause);
      }
    });
  });
}

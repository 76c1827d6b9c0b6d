import { sleepUntil } from "./generator.ts";
import { frame, logLine, openScreen, type Scene } from "./view.ts";

/** Everything that a person reads while it runs. */
export interface Report {
  readonly live: boolean;
  /** What runs, and where. */
  title(text: string): void;
  /** Something happened; the live view shows the last few, a log shows them all if `important`. */
  note(text: string, important: boolean): void;
  /** A line of the input that is no order. */
  rejected(line: number | undefined, reason: string): void;
  readonly notes: readonly string[];
  /** Looks and shows, again and again, until the answer is called. */
  show(look: () => Promise<Scene>): () => Promise<void>;
}

export interface Terminal {
  readonly out: NodeJS.WriteStream;
  readonly err: NodeJS.WriteStream;
  readonly env: Readonly<Record<string, string | undefined>>;
}

const liveEveryMs = 250;
const logEveryMs = 1000;
const keptNotes = 20;
/** Rejected lines that wait for the live view to end. */
const mostKept = 1000;

export function createReport(terminal: Terminal): Report {
  const { out, err, env } = terminal;
  const live = out.isTTY && env["TERM"] !== "dumb";
  const color = live && (env["NO_COLOR"] ?? "") === "";
  const notes: string[] = [];
  const kept: string[] = [];
  let showing = false;
  let left = 0;

  const write = (text: string): void => void err.write(`${text}\n`);
  return {
    live,
    notes,
    title(text) {
      if (!live) out.write(`Waybill order system  ${text}\n`);
    },
    note(text, important) {
      notes.push(text);
      if (notes.length > keptNotes) notes.shift();
      if (!live && important) write(text);
    },
    rejected(line, reason) {
      const text = line === undefined ? `rejected: ${reason}` : `rejected: line ${line}: ${reason}`;
      notes.push(text);
      if (notes.length > keptNotes) notes.shift();
      // Written into the live view it would be drawn over.
      if (!(showing && err.isTTY)) write(text);
      else if (kept.length < mostKept) kept.push(text);
      else left += 1;
    },
    show(look) {
      const screen = live ? openScreen(out) : undefined;
      showing = live;
      const stopped = new AbortController();
      const draw = async (): Promise<void> => {
        const scene = await look();
        if (screen === undefined) out.write(`${logLine(scene)}\n`);
        else screen.draw(frame(scene, out.columns || 80, color));
      };
      const drawing = (async () => {
        if (live) await draw().catch(() => {});
        while (!stopped.signal.aborted) {
          await sleepUntil(performance.now() + (live ? liveEveryMs : logEveryMs), stopped.signal);
          if (!stopped.signal.aborted) await draw().catch(() => {});
        }
      })();
      const showCursor = (): void => screen?.close();
      process.once("exit", showCursor);
      return async () => {
        stopped.abort();
        await drawing;
        await draw().catch(() => {});
        screen?.close();
        process.off("exit", showCursor);
        showing = false;
        for (const text of kept.splice(0)) write(text);
        if (left > 0) write(`rejected: and ${left} more lines`);
      };
    },
  };
}

/** One line of a log: fields first, then the text. The shape that pino has; `console` fits as well. */
export type LogLine = (fields: Readonly<Record<string, unknown>>, text: string) => void;

export interface Logger {
  readonly debug: LogLine;
  readonly info: LogLine;
  readonly warn: LogLine;
  readonly error: LogLine;
}

const nothing: LogLine = () => {};

/** The default: what happens is told by statuses, counters and `diagnostics_channel`, not by a library writing to a terminal. */
export const silentLogger: Logger = Object.freeze({ debug: nothing, info: nothing, warn: nothing, error: nothing });

/** The same logger, for code that must go on: a line that cannot be written is left out. Keeps the logger's own `this`. */
export function guardLogger(logger: Logger): Logger {
  if (logger === silentLogger) return logger;
  const guarded =
    (level: keyof Logger): LogLine =>
    (fields, text) => {
      try {
        logger[level](fields, text);
      } catch {
        // There is nowhere left to say it.
      }
    };
  return { debug: guarded("debug"), info: guarded("info"), warn: guarded("warn"), error: guarded("error") };
}

// Controls (C0, DEL, C1), line and paragraph separator, bidirectional marks, byte order mark, lone surrogates.
const unsafe = /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]/gu;

/**
 * Text of others, fit for one line of a log or a terminal: what could break the line, colour it or turn it round is written
 * as `\x1b` or `\u2028`. Longer than `maxChars`, it ends with `…`.
 */
export function safeText(text: string, maxChars = 512): string {
  // Cut first: what is not shown need not be looked through. Each character is at least one of the result.
  const head = text.length > maxChars ? text.slice(0, maxChars) : text;
  const escaped = head.replace(unsafe, escapeChar);
  if (head === text && escaped.length <= maxChars) return escaped;
  return escaped.slice(0, Math.max(0, maxChars - 1)).replace(/[\ud800-\udbff]$|\\(?:x[0-9a-f]?|u[0-9a-f]{0,3})?$/, "") + "…";
}

function escapeChar(char: string): string {
  const code = char.charCodeAt(0);
  if (code === 10) return "\\n";
  if (code === 13) return "\\r";
  if (code === 9) return "\\t";
  return code < 256 ? `\\x${code.toString(16).padStart(2, "0")}` : `\\u${code.toString(16).padStart(4, "0")}`;
}

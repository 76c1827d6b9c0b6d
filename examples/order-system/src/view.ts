import type { ServiceName } from "./contracts.ts";
import type { Latency } from "./progress.ts";

export interface ServiceLine {
  readonly name: ServiceName;
  readonly up: boolean;
  readonly done: number;
  readonly perSecond: number;
  /** What waits for it; undefined: it has no queue; a text: the transport cannot tell. */
  readonly depth: number | string | undefined;
}

/** What there is to see at one moment. */
export interface Scene {
  readonly title: string;
  readonly elapsedMs: number;
  readonly services: readonly ServiceLine[];
  readonly latency: Latency | undefined;
  readonly retried: number;
  readonly deadLettered: number;
  readonly rejected: number;
  readonly kills: number | undefined;
  readonly status: string;
  /** What happened lately, the newest last. */
  readonly notes: readonly string[];
}

const shownNotes = 5;

/** The live view, as lines of at most `columns` characters. */
export function frame(scene: Scene, columns: number, color: boolean): string[] {
  const paint = (code: number, text: string): string => (color ? `\u001b[${code}m${text}\u001b[0m` : text);
  const cut = (text: string): string => (text.length <= columns ? text : `${text.slice(0, Math.max(0, columns - 1))}…`);
  const lines = [
    paint(1, cut(`Waybill order system  ${clock(scene.elapsedMs)}`)),
    paint(2, cut(scene.title)),
    "",
    paint(2, cut(`${"".padEnd(12)}${"done".padStart(9)}${"per s".padStart(9)}${"waiting".padStart(9)}`)),
  ];
  for (const service of scene.services) {
    const depth = service.depth === undefined ? "" : typeof service.depth === "string" ? "?" : count(service.depth);
    const name = `${service.up ? "●" : "○"} ${service.name}`.padEnd(12);
    const line = cut(`${name}${count(service.done).padStart(9)}${service.perSecond.toFixed(1).padStart(9)}${depth.padStart(9)}`);
    lines.push(service.up ? line : paint(31, line));
  }
  const { latency } = scene;
  const latencyText =
    latency === undefined
      ? "nothing shipped just now"
      : `p50 ${span(latency.p50Ms)}  p99 ${span(latency.p99Ms)}  max ${span(latency.maxMs)}`;
  lines.push("", cut(`order to shipment  ${latencyText}`));
  const counts = [`retries ${count(scene.retried)}`, `dead letters ${count(scene.deadLettered)}`];
  if (scene.rejected > 0) counts.push(`rejected ${count(scene.rejected)}`);
  if (scene.kills !== undefined) counts.push(`kills ${count(scene.kills)}`);
  lines.push(cut(counts.join("  ")));
  for (const note of scene.notes.slice(-shownNotes)) lines.push(paint(2, cut(oneLine(note))));
  lines.push("", cut(scene.status));
  return lines;
}

/** The same in one line, for a log. */
export function logLine(scene: Scene): string {
  const by = new Map(scene.services.map((service) => [service.name, service]));
  const waiting = scene.services.reduce((sum, service) => sum + (typeof service.depth === "number" ? service.depth : 0), 0);
  const parts = [
    clock(scene.elapsedMs),
    `orders ${by.get("shop")?.done ?? 0}`,
    `shipped ${by.get("shipping")?.done ?? 0} (${(by.get("shipping")?.perSecond ?? 0).toFixed(1)}/s)`,
    `waiting ${waiting}`,
    `retries ${scene.retried}`,
    `dead letters ${scene.deadLettered}`,
  ];
  if (scene.latency !== undefined) parts.push(`p50 ${span(scene.latency.p50Ms)}`, `p99 ${span(scene.latency.p99Ms)}`);
  if (scene.kills !== undefined) parts.push(`kills ${scene.kills}`);
  return parts.join("  ");
}

export interface Screen {
  draw(lines: readonly string[]): void;
  /** Leaves the last frame where it is and shows the cursor again. */
  close(): void;
}

/** Draws in place: one write a frame, each line erased only behind its new text, so that nothing flickers. */
export function openScreen(out: { write(text: string): unknown; readonly rows?: number | undefined }): Screen {
  let drawn = 0;
  let closed = false;
  out.write("\u001b[?25l");
  return {
    draw(lines) {
      if (closed) return;
      // A frame higher than the window would scroll, and could not be gone back over.
      const shown = lines.slice(0, Math.max(1, (out.rows ?? 50) - 1));
      const up = drawn === 0 ? "" : `\u001b[${drawn}A`;
      out.write(`${up}\r${shown.map((line) => `${line}\u001b[K\n`).join("")}\u001b[J`);
      drawn = shown.length;
    },
    close() {
      if (closed) return;
      closed = true;
      out.write("\u001b[?25h");
    },
  };
}

function clock(ms: number): string {
  const seconds = Math.floor(ms / 1000);
  const two = (value: number): string => String(value).padStart(2, "0");
  const hours = Math.floor(seconds / 3600);
  return `${hours > 0 ? `${hours}:` : ""}${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`;
}

function span(ms: number): string {
  return ms < 10_000 ? `${ms} ms` : `${(ms / 1000).toFixed(1)} s`;
}

function count(value: number): string {
  return value.toLocaleString("en-US");
}

function oneLine(text: string): string {
  return text.replaceAll(/[\p{Cc}]+/gu, " ");
}

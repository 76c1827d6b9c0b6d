import { channel, type Channel } from "node:diagnostics_channel";

/** What is published on `node:diagnostics_channel`, by name. Never a body or a header value. */
export interface Diagnostics {
  "waybill:retry": {
    readonly bus: string;
    readonly topic: string;
    readonly group: string;
    readonly id: string;
    readonly attempt: number;
    readonly delayMs: number;
    readonly code: string;
    readonly text: string;
  };
  "waybill:dead-letter": {
    readonly bus: string;
    readonly topic: string;
    readonly group: string;
    readonly id: string;
    readonly attempt: number;
    readonly code: string;
    readonly text: string;
  };
  "waybill:drop": {
    readonly bus: string;
    readonly topic: string;
    readonly group: string;
    readonly id: string;
    readonly attempt: number;
    readonly code: string;
    readonly text: string;
  };
  "waybill:gap": {
    readonly bus: string;
    readonly topic: string;
    readonly group: string;
    readonly count: number | undefined;
    readonly reason: string;
  };
  "waybill:publish-failed": { readonly bus: string; readonly topic: string; readonly code: string; readonly certainty: string };
  "waybill:status": { readonly bus: string; readonly transport: string; readonly status: string; readonly code: string | undefined };
}

export type DiagnosticsName = keyof Diagnostics;

const channels = new Map<DiagnosticsName, Channel>();

/** Costs one test while nobody listens. */
export function tell<Name extends DiagnosticsName>(name: Name, message: () => Diagnostics[Name]): void {
  let found = channels.get(name);
  if (found === undefined) channels.set(name, (found = channel(name)));
  if (found.hasSubscribers) found.publish(message());
}

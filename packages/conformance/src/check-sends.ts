import { sentKey } from "./check-state.ts";
import type { Sent, State } from "./check-state.ts";
import type { HistoryRecord, SendEvent } from "./history.ts";

/** The one group of every dead-letter topic. */
const graves = "dead-letters";

export function checkSends(state: State, record: HistoryRecord & SendEvent): void {
  const id = sentKey(record.msg, record.dest);
  const process = `${record.proc}/${record.inc}`;
  if (record.type === "invoke") {
    let sent = state.sends.get(id);
    if (sent === undefined) {
      sent = {
        msg: record.msg,
        dest: record.dest,
        only: record.group === undefined ? undefined : new Set(),
        copiedTo: new Set(),
        stores: 0,
        sender: process,
        key: record.key,
        seq: record.seq,
        digests: new Set(),
        ok: false,
        possible: false,
        expires: false,
        open: 0,
        seen: false,
        moved: false,
      };
      state.sends.set(id, sent);
    }
    if (record.group === undefined) sent.only = undefined;
    else sent.only?.add(record.group);
    if (record.dig !== undefined) sent.digests.add(record.dig);
    if (record.expires === true) sent.expires = true;
    sent.open += 1;
    sent.stores += 1;
    state.openSends.set(`${process} ${record.op}`, { sent, process });
    return;
  }
  const opened = state.openSends.get(`${process} ${record.op}`);
  state.openSends.delete(`${process} ${record.op}`);
  const sent: Sent | undefined = opened?.sent ?? state.sends.get(id);
  if (sent === undefined) return;
  if (opened !== undefined) sent.open -= 1;
  if (record.type === "info") sent.possible = true;
  if (record.type === "fail") sent.stores -= 1;
  if (record.type !== "ok") return;
  sent.ok = true;
  sent.possible = true;
  if (record.group !== undefined) sent.copiedTo.add(record.group);
  state.progressAt = record.tMono;
  if (record.group === graves) letterOf(state, record.msg).add(record.from ?? "");
}

export function letterOf(state: State, msg: string): Set<string> {
  let from = state.deadLetters.get(msg);
  if (from === undefined) state.deadLetters.set(msg, (from = new Set()));
  return from;
}

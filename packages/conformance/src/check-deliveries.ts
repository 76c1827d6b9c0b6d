import type { Findings } from "./anomalies.ts";
import { letterOf } from "./check-sends.ts";
import { groupKey, sentKey, unfinishedHeap } from "./check-state.ts";
import type { Group, OpenDelivery, State } from "./check-state.ts";
import type { DeliveryEvent, HistoryRecord } from "./history.ts";

/** A lease begins when the broker hands out, and is recorded a little later: near its end two handlers are no proof. */
const slackNs = 5e6;

type Event = HistoryRecord & DeliveryEvent;

export function checkDeliveries(state: State, record: Event, found: Findings): void {
  if (record.type === "delivered") return delivered(state, record, found);
  const process = `${record.proc}/${record.inc}`;
  const open = state.deliveries.get(`${process} ${record.op}`);
  const group = state.groupOf(record.dest, record.group);
  if (open === undefined) {
    // An acknowledgement of what was never handed out settles what belongs to another one.
    if (record.type === "ack-ok") found.add("STALE-ACK", `${record.group ?? ""}: ${record.msg} was acknowledged by who had not got it`);
    return;
  }
  switch (record.type) {
    case "handle-start":
      return handleStart(state, open, record, found);
    case "handled-ok":
    case "handled-err":
      open.handle = record.type === "handled-ok" ? "ok" : "err";
      if (open.stored.openHandle === open) open.stored.openHandle = undefined;
      if (record.type === "handled-ok") {
        open.finished = true;
        heldBy(group, record.msg).handled = true;
        state.counts.handled += 1;
        state.progressAt = record.tMono;
      } else state.counts.handlerErrors += 1;
      return;
    case "ack-invoke":
      open.staleAtAck = open.stored.last !== open;
      if (!group.handles) open.finished = true;
      if (group.handles && open.handle !== "ok" && !givenUp(state, group, record.msg)) {
        found.add("EARLY-ACK", `${record.group ?? ""}: ${record.msg} was acknowledged before its handler was done`);
      }
      return;
    case "ack-ok":
      if (open.staleAtAck) found.add("STALE-ACK", `${record.group ?? ""}: ${record.msg} was acknowledged by an older delivery`);
      open.finished = true;
      state.progressAt = record.tMono;
      return close(state, open, process);
    case "dead-lettered":
      heldBy(group, record.msg).deadLettered = true;
      letterOf(state, record.msg).add(record.group ?? "");
      if (record.to !== undefined) inherit(state, record, record.to);
      open.finished = true;
      return close(state, open, process);
    case "nack":
      if (open.stored.openHandle === open) open.stored.openHandle = undefined;
      return close(state, open, process);
    case "ack-fail":
    case "ack-info":
      return close(state, open, process);
    case "extend":
      if (record.leaseMs !== undefined) open.leaseEnds = record.tMono + record.leaseMs * 1e6;
      return;
  }
}

function delivered(state: State, record: Event, found: Findings): void {
  const process = `${record.proc}/${record.inc}`;
  const group = state.groupOf(record.dest, record.group);
  const held = heldBy(group, record.msg);
  const part = record.part ?? "";
  const place = record.pos === undefined ? undefined : `${part} ${String(record.pos)}`;
  const sent = state.sends.get(sentKey(record.msg, record.dest));
  state.counts.delivered += 1;
  state.progressAt = record.tMono;
  if (held.delivered > 0) state.counts.redelivered += 1;
  if (sent === undefined) found.add("UNEXPECTED", `${record.dest}: ${record.msg} was never published`);
  else {
    sent.seen = true;
    if (record.dig !== undefined && sent.digests.size > 0 && !sent.digests.has(record.dig))
      found.add("CORRUPT", `${record.dest}: ${record.msg} arrived changed`);
    if (held.delivered === 0 && group.claim.order === true) {
      const lane = `${sent.sender} ${sent.key ?? ""}`;
      const newest = group.newest.get(lane);
      if (newest === undefined || newest.seq < sent.seq) group.newest.set(lane, sent);
      else state.suspects.push({ earlier: sent, later: newest, group });
    }
  }
  if (place !== undefined) {
    const there = group.places.get(place);
    if (there === undefined) group.places.set(place, record.msg);
    else if (there !== record.msg) found.add("INCONSISTENT-OFFSET", `${record.dest} ${place}: ${there} and ${record.msg}`);
    if (group.claim.deduplicated === true && held.place !== undefined && held.place !== place) {
      found.add("STORED-DUP", `${record.dest}: ${record.msg} at ${held.place} and ${place}`);
    }
    held.place ??= place;
  }
  held.delivered += 1;
  // Without places nobody can tell one stored copy from another: two deliveries may be of two. An adapter that writes a
  // message again may die before it has acknowledged the first.
  const before = group.stored.get(record.msg)?.last;
  if (before !== undefined && state.letGo(before.process, before.subscription, before.at)) held.copied = true;
  const isOne = place !== undefined || ((sent?.stores ?? 0) <= 1 && !held.copied);
  const storedAs = place === undefined ? (isOne ? record.msg : `${record.msg} ${process} ${record.op}`) : `${record.msg} ${place}`;
  let stored = group.stored.get(storedAs);
  if (stored === undefined) group.stored.set(storedAs, (stored = { last: undefined, openHandle: undefined }));
  const open: OpenDelivery = {
    op: record.op,
    msg: record.msg,
    groupKey: groupKey(record.dest, record.group),
    process,
    subscription: `${process} ${groupKey(record.dest, record.group)} ${part}`,
    stored,
    part,
    pos: record.pos,
    at: record.tMono,
    leaseEnds: record.leaseMs === undefined ? undefined : record.tMono + record.leaseMs * 1e6,
    handle: "none",
    finished: false,
    staleAtAck: false,
  };
  stored.last = open;
  state.deliveries.set(`${process} ${record.op}`, open);
  if (typeof record.pos !== "number") return;
  let heap = group.unfinished.get(part);
  if (heap === undefined) group.unfinished.set(part, (heap = unfinishedHeap()));
  heap.push(open);
}

function handleStart(state: State, open: OpenDelivery, record: Event, found: Findings): void {
  const other = open.stored.openHandle;
  // A superseded delivery that starts late has lost its own lease: the overlap is allowed.
  const running =
    open.stored.last === open && other !== undefined && other !== open && !state.letGo(other.process, other.subscription, other.at);
  if (running && (other.leaseEnds === undefined || record.tMono < other.leaseEnds - slackNs)) {
    found.add("OVERLAP", `${record.group ?? ""}: ${record.msg} is handled twice at once, inside its lease`);
  }
  open.handle = "started";
  if (open.stored.last === open) open.stored.openHandle = open;
}

function close(state: State, open: OpenDelivery, process: string): void {
  state.deliveries.delete(`${process} ${open.op}`);
}

/** Whether it may be acknowledged without having been handled by this delivery. */
function givenUp(state: State, group: Group, msg: string): boolean {
  // An earlier delivery was handled, or it was too old to be: this one is a repeat that is put away.
  if (group.held.get(msg)?.handled === true || state.sends.get(sentKey(msg, group.dest))?.expires === true) return true;
  const letters = state.deadLetters.get(msg);
  if (letters !== undefined && (letters.has("") || letters.has(group.group ?? ""))) return true;
  // A copy for this group alone carries the message on: the original has been replaced, not lost.
  const copy = state.sends.get(sentKey(msg, group.dest));
  return copy?.copiedTo.has(group.group ?? "") ?? false;
}

/** A dead letter is published by the transport itself: it is expected where it was sent. */
function inherit(state: State, record: Event, to: string): void {
  const id = sentKey(record.msg, to);
  const from = state.sends.get(sentKey(record.msg, record.dest));
  if (from === undefined || state.sends.has(id)) return;
  state.sends.set(id, {
    ...from,
    dest: to,
    only: new Set(["dead-letters"]),
    copiedTo: new Set(),
    stores: 1,
    digests: new Set(from.digests),
    seq: record.seq,
    ok: true,
    open: 0,
    seen: false,
    moved: true,
  });
}

function heldBy(group: Group, msg: string): NonNullable<ReturnType<Group["held"]["get"]>> {
  let held = group.held.get(msg);
  if (held === undefined)
    group.held.set(msg, (held = { delivered: 0, handled: false, deadLettered: false, place: undefined, copied: false }));
  return held;
}

import { append, type Appended } from "../sql/append.ts";
import { type Failure, failureOf, isFailed } from "../sql/failure.ts";
import type { Grab } from "../sql/lease.ts";
import { settleAll } from "../sql/settle.ts";
import { isPlain, runPlain, unknownCall } from "./calls.ts";
import type { Calls, FromWorker } from "./protocol.ts";
import { handOver, hasRoom, isHeard, type Post, refreshGroups, take } from "./serve.ts";
import type { Session } from "./session.ts";
import type { GroupSub, Sub } from "./state.ts";
import { type CallMessage, type PublishMessage, type SettleMessage, toBatch, toSettled } from "./unpack.ts";

/** What one transaction does. */
export interface Work {
  readonly batches: readonly PublishMessage[];
  readonly settles: readonly SettleMessage[];
  readonly calls: readonly CallMessage[];
  /** Fetches too: for how many ms nothing was heard of the user's thread. */
  readonly fetch: number | undefined;
}

export function sizeOf({ batches, settles, calls, fetch }: Work): number {
  return batches.length + settles.length + calls.length + (fetch === undefined ? 0 : 1);
}

/** Each request by itself. */
export function partsOf({ batches, settles, calls, fetch }: Work): Work[] {
  const nothing: Work = { batches: [], settles: [], calls: [], fetch: undefined };
  return [
    ...batches.map((batch) => ({ ...nothing, batches: [batch] })),
    ...settles.map((settle) => ({ ...nothing, settles: [settle] })),
    ...calls.map((call) => ({ ...nothing, calls: [call] })),
    ...(fetch === undefined ? [] : [{ ...nothing, fetch }]),
  ];
}

/** After its commit. */
export interface Outcome {
  /** Somebody may find something that was not there before. */
  readonly woken: boolean;
  answer(post: Post): void;
  handOver(post: Post): void;
}

/** Calls that change what the worker itself remembers. */
export interface LoopCalls {
  subscribe(session: Session, args: Calls["subscribe"]["args"]): void;
  unsubscribe(session: Session, args: Calls["unsubscribe"]["args"]): void;
  watchOutbox(session: Session, args: Calls["watchOutbox"]["args"]): void;
}

type Answer = { readonly value: unknown } | { readonly failure: Failure };

/** Throws what the transaction threw; then nothing of it happened, or, of an I/O error at its commit, nobody knows. */
export function runWork(
  session: Session,
  work: Work,
  subs: ReadonlyMap<number, Sub>,
  ordered: Set<number>,
  loopCalls: LoopCalls,
  noticed: () => void,
): Outcome {
  const lost: (number[] | undefined)[] = [];
  const appended: Appended[] = [];
  const answers: Answer[] = [];
  let grabs: [GroupSub, Grab[]][] = [];
  let woken = false;
  const before = new Map<Sub, { given: number; givenBytes: number; empty: boolean }>();
  for (const sub of subs.values()) before.set(sub, { given: sub.given, givenBytes: sub.givenBytes, empty: sub.empty });
  try {
    session.write(() => {
      if (session.changed()) noticed();
      for (const settle of work.settles) {
        const result = settleAll(session.settling, toSettled(settle));
        lost.push(lostOf(result.done));
        if (result.again || result.published) woken = true;
      }
      if (work.batches.length > 0) {
        session.repeats?.catchUp();
        for (const batch of work.batches) appended.push(append(session, toBatch(batch)));
        session.repeats?.write();
        markReaders(appended, subs, session, ordered);
      }
      for (const call of work.calls) answers.push(runCall(session, call, loopCalls));
      if (work.fetch !== undefined) {
        for (const sub of subs.values()) {
          if (sub.kind !== "group" || !hasRoom(sub) || !isHeard(sub, work.fetch) || !(sub.dirty || woken)) continue;
          const taken = take(session, sub);
          if (taken.length > 0) grabs.push([sub, taken]);
        }
      }
    });
  } catch (error) {
    for (const [sub, was] of before) Object.assign(sub, was, { dirty: true });
    throw error;
  }
  return {
    woken: woken || work.calls.length > 0,
    answer(post) {
      const all: FromWorker[] = [];
      work.batches.forEach((batch, i) => {
        const failures = appended[i]!.failures;
        all.push({ t: "published", id: batch.id, failures: failures === undefined ? undefined : [...failures] });
      });
      work.settles.forEach((settle, i) => all.push({ t: "settled", id: settle.id, lost: lost[i] }));
      work.calls.forEach((call, i) => {
        const answer = answers[i]!;
        all.push(
          "failure" in answer ? { t: "failed", id: call.id, failure: answer.failure } : { t: "answer", id: call.id, value: answer.value },
        );
      });
      // One message: each wakes the user's thread.
      if (all.length === 1) post(all[0]!);
      else if (all.length > 1) post({ t: "many", messages: all });
    },
    handOver(post) {
      for (const [sub, taken] of grabs) handOver(session, sub, taken, post);
      grabs = [];
    },
  };
}

function lostOf(done: readonly boolean[]): number[] | undefined {
  let lost: number[] | undefined;
  for (let i = 0; i < done.length; i++) if (!done[i]) (lost ??= []).push(i);
  return lost;
}

/** Whose topics got messages in this transaction. */
function markReaders(appended: readonly Appended[], subs: ReadonlyMap<number, Sub>, session: Session, ordered: Set<number>): void {
  const topics = new Set<string>();
  for (const one of appended) for (const stream of one.streams) topics.add(stream.topic);
  for (const sub of subs.values()) {
    if (sub.topic !== undefined) {
      if (topics.has(sub.topic)) sub.dirty = true;
      continue;
    }
    sub.dirty = true;
    if (sub.kind === "group") refreshGroups(session, sub, ordered);
  }
}

/** One call's refusal takes back what that call did, and nothing else. */
function runCall(session: Session, call: CallMessage, loopCalls: LoopCalls): Answer {
  session.connection.exec("savepoint one_call");
  try {
    const value = dispatch(session, call, loopCalls);
    session.connection.exec("release one_call");
    return { value };
  } catch (error) {
    if (!isFailed(error)) throw error;
    session.connection.exec("rollback to one_call; release one_call");
    session.catalog.forget();
    return { failure: failureOf(error, false) };
  }
}

function dispatch(session: Session, call: CallMessage, loopCalls: LoopCalls): unknown {
  if (isPlain(call.name)) return runPlain(session, call.name, call.args);
  if (call.name === "subscribe") loopCalls.subscribe(session, call.args as Calls["subscribe"]["args"]);
  else if (call.name === "unsubscribe") loopCalls.unsubscribe(session, call.args as Calls["unsubscribe"]["args"]);
  else if (call.name === "watchOutbox") loopCalls.watchOutbox(session, call.args as Calls["watchOutbox"]["args"]);
  else throw unknownCall(call.name);
  return null;
}

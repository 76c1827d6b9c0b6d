import type { Calls, Grant, ToWorker, WorkerSettings } from "./protocol.ts";
import { monotonicMs } from "../sql/clock.ts";
import { type Failure, failureOf } from "../sql/failure.ts";
import { troubleOf } from "../sql/connection.ts";
import { endSub, hasFair, isHeard, type Post, probe, refreshGroups, serveReader, startSub } from "./serve.ts";
import { openSession, type Session } from "./session.ts";
import { createOutboxWatch } from "./outbox-watch.ts";
import type { Sub } from "./state.ts";
import { runPlain } from "./calls.ts";
import type { CallMessage } from "./unpack.ts";
import { refuse, refuseWaiting, takeCalls, takePublishes, takeSettles, type Waiting } from "./waiting.ts";
import { type Outcome, partsOf, runWork, sizeOf, type Work } from "./work.ts";
import { leave, startUpkeep } from "./upkeep.ts";

export interface Loop {
  receive(message: ToWorker): void;
}

/** Without a sign of the user's thread for so long nothing is read for it. */
const silentMs = 2000;
const reopenMs = 250;
/** How long settlements are tried again on a full disk. */
const fullPatienceMs = 5000;

/** One cycle: all that waits (settlements, publishes, calls, fetches) in one transaction, one commit, then the answers. */
export function startLoop(settings: WorkerSettings, post: Post, end: () => void): Loop {
  const subs = new Map<number, Sub>();
  const ordered = new Set<number>();
  const shared = new Int32Array(settings.shared);
  const leases = { next: (settings.incarnation % 64) * 0x400_0000 };
  let session: Session | undefined = openSession(settings, ordered, settings.member, leases);
  const { owner } = session;
  const waiting: Waiting = { publishes: [], settles: [], calls: [] };
  let scheduled = false;
  let ended = false;
  let activeAt = performance.now();
  const outbox = createOutboxWatch(post);
  let fullSince: number | undefined;
  const upkeep = startUpkeep(settings, subs, {
    session: () => session,
    woken: dirtyAll,
    trouble,
  });
  let pollTimer = setTimeout(poll, settings.pollMs);
  post({ t: "opened", member: owner });

  function receive(message: ToWorker): void {
    activeAt = performance.now();
    switch (message.t) {
      case "publish":
        waiting.publishes.push(message);
        break;
      case "settle":
        waiting.settles.push(message);
        if (message.grant !== undefined) grant(message.grant);
        break;
      case "grant":
        grant(message.grant);
        break;
      case "call":
        waiting.calls.push(message);
        break;
      case "wake":
        dirtyAll();
        break;
    }
    schedule();
  }

  function grant(given: Grant): void {
    const sub = subs.get(given.sub);
    if (sub === undefined) return;
    sub.granted = given.messages;
    sub.grantedBytes = given.bytes;
    sub.empty = given.empty;
    sub.minimum = given.minimum;
    sub.dirty = true;
  }

  function schedule(): void {
    if (scheduled || ended) return;
    scheduled = true;
    setImmediate(run);
  }

  function run(): void {
    scheduled = false;
    if (ended) return;
    if (session === undefined) {
      refuseAll({ code: "CONNECTION", text: "the embedded file is being opened again" });
      return;
    }
    try {
      cycle(session);
    } catch (error) {
      if (troubleOf(error) === "corrupt") endAll(failureOf(error, false));
      else trouble(error);
    }
  }

  /** A page that every fetch needs is broken. */
  function endAll(failure: Failure): void {
    refuseAll(failure);
    for (const sub of subs.values()) {
      if (isHungry(sub)) post({ t: "ended", sub: sub.id, failure });
      sub.dirty = false;
    }
  }

  /** Since the last sign of the user's thread. */
  function silence(): number {
    return ((monotonicMs() | 0) - Atomics.load(shared, 0)) | 0;
  }

  function dirtyAll(): void {
    for (const sub of subs.values()) {
      if (sub.kind === "group" && session !== undefined && sub.pattern !== undefined) refreshGroups(session, sub, ordered);
      sub.dirty = true;
    }
    if (session !== undefined) outbox.look(session);
    schedule();
  }

  function isHungry(sub: Sub): boolean {
    return sub.dirty && hasFair(sub);
  }

  function cycle(on: Session): void {
    if (on.changed()) dirtyAll();
    const now = on.clock.now();
    const silentFor = silence();
    const awake = silentFor < silentMs;
    let fetching = false;
    for (const sub of subs.values()) {
      if (sub.dueAt <= now) sub.dirty = true;
      if (sub.kind === "reader" || !isHungry(sub) || !isHeard(sub, silentFor)) continue;
      if (probe(on, sub, now)) fetching = true;
      else sub.dirty = false;
    }
    const { writing, reading, closing } = takeCalls(waiting);
    const work: Work = { batches: takePublishes(waiting, shared), settles: takeSettles(waiting), calls: writing, fetch: silentFor };
    if (fetching || work.batches.length + work.settles.length + work.calls.length > 0) writeAll(on, work);
    for (const call of reading) answer(call, () => runPlain(on, call.name as never, call.args));
    if (awake) for (const sub of subs.values()) if (sub.kind === "reader" && isHungry(sub)) serveReader(on, sub, post);
    if (closing !== undefined) {
      finish(on, closing);
      return;
    }
    if (
      waiting.publishes.length > 0 ||
      [...subs.values()].some((sub) => isHungry(sub) && (sub.kind === "reader" ? awake : isHeard(sub, silentFor)))
    )
      schedule();
  }

  function writeAll(on: Session, work: Work): void {
    let outcome: Outcome;
    try {
      outcome = runWork(on, work, subs, ordered, { subscribe, unsubscribe, watchOutbox }, dirtyAll);
    } catch (error) {
      failed(on, work, error);
      return;
    }
    fullSince = undefined;
    outcome.answer(post);
    if (outcome.woken) dirtyAll();
    outcome.handOver(post);
  }

  /** What one transaction had together is tried again by itself where that helps, else answered with the error. */
  function failed(on: Session, work: Work, error: unknown): void {
    const kind = troubleOf(error);
    const failure = failureOf(error, on.atCommit);
    const size = sizeOf(work);
    const alone = (kind === undefined || kind === "corrupt" || kind === "other") && !on.atCommit && size > 1;
    if (alone) {
      for (const part of partsOf(work)) writeAll(on, part);
      return;
    }
    refuse(work.batches, failure, post);
    if (kind === "full") {
      fullSince ??= performance.now();
      upkeep.makeRoom();
      if (performance.now() - fullSince < fullPatienceMs) {
        // Acknowledgements need little room; it may come back.
        waiting.settles = [...work.settles, ...waiting.settles];
        if (waiting.settles.length > 0) setTimeout(schedule, 50).unref();
        refuse(work.calls, failure, post);
        return;
      }
    }
    refuse(work.settles, failure, post);
    refuse(work.calls, failure, post);
    if (work.fetch !== undefined && size === 1 && kind === "corrupt") {
      for (const sub of subs.values()) if (sub.kind === "group" && isHungry(sub)) post({ t: "ended", sub: sub.id, failure });
      for (const sub of subs.values()) sub.dirty = false;
    }
    if (kind === "io" || kind === "not-a-database") trouble(error);
  }

  function subscribe(on: Session, args: Calls["subscribe"]["args"]): void {
    subs.set(args.sub, startSub(on, args, ordered));
  }
  function unsubscribe(on: Session, args: Calls["unsubscribe"]["args"]): void {
    const sub = subs.get(args.sub);
    if (sub !== undefined) endSub(on, sub);
    subs.delete(args.sub);
  }
  function watchOutbox(_on: Session, args: Calls["watchOutbox"]["args"]): void {
    outbox.watched(args.on);
  }

  function answer(call: CallMessage, run: () => unknown): void {
    try {
      post({ t: "answer", id: call.id, value: run() });
    } catch (error) {
      post({ t: "failed", id: call.id, failure: failureOf(error, false) });
    }
  }

  function poll(): void {
    if (ended) return;
    try {
      if (session?.changed() === true) {
        activeAt = performance.now();
        dirtyAll();
      } else if (session !== undefined) {
        const now = session.clock.now();
        for (const sub of subs.values()) if ((sub.dueAt <= now || sub.dirty) && hasFair(sub)) schedule();
      }
    } catch (error) {
      trouble(error);
    }
    const idle = performance.now() - activeAt > 2000;
    pollTimer = setTimeout(poll, idle ? settings.pollMs * 4 : settings.pollMs);
  }

  /** The disk failed: nothing that was open then can be trusted, so the file is opened anew. */
  function trouble(error: unknown): void {
    const failure = failureOf(error, true);
    post({ t: "broken", failure });
    refuseAll(failure);
    try {
      session?.close();
    } catch {
      // Its descriptors go with it.
    }
    session = undefined;
    setTimeout(reopen, reopenMs);
  }

  function reopen(): void {
    if (ended || session !== undefined) return;
    try {
      session = openSession(settings, ordered, owner, leases);
      for (const sub of subs.values()) if (sub.kind === "reader") sub.delayed = [];
      post({ t: "mended" });
      dirtyAll();
    } catch (error) {
      const failure: Failure = failureOf(error, false);
      if (failure.code === "CORRUPT" || failure.code === "FILE_VERSION" || failure.code === "CONFIG") post({ t: "broken", failure });
      setTimeout(reopen, reopenMs);
    }
  }

  function refuseAll(failure: Failure): void {
    if (refuseWaiting(waiting, failure, post)) stop();
  }

  function finish(on: Session, call: CallMessage): void {
    while (waiting.publishes.length > 0 || waiting.settles.length > 0) {
      writeAll(on, { batches: takePublishes(waiting, shared), settles: waiting.settles, calls: [], fetch: undefined });
      // Nor once more those for which the disk has no room.
      waiting.settles = [];
    }
    answer(call, () => {
      leave(on);
      return null;
    });
    stop();
  }

  function stop(): void {
    ended = true;
    clearTimeout(pollTimer);
    upkeep.stop();
    try {
      session?.close();
    } catch {
      // Nothing was left to write.
    }
    end();
  }

  return { receive };
}

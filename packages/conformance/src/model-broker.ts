import type { AnomalyClass } from "./anomalies.ts";
import { historyVersion } from "./history.ts";
import type { HistoryEvent, HistoryRecord, SendEvent } from "./history.ts";
import { seeded } from "./random.ts";

export interface ModelOptions {
  readonly seed: number;
  readonly messages: number;
  /** One of these happens once, at a random moment. */
  readonly misbehave?: AnomalyClass;
}

interface Kept {
  readonly msg: string;
  readonly key: string;
  readonly pos: number;
  readonly dig: string;
  attempts: number;
  state: "waiting" | "held" | "done";
  holder: Hand | undefined;
}
interface Hand {
  readonly op: string;
  readonly kept: Kept;
  readonly gen: number;
  leaseEnds: number;
  handle: "none" | "started" | "ok";
}
interface Member {
  readonly proc: string;
  inc: number;
  readonly group: string;
  hands: Hand[];
}

const dest = "model";
const leaseMs = 200;

/**
 * A broker as a pure function of its seed: a log with leases, two groups of two members, crashes, lost leases, failed and
 * indefinite publishes. Its histories are good ones, unless it is told to misbehave.
 */
export function modelHistory(options: ModelOptions): readonly HistoryRecord[] {
  const random = seeded(options.seed);
  const pick = <T>(items: readonly T[]): T => items[Math.floor(random() * items.length)] as T;
  const records: HistoryRecord[] = [];
  const bad = options.misbehave;
  const badAt = Math.floor(options.messages * (0.2 + random() * 0.6));
  let now = 1e9;
  let ops = 0;
  let dropped = 0;
  const write = (proc: string, inc: number, event: HistoryEvent): void => {
    now += 1_000 + Math.floor(random() * 5_000_000);
    records.push({ v: historyVersion, run: "model", seed: options.seed, seq: records.length, proc, inc, tMono: now, ...event });
  };
  const groups = ["billing", "search"];
  const log = new Map<string, Kept[]>(groups.map((group) => [group, []]));
  const committed = new Map<string, number>(groups.map((group) => [group, 0]));
  const cursor = new Map<string, number>(groups.map((group) => [group, 0]));
  const effects = new Map<string, number>();
  const members: Member[] = groups.flatMap((group) => [0, 1].map((index) => ({ proc: `${group}${index}`, inc: 0, group, hands: [] })));
  let generation = 0;
  let position = 0;
  for (const group of groups) {
    write("harness", 0, {
      f: "group",
      type: "subscribed",
      dest,
      group,
      handles: true,
      claim: { delivery: "at-least-once", order: true, deduplicated: true },
    });
  }
  write("harness", 0, { f: "fault", type: "planned", fault: "crash", count: 0 });

  const store = (msg: string, key: string, dig: string): void => {
    for (const group of groups) log.get(group)?.push({ msg, key, pos: position, dig, attempts: 0, state: "waiting", holder: undefined });
    position += 1;
  };
  const publish = (count: number): void => {
    const proc = pick(["shop0", "shop1"]);
    const msg = `${proc}.0.${count}`;
    const key = `k${count % 5}`;
    const dig = `d${Math.floor(random() * 1e9).toString(36)}`;
    const op = `s${(ops += 1)}`;
    const event = (type: SendEvent["type"], more: Partial<SendEvent> = {}): SendEvent => ({
      f: "send",
      type,
      op,
      msg,
      dest,
      key,
      dig,
      ...more,
    });
    write(proc, 0, event("invoke"));
    const luck = random();
    const misbehaves = bad !== undefined && count === badAt;
    if (misbehaves && bad === "STUCK") return;
    if (misbehaves && bad === "LOST") {
      dropped += 1;
      write(proc, 0, event("ok"));
    } else if (misbehaves && bad === "ABORTED-READ") {
      store(msg, key, dig);
      write(proc, 0, event("fail", { err: { code: "TOO_LARGE", certainty: "definite" } }));
    } else if (misbehaves && bad === "CORRUPT") {
      store(msg, key, `${dig}!`);
      write(proc, 0, event("ok"));
    } else if (misbehaves && bad === "UNEXPECTED") {
      store(`ghost.${count}`, key, dig);
      store(msg, key, dig);
      write(proc, 0, event("ok"));
    } else if (misbehaves && bad === "STORED-DUP") {
      store(msg, key, dig);
      store(msg, key, dig);
      write(proc, 0, event("ok"));
    } else if (luck < 0.04) write(proc, 0, event("fail", { err: { code: "TOO_LARGE", certainty: "definite" } }));
    else if (luck < 0.1) {
      if (random() < 0.5) store(msg, key, dig);
      write(proc, 0, event("info", { err: { code: "CONNECTION_LOST", certainty: "indefinite" } }));
    } else {
      store(msg, key, dig);
      write(proc, 0, event("ok"));
    }
  };
  const event = (hand: Hand, group: string) => ({
    f: "delivery" as const,
    op: hand.op,
    msg: hand.kept.msg,
    dest,
    group,
    part: "0",
    pos: hand.kept.pos,
    gen: hand.gen,
  });
  const fetch = (member: Member): void => {
    const list = log.get(member.group) ?? [];
    while ((list[cursor.get(member.group) ?? 0]?.state ?? "waiting") === "done")
      cursor.set(member.group, (cursor.get(member.group) ?? 0) + 1);
    const kept = list.slice(cursor.get(member.group) ?? 0, (cursor.get(member.group) ?? 0) + 30).find((each) => free(each));
    if (kept === undefined) return;
    kept.state = "held";
    kept.attempts += 1;
    const hand: Hand = { op: `d${(ops += 1)}`, kept, gen: (generation += 1), leaseEnds: now + leaseMs * 1e6, handle: "none" };
    kept.holder = hand;
    member.hands.push(hand);
    write(member.proc, member.inc, { ...event(hand, member.group), type: "delivered", attempt: kept.attempts, dig: kept.dig, leaseMs });
    hand.leaseEnds = now + leaseMs * 1e6;
  };
  const free = (kept: Kept): boolean => kept.state === "waiting" || (kept.state === "held" && now > (kept.holder?.leaseEnds ?? 0));
  const commit = (group: string): void => {
    const list = log.get(group) ?? [];
    let next = committed.get(group) ?? 0;
    while (list[next]?.state === "done") next += 1;
    if (next === committed.get(group)) return;
    committed.set(group, next);
    write("broker", 0, {
      f: "commit",
      type: "ok",
      dest,
      group,
      part: "0",
      pos: list[next - 1]?.pos === undefined ? 0 : (list[next - 1]?.pos ?? 0) + 1,
    });
  };
  const advance = (member: Member): void => {
    const hand = pick(member.hands);
    if (hand === undefined) return;
    const { kept } = hand;
    if (hand.handle === "none") {
      hand.handle = "started";
      return write(member.proc, member.inc, { ...event(hand, member.group), type: "handle-start" });
    }
    if (hand.handle === "started") {
      if (random() < 0.1) {
        write(member.proc, member.inc, { ...event(hand, member.group), type: "handled-err" });
        write(member.proc, member.inc, { ...event(hand, member.group), type: "nack" });
        if (kept.holder === hand && kept.state === "held") kept.state = "waiting";
        member.hands = member.hands.filter((each) => each !== hand);
        return;
      }
      hand.handle = "ok";
      const key = `${member.group}\u0000${kept.msg}`;
      if (!effects.has(key)) effects.set(key, 1);
      return write(member.proc, member.inc, { ...event(hand, member.group), type: "handled-ok" });
    }
    write(member.proc, member.inc, { ...event(hand, member.group), type: "ack-invoke" });
    const stale = kept.state !== "held" || kept.holder !== hand;
    write(member.proc, member.inc, { ...event(hand, member.group), type: stale ? "ack-fail" : "ack-ok" });
    if (!stale) kept.state = "done";
    member.hands = member.hands.filter((each) => each !== hand);
    if (random() < 0.3) commit(member.group);
  };
  const crash = (member: Member): void => {
    write("harness", 0, { f: "fault", type: "start", fault: "kill9C" });
    write(member.proc, member.inc, { f: "process", type: "crash" });
    for (const hand of member.hands) if (hand.kept.holder === hand && hand.kept.state === "held") hand.kept.state = "waiting";
    member.hands = [];
    member.inc += 1;
    write("harness", 0, { f: "fault", type: "stop", fault: "kill9C" });
  };

  const step = (): void => {
    const member = pick(members);
    const luck = random();
    if (luck < 0.004) crash(member);
    else if (luck < 0.4 && member.hands.length < 8) fetch(member);
    else advance(member);
  };
  const current = (hand: Hand): boolean => hand.kept.state === "held" && hand.kept.holder === hand && now + 5e7 < hand.leaseEnds;
  const pending = (): boolean =>
    members.some((member) => member.hands.length > 0) || [...log.values()].some((list) => list.some((kept) => kept.state !== "done"));
  let broken = bad === undefined || ["LOST", "UNEXPECTED", "ABORTED-READ", "CORRUPT", "STUCK", "STORED-DUP"].includes(bad);
  for (let count = 0; count < options.messages; count += 1) {
    publish(count);
    for (let turn = 0; turn < 6; turn += 1) step();
    if (!broken && count >= badAt) broken = misbehaveInHand();
  }
  for (let turn = 0; pending(); turn += 1) {
    step();
    if (!broken) broken = misbehaveInHand();
    if (turn % 64 === 0 && turn > options.messages * 200) throw new Error(`the model does not drain, seed ${options.seed}`);
  }
  for (const group of groups) commit(group);
  for (const [key, count] of effects) {
    const [group = "", msg = ""] = key.split("\u0000");
    const twice = !broken && bad === "DUP-EFFECT";
    if (twice) broken = true;
    write("harness", 0, { f: "effect", type: "row", group, msg, count: twice ? 2 : count });
  }
  write("harness", 0, { f: "drain", type: "end", reason: "complete" });
  if (!broken || (bad === "LOST" && dropped === 0)) throw new Error(`the model found no moment for ${bad}, seed ${options.seed}`);
  return records;

  /** With what is in hand now; false: not possible now. */
  function misbehaveInHand(): boolean {
    const member = members.find((each) => each.hands.some(current));
    const hand = member?.hands.find(current);
    if (member === undefined || hand === undefined) return false;
    const at = event(hand, member.group);
    const other = members.find((each) => each.group === member.group && each !== member) ?? member;
    switch (bad) {
      case "EARLY-ACK":
        if (hand.handle === "ok" || hand.kept.attempts > 1) return false;
        write(member.proc, member.inc, { ...at, type: "ack-invoke" });
        write(member.proc, member.inc, { ...at, type: "ack-ok" });
        return true;
      case "OFFSET-JUMP":
        if (hand.handle === "ok") return false;
        write("broker", 0, { f: "commit", type: "ok", dest, group: member.group, part: "0", pos: hand.kept.pos + 1 });
        return true;
      case "STALE-ACK":
      case "OVERLAP": {
        if (bad === "STALE-ACK" && hand.handle !== "ok") return false;
        if (bad === "OVERLAP" && hand.handle !== "started") return false;
        const second: Hand = {
          op: `d${(ops += 1)}`,
          kept: hand.kept,
          gen: (generation += 1),
          leaseEnds: now + leaseMs * 1e6,
          handle: "none",
        };
        other.hands.push(second);
        hand.kept.holder = second;
        write(other.proc, other.inc, {
          ...event(second, member.group),
          type: "delivered",
          attempt: (hand.kept.attempts += 1),
          dig: hand.kept.dig,
          leaseMs,
        });
        if (bad === "OVERLAP") {
          second.handle = "started";
          write(other.proc, other.inc, { ...event(second, member.group), type: "handle-start" });
        } else {
          write(member.proc, member.inc, { ...at, type: "ack-invoke" });
          write(member.proc, member.inc, { ...at, type: "ack-ok" });
        }
        member.hands = member.hands.filter((each) => each !== hand);
        return true;
      }
      case "NONMONO-DELIVERY":
      case "INCONSISTENT-OFFSET": {
        if (bad === "INCONSISTENT-OFFSET") {
          const next = log.get(member.group)?.find((kept) => kept.state === "done" && kept.pos !== hand.kept.pos);
          if (next === undefined) return false;
          write(member.proc, member.inc, { ...at, op: `d${(ops += 1)}`, msg: next.msg, dig: next.dig, type: "delivered", leaseMs });
          return true;
        }
        const list = (log.get(member.group) ?? []).filter((kept) => kept.state === "waiting" && kept.attempts === 0);
        const ok = new Set(
          records.filter((each) => each.f === "send" && each.type === "ok").map((each) => (each.f === "send" ? each.msg : "")),
        );
        const lane = (kept: Kept): string => `${kept.msg.split(".")[0] ?? ""} ${kept.key}`;
        const first = list.find(
          (kept) => ok.has(kept.msg) && list.some((later) => later.pos > kept.pos && ok.has(later.msg) && lane(later) === lane(kept)),
        );
        const later =
          first === undefined ? undefined : list.find((kept) => kept.pos > first.pos && ok.has(kept.msg) && lane(kept) === lane(first));
        if (later === undefined) return false;
        const ahead: Hand = { op: `d${(ops += 1)}`, kept: later, gen: (generation += 1), leaseEnds: now + leaseMs * 1e6, handle: "none" };
        Object.assign(later, { state: "held", holder: ahead });
        member.hands.push(ahead);
        write(member.proc, member.inc, {
          ...event(ahead, member.group),
          type: "delivered",
          attempt: (later.attempts += 1),
          dig: later.dig,
          leaseMs,
        });
        return true;
      }
      default:
        return false;
    }
  }
}

import type { Stream } from "./catalog.ts";
import type { Connection } from "./connection.ts";
import type { StoreClock } from "./clock.ts";
import { idOf } from "./record.ts";

/**
 * Recognises ids that were published within the window, also by other processes and before a restart. Each commit writes one row
 * with the hashes of its ids; this is the same set in memory, read on from there. A hit is checked against the stored message.
 */
export interface Repeats {
  /** At the start of a write transaction: learns what other processes published. */
  catchUp(): void;
  /** Within it. Not a repeat: it is noted as what is stored as `seq`. */
  isRepeat(low: number, high: number, record: Buffer, stream: Stream, seq: number): boolean;
  /** Before the commit: writes down what was noted. */
  write(): void;
  committed(): void;
  rolledBack(): void;
}

export interface RepeatsOptions {
  readonly connection: Connection;
  readonly clock: StoreClock;
  readonly windowMs: number;
  readonly maxMessages: number;
}

/** Open addressing; four numbers an entry: hash (two halves) and seq (two halves). */
interface Table {
  readonly slots: Uint32Array;
  readonly mask: number;
  used: number;
}

function makeTable(capacity: number): Table {
  return { slots: new Uint32Array(capacity * 4), mask: capacity - 1, used: 0 };
}

function find(table: Table, low: number, high: number): number {
  const { slots, mask } = table;
  let at = low & mask;
  for (;;) {
    const base = at * 4;
    const seqLow = slots[base + 2]!;
    const seqHigh = slots[base + 3]!;
    if (seqLow === 0 && seqHigh === 0) return 0;
    if (slots[base] === low && slots[base + 1] === high) return seqHigh * 0x1_0000_0000 + seqLow;
    at = (at + 1) & mask;
  }
}

function add(table: Table, low: number, high: number, seq: number): void {
  const { slots, mask } = table;
  let at = low & mask;
  for (;;) {
    const base = at * 4;
    const free = slots[base + 2] === 0 && slots[base + 3] === 0;
    if (free || (slots[base] === low && slots[base + 1] === high)) {
      if (free) table.used++;
      slots[base] = low;
      slots[base + 1] = high;
      slots[base + 2] = seq % 0x1_0000_0000;
      slots[base + 3] = Math.floor(seq / 0x1_0000_0000);
      return;
    }
    at = (at + 1) & mask;
  }
}

function grow(table: Table): Table {
  const larger = makeTable((table.mask + 1) * 2);
  for (let base = 0; base < table.slots.length; base += 4) {
    const seq = table.slots[base + 3]! * 0x1_0000_0000 + table.slots[base + 2]!;
    if (seq > 0) add(larger, table.slots[base]!, table.slots[base + 1]!, seq);
  }
  return larger;
}

export function watchRepeats({ connection, clock, windowMs, maxMessages }: RepeatsOptions): Repeats {
  // Two generations: each is dropped as a whole when it is older than the window, or full.
  const perGeneration = Math.max(1024, Math.ceil(maxMessages / 2));
  let young = makeTable(1024);
  let old = makeTable(1024);
  let youngSince = clock.now();
  /** First seq that is not known yet. */
  let next = 0;
  let dirty = true;
  /** Of this transaction: triples of low, high and seq. The table has them already; a rollback builds it anew. */
  let noted: number[] = [];

  function insert(low: number, high: number, seq: number): void {
    if (young.used >= perGeneration || clock.now() - youngSince > windowMs) {
      old = young;
      young = makeTable(1024);
      youngSince = clock.now();
    }
    if (young.used * 2 > young.mask) young = grow(young);
    add(young, low, high, seq);
  }

  function load(): void {
    const rows = connection.all(
      "select first, hashes from waybill_recent where first >= ? and at >= ? order by first",
      next,
      clock.now() - windowMs,
    );
    for (const row of rows) {
      const first = Number(row[0]);
      const bytes = row[1] as Uint8Array;
      const hashes = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length >> 2);
      for (let i = 0; i < hashes.length; i += 2) insert(hashes[i]!, hashes[i + 1]!, first + i / 2);
      next = first + hashes.length / 2;
    }
  }

  /** Whether the stored message really is the same, and still counts. */
  function verify(record: Buffer, stream: Stream, seq: number): boolean {
    const at = connection.one("select at from waybill_recent where first <= ? order by first desc limit 1", seq);
    if (at === undefined || Number(at[0]) < clock.now() - windowMs) return false;
    const row = connection.one("select stream, offset, record from waybill_messages where seq = ?", seq);
    if (stream.groupId !== 0) {
      // Addressed to one group: a replay after that group is through with it is not a repeat, though its id is the same.
      if (row === undefined || !isUnsettled(connection, stream.groupId, Number(row[0]), Number(row[1]), seq)) return false;
    }
    // A message that retention took away within the window: its hash of 64 bits has to do.
    return row === undefined || idOf(row[2] as Uint8Array) === idOf(record);
  }

  return {
    catchUp() {
      if (dirty) {
        young = makeTable(1024);
        old = makeTable(1024);
        youngSince = clock.now();
        next = 0;
        dirty = false;
      }
      load();
    },
    isRepeat(idLow, idHigh, record, stream, seq) {
      // Priority is no part of it: a repeat with another priority is a repeat.
      const low = (idLow ^ Math.imul(stream.topicId, 0x9e3779b1)) >>> 0;
      const high = (idHigh ^ Math.imul(stream.groupId + stream.topicId, 0x85ebca6b)) >>> 0;
      const earlier = find(young, low, high) || find(old, low, high);
      if (earlier !== 0 && ((noted.length > 0 && earlier >= noted[2]!) || verify(record, stream, earlier))) return true;
      noted.push(low, high, seq);
      insert(low, high, seq);
      return false;
    },
    write() {
      if (noted.length === 0) return;
      const hashes = new Uint32Array((noted.length / 3) * 2);
      for (let i = 0, at = 0; i < noted.length; i += 3) {
        hashes[at++] = noted[i]!;
        hashes[at++] = noted[i + 1]!;
      }
      connection.run("insert into waybill_recent values (?, ?, ?)", noted[2]!, clock.now(), new Uint8Array(hashes.buffer));
    },
    committed() {
      if (noted.length > 0) next = noted.at(-1)! + 1;
      noted = [];
    },
    rolledBack() {
      if (noted.length > 0) dirty = true;
      noted = [];
    },
  };
}

export function isUnsettled(connection: Connection, group: number, stream: number, offset: number, seq: number): boolean {
  const cursor = connection.one("select next from waybill_cursors where grp = ? and stream = ?", group, stream);
  if (cursor === undefined) return false;
  if (offset >= Number(cursor[0])) return true;
  if (connection.one("select 1 from waybill_parked where grp = ? and seq = ?", group, seq) !== undefined) return true;
  for (const row of connection.all(
    "select first, done from waybill_leases where grp = ? and stream = ? and first <= ? and first + count > ?",
    group,
    stream,
    offset,
    offset,
  )) {
    const bit = offset - Number(row[0]);
    if (((row[1] as Uint8Array)[bit >> 3]! & (1 << (bit & 7))) === 0) return true;
  }
  return false;
}

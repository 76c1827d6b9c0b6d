import type { Catalog, Stream } from "./catalog.ts";
import type { StoreClock } from "./clock.ts";
import type { Connection, Value } from "./connection.ts";
import type { Repeats } from "./repeats.ts";
import type { Failure } from "./failure.ts";
import { inboxPrefix } from "./pattern.ts";
import { sealRecord } from "./record.ts";
import { closeRun } from "./runs.ts";
import { seqRow } from "./schema.ts";

/** Where messages of a batch go; a batch has few of them. */
export interface Target {
  readonly topic: string;
  readonly group: string | undefined;
  readonly priority: number;
  readonly mandatory: boolean;
  /** A request: somebody has to be there to reply. */
  readonly replies: boolean;
}

/** Numbers of a message in `Batch.index`: its target, where its record starts and ends, its content sum, the hash of its id (two). */
export const batchStride = 6;

/** Records in one buffer. */
export interface Batch {
  readonly targets: readonly Target[];
  readonly data: Buffer;
  readonly index: Int32Array;
  /** Only where something is set, by message: ms on the host's monotonic clock. */
  readonly timed: ReadonlyMap<number, { readonly due: number | undefined; readonly expires: number | undefined }>;
  /** Of the messages, by the publisher's wall clock: for a start by time. */
  readonly newestTime: number;
}

export interface Appended {
  /** By message; undefined: all are stored. */
  readonly failures: ReadonlyMap<number, Failure> | undefined;
  readonly streams: ReadonlySet<Stream>;
}

export interface Appending {
  readonly connection: Connection;
  readonly catalog: Catalog;
  readonly clock: StoreClock;
  /** Undefined: repeats are not looked for. */
  readonly repeats: Repeats | undefined;
}

const rowsPerInsert = 25;
const insertMany = `insert into waybill_messages values ${Array.from({ length: rowsPerInsert }, () => "(?,?,?,?)").join(",")}`;
const readNext = "select next from waybill_streams where id = ?";
const writeNext = "update waybill_streams set next = ? where id = ?";
const readRun = "select next, run_first, run_seq from waybill_streams where id = ?";
const growRun = `update waybill_streams set next = ?, run_at = max(run_at, ?), run_stored = ?, run_bytes = run_bytes + ?,
  run_timed = max(run_timed, ?) where id = ?`;
const beginRun = `update waybill_streams set next = ?, run_first = ?, run_seq = ?, run_at = ?, run_stored = ?, run_bytes = ?,
  run_timed = ? where id = ?`;
const insertOne = "insert into waybill_messages values (?,?,?,?)";
/** A run that ends where the new messages start grows up to this many; then it can still be deleted soon. */
const maxRunCount = 1000;

/** In a write transaction. Messages of a stream keep their order. */
export function append(on: Appending, batch: Batch): Appended {
  const { connection, catalog } = on;
  const count = batch.index.length / batchStride;
  const failures = new Map<number, Failure>();
  const streams = new Set<Stream>();
  let seq = Number(connection.one(readNext, seqRow)![0]);
  const firstSeq = seq;

  for (let t = 0; t < batch.targets.length; t++) {
    const target = batch.targets[t]!;
    const refused = routeFailure(connection, catalog, target);
    if (refused !== undefined) {
      for (let i = 0; i < count; i++) if (batch.index[i * batchStride] === t) failures.set(i, refused);
      continue;
    }
    const stream = catalog.ensureStream(target.topic, target.group, target.priority);
    seq = appendTo(on, batch, t, stream, seq);
    streams.add(stream);
  }
  if (seq !== firstSeq) connection.run(writeNext, seq, seqRow);
  return { failures: failures.size === 0 ? undefined : failures, streams };
}

/** In a write transaction: why nothing for this target may be stored; undefined: it may. */
export function routeFailure(connection: Connection, catalog: Catalog, target: Target): Failure | undefined {
  if (target.topic.startsWith(inboxPrefix)) {
    const inbox = connection.one("select 1 from waybill_inboxes where topic = ?", target.topic);
    return inbox === undefined ? { code: "NO_RESPONDERS", text: "the reply address is gone", certainty: "definite" } : undefined;
  }
  if (!(target.mandatory || target.replies) || target.group !== undefined) return undefined;
  const topic = catalog.ensureTopic(target.topic);
  const group = connection.one("select 1 from waybill_groups where topic = ? limit 1", topic);
  if (group !== undefined) return undefined;
  if (target.replies) return { code: "NO_RESPONDERS", text: `nobody replies on ${target.topic}`, certainty: "definite" };
  return { code: "UNROUTABLE", text: `no group receives ${target.topic}` };
}

function appendTo(on: Appending, batch: Batch, target: number, stream: Stream, seq: number): number {
  const { connection, repeats } = on;
  const [first, runFirst, runSeq] = connection.one(readRun, stream.id)!.map(Number) as [number, number, number];
  const firstSeq = seq;
  let offset = first;
  let bytes = 0;
  let timed = false;
  const { index, data } = batch;
  const many = connection.prepare(insertMany);
  let values: Value[] = [];
  for (let i = 0; i < index.length; i += batchStride) {
    if (index[i] !== target) continue;
    const record = data.subarray(index[i + 1], index[i + 2]);
    if (repeats !== undefined && repeats.isRepeat(index[i + 4]!, index[i + 5]!, record, stream, seq)) continue;
    sealRecord(record, index[i + 3]!, stream.seed, seq, offset);
    bytes += record.length;
    if (batch.timed.size > 0) {
      const times = batch.timed.get(i / batchStride);
      if (times !== undefined) {
        timed = true;
        insertTimes(on, seq, times);
      }
    }
    values.push(seq++, stream.id, offset++, record);
    if (values.length === rowsPerInsert * 4) {
      many.run(...values);
      values = [];
    }
  }
  for (let v = 0; v < values.length; v += 4) connection.run(insertOne, values[v]!, values[v + 1]!, values[v + 2]!, values[v + 3]!);
  if (offset === first) return seq;
  const grown = offset - runFirst;
  const at = batch.newestTime;
  if (runFirst < first && runSeq + first - runFirst === firstSeq && grown <= maxRunCount) {
    connection.run(growRun, offset, at, on.clock.now(), bytes, timed ? 1 : 0, stream.id);
  } else {
    closeRun(connection, stream.id);
    connection.run(beginRun, offset, first, firstSeq, at, on.clock.now(), bytes, timed ? 1 : 0, stream.id);
  }
  return seq;
}

function insertTimes(on: Appending, seq: number, times: { readonly due: number | undefined; readonly expires: number | undefined }): void {
  on.connection.run(
    "insert into waybill_timed values (?, ?, ?)",
    seq,
    times.due === undefined ? null : on.clock.from(times.due),
    times.expires === undefined ? null : on.clock.from(times.expires),
  );
}

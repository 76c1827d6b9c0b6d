import type { Connection } from "./connection.ts";

export interface Stretch {
  readonly first: number;
  readonly seq: number;
  readonly count: number;
}

/** Messages that were stored one after the other, in one stream. */
export interface Run extends Stretch {
  readonly bytes: number;
  /** Some of them are delayed, or expire. */
  readonly timed: boolean;
}

const openRun = "select run_first, run_seq, next - run_first, run_bytes, run_timed from waybill_streams where id = ? and run_first < next";

function toRun(row: readonly unknown[]): Run {
  return { first: Number(row[0]), seq: Number(row[1]), count: Number(row[2]), bytes: Number(row[3]), timed: Number(row[4]) !== 0 };
}

/** The run that still grows. */
export function openRunOf(connection: Connection, stream: number): Run | undefined {
  const row = connection.one(openRun, stream);
  return row === undefined ? undefined : toRun(row);
}

/** In a write transaction: the run that grew until now grows no more. */
export function closeRun(connection: Connection, stream: number): void {
  connection.run(
    `insert into waybill_runs select id, run_first, run_seq, next - run_first, run_at, run_stored, run_bytes, run_timed
     from waybill_streams where id = ? and run_first < next`,
    stream,
  );
  connection.run("update waybill_streams set run_first = next where id = ?", stream);
}

/** Those that have some of the offsets first … first+count-1, in order. */
export function runsOver(connection: Connection, stream: number, first: number, count: number): Run[] {
  const open = openRunOf(connection, stream);
  if (open !== undefined && open.first <= first) return [open];
  const runs = connection
    .all(
      `select first, seq, count, bytes, timed from waybill_runs where stream = ? and first < ? and first + count > ?
       and first >= coalesce((select max(first) from waybill_runs where stream = ? and first <= ?), 0) order by first`,
      stream,
      first + count,
      first,
      stream,
      first,
    )
    .map(toRun);
  if (open !== undefined && open.first < first + count) runs.push(open);
  return runs;
}

/** The newest that began at this position or before it. */
export function runBefore(connection: Connection, stream: number, seq: number): Stretch | undefined {
  const open = openRunOf(connection, stream);
  if (open !== undefined && open.seq <= seq) return open;
  const row = connection.one(
    "select first, seq, count, bytes, timed from waybill_runs where stream = ? and seq <= ? order by first desc limit 1",
    stream,
    seq,
  );
  return row === undefined ? undefined : toRun(row);
}

/** The oldest with a message of this time or later, by the publishers' clocks. */
export function runSince(connection: Connection, stream: number, time: number): Stretch | undefined {
  const row = connection.one(
    "select first, seq, count, bytes, timed from waybill_runs where stream = ? and at >= ? order by first limit 1",
    stream,
    time,
  );
  if (row !== undefined) return toRun(row);
  const open = connection.one(`${openRun} and run_at >= ?`, stream, time);
  return open === undefined ? undefined : toRun(open);
}

/** Where in `messages` the offsets first … first+count-1 of a stream are, in order. What is deleted is missing. */
export function stretchesOf(connection: Connection, stream: number, first: number, count: number): Stretch[] {
  const stretches: Stretch[] = [];
  for (const run of runsOver(connection, stream, first, count)) {
    const from = Math.max(first, run.first);
    const until = Math.min(first + count, run.first + run.count);
    if (until > from) stretches.push({ first: from, seq: run.seq + from - run.first, count: until - from });
  }
  return stretches;
}

export function seqsOf(connection: Connection, stream: number, first: number, count: number): number[] {
  const seqs: number[] = [];
  for (const stretch of stretchesOf(connection, stream, first, count)) {
    for (let i = 0; i < stretch.count; i++) seqs.push(stretch.seq + i);
  }
  return seqs;
}

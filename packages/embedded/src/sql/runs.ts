import type { Connection } from "./connection.ts";

export interface Stretch {
  readonly first: number;
  readonly seq: number;
  readonly count: number;
}

/** Where in `messages` the offsets first … first+count-1 of a stream are, in order. What is deleted is missing. */
export function stretchesOf(connection: Connection, stream: number, first: number, count: number): Stretch[] {
  const rows = connection.all(
    `select first, seq, count from waybill_runs where stream = ? and first < ?
     and first >= coalesce((select max(first) from waybill_runs where stream = ? and first <= ?), 0) order by first`,
    stream,
    first + count,
    stream,
    first,
  );
  const stretches: Stretch[] = [];
  for (const row of rows) {
    const runFirst = Number(row[0]);
    const from = Math.max(first, runFirst);
    const until = Math.min(first + count, runFirst + Number(row[2]));
    if (until > from) stretches.push({ first: from, seq: Number(row[1]) + from - runFirst, count: until - from });
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

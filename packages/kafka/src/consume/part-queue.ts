import { WaybillError } from "@waybill/core";
import type { Fetched } from "./fetch-call.ts";
import { readRecords, type LogRecord, type RecordBatch } from "./record-batch.ts";

/** What was fetched of a partition and not handed out yet: packed, but for the batch that is being read. */
export interface PartQueue {
  /** What lies here, packed. */
  readonly bytes: number;
  /** Where the next fetch goes on. */
  readonly fetchOffset: number;
  push(fetched: Fetched): void;
  /** The next record; undefined: none is here. */
  peek(): LogRecord | undefined;
  shift(): void;
  /** Forgets all that is here and goes on there. */
  moveTo(offset: number): void;
}

export interface PartQueueOptions {
  readonly from: number;
  readonly maxUnpackedBytes: number;
  /** Nothing up to and with this offset is left: markers, aborted transactions, what compaction took away. */
  readonly passed: (offset: number) => void;
  /** A batch that cannot be read: its messages are passed over. */
  readonly unreadable: (batch: RecordBatch, error: WaybillError) => void;
}

interface Queued {
  readonly batch: RecordBatch;
  readonly skip: boolean;
}

export function createPartQueue({ from, maxUnpackedBytes, passed, unreadable }: PartQueueOptions): PartQueue {
  let queued: Queued[] = [];
  let at = 0;
  let records: readonly LogRecord[] | undefined;
  let index = 0;
  let bytes = 0;
  let fetchOffset = from;
  /** What lies before it is in the first batch, and was not asked for. */
  let start = from;

  function leave({ batch }: Queued): void {
    at += 1;
    bytes -= batch.bytes;
    records = undefined;
    index = 0;
    if (at >= 64 && at * 2 > queued.length) {
      queued = queued.slice(at);
      at = 0;
    }
    passed(batch.lastOffset);
  }

  function unpack({ batch }: Queued): readonly LogRecord[] {
    try {
      return readRecords(batch, maxUnpackedBytes);
    } catch (error) {
      unreadable(batch, error instanceof WaybillError ? error : new WaybillError("CORRUPT", "a record batch", { cause: error }));
      return [];
    }
  }

  return {
    get bytes() {
      return bytes;
    },
    get fetchOffset() {
      return fetchOffset;
    },
    push({ batches, aborted }) {
      const isAborted = abortedAmong(aborted);
      for (const batch of batches) {
        const skip = isAborted(batch);
        if (batch.lastOffset < fetchOffset) continue;
        queued.push({ batch, skip });
        bytes += batch.bytes;
        fetchOffset = batch.lastOffset + 1;
      }
    },
    peek() {
      for (let entry = queued[at]; entry !== undefined; entry = queued[at]) {
        records ??= entry.skip ? [] : unpack(entry);
        let record = records[index];
        while (record !== undefined && record.offset < start) record = records[(index += 1)];
        if (record !== undefined) return record;
        leave(entry);
      }
      return undefined;
    },
    shift() {
      index += 1;
    },
    moveTo(offset) {
      queued = [];
      at = 0;
      records = undefined;
      index = 0;
      bytes = 0;
      fetchOffset = offset;
      start = offset;
    },
  };
}

/**
 * Whether a batch is none for readers: a marker, or of a transaction that was aborted. Asked in the order of offsets. The list
 * of an answer names those whose messages may lie in it.
 */
function abortedAmong(aborted: Fetched["aborted"]): (batch: RecordBatch) => boolean {
  const ahead = aborted.toSorted((a, b) => a.firstOffset - b.firstOffset);
  const open = new Set<bigint>();
  return (batch) => {
    while (ahead[0] !== undefined && ahead[0].firstOffset <= batch.lastOffset)
      open.add((ahead.shift() as { producerId: bigint }).producerId);
    if (batch.isControl) {
      // Its marker ends the transaction, whichever way.
      open.delete(batch.producerId);
      return true;
    }
    return batch.isTransactional && open.has(batch.producerId);
  };
}

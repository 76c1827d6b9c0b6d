import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { crc32 } from "node:zlib";

/**
 * What a careful user would write by hand instead of the embedded transport, for one topic and one group in one process:
 * `node:sqlite` on its own thread with our page size, journal and synchronous mode; the columns of our table of messages
 * (number, stream, offset, one record with checksum, id, key, headers, time and body); a promise per append; one prepared
 * single-row INSERT per message; and one commit, with its one sync, for all that was appended in a turn of the event loop.
 * It consumes by a SELECT of 1,000 rows, awaits the handler of each, and moves its cursor with the next commit: while somebody
 * appends that is the commit of the appends, so that both together cost one sync.
 *
 * It knows no other process, no second group, no retry, no time-out, no order by key and no repeats, does not look at the
 * checksum when it reads, and does not delete. Nothing in it is slower than it needs to be; where our side does more, that is
 * what the ratio shows.
 */
export interface BareLog {
  append(id: string, key: string, body: Uint8Array): Promise<void>;
  /** Until `count` more were handled and the cursor behind them is committed. */
  consume(count: number, handle: (message: BareMessage) => Promise<void>): Promise<void>;
  close(): void;
}

export interface BareMessage {
  readonly id: string;
  readonly key: string;
  readonly body: Uint8Array;
}

interface Append extends BareMessage {
  readonly time: number;
  readonly done: () => void;
}

const rowsPerSelect = 1000;
/** Every message has the same: they are made once, as by us. */
const headers = Buffer.from(JSON.stringify({ "content-type": "application/octet-stream", "waybill-version": "1" }));
const idAt = 4 + 8 + 3;

export function openBareLog(directory: string, name = "bare.db"): BareLog {
  const db = new DatabaseSync(join(directory, name));
  db.exec(`pragma page_size = 16384; pragma journal_mode = wal; pragma synchronous = full;
    create table messages (seq integer primary key, stream integer not null, offset integer not null, record blob not null);
    create table cursors (name text primary key, next integer not null) without rowid;
    insert into cursors values ('bench', 1);`);
  const insert = db.prepare("insert into messages values (?, ?, ?, ?)");
  const select = db.prepare(`select record from messages where seq >= ? order by seq limit ${rowsPerSelect}`);
  const moveCursor = db.prepare("update cursors set next = ? where name = 'bench'");
  const begin = db.prepare("begin immediate");
  const commitNow = db.prepare("commit");
  const scratch = Buffer.allocUnsafe(64 * 1024);
  let waiting: Append[] = [];
  let scheduled = false;
  let seq = 1;
  let next = 1;
  let moveTo: number | undefined;
  let moved: (() => void)[] = [];
  let appended: (() => void) | undefined;

  function schedule(): void {
    if (scheduled) return;
    scheduled = true;
    setImmediate(commit);
  }

  function commit(): void {
    scheduled = false;
    const batch = waiting;
    const told = moved;
    waiting = [];
    moved = [];
    begin.run();
    for (const message of batch) {
      insert.run(seq, 1, seq, scratch.subarray(0, writeRecord(scratch, seq, message)));
      seq += 1;
    }
    if (moveTo !== undefined) moveCursor.run(moveTo);
    moveTo = undefined;
    commitNow.run();
    for (const message of batch) message.done();
    for (const tell of told) tell();
    if (batch.length > 0) appended?.();
  }

  return {
    append: (id, key, body) =>
      new Promise((done) => {
        waiting.push({ id, key, body, time: Date.now(), done });
        schedule();
      }),
    async consume(count, handle) {
      for (let handled = 0; handled < count;) {
        const rows = select.all(next) as { record: Uint8Array }[];
        if (rows.length === 0) {
          await new Promise<void>((resolve) => (appended = resolve));
          continue;
        }
        for (const { record } of rows) await handle(readRecord(record));
        handled += rows.length;
        next += rows.length;
        moveTo = next;
        const committed = new Promise<void>((resolve) => moved.push(resolve));
        schedule();
        await committed;
      }
    },
    close: () => db.close(),
  };
}

/** [checksum u32][time f64][lengths of id, key and headers, one byte each][id][key][headers][body]; answers its length. */
function writeRecord(into: Buffer, seq: number, { id, key, body, time }: Append): number {
  into.writeDoubleLE(time, 4);
  into[12] = id.length;
  into[13] = key.length;
  into[14] = headers.length;
  let at = idAt;
  at += into.write(id + key, at, "latin1");
  into.set(headers, at);
  at += headers.length;
  into.set(body, at);
  at += body.length;
  into.writeUInt32LE(crc32(into.subarray(4, at), seq), 0);
  return at;
}

function readRecord(record: Uint8Array): BareMessage {
  const bytes = Buffer.from(record.buffer, record.byteOffset, record.byteLength);
  const keyAt = idAt + (bytes[12] ?? 0);
  const headersAt = keyAt + (bytes[13] ?? 0);
  return {
    id: bytes.toString("latin1", idAt, keyAt),
    key: bytes.toString("latin1", keyAt, headersAt),
    body: bytes.subarray(headersAt + (bytes[14] ?? 0)),
  };
}

import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { crc32 } from "node:zlib";

/**
 * The exactly-once effect written by hand, in one process and one file: per message a savepoint with the inbox row, the effect,
 * the outgoing message (a record with its checksum) and the moved cursor; a commit, with its sync, after `perCommit` of them.
 * With 1 the transaction itself is enough and there are no savepoints. Messages come from a SELECT of 1,000 rows, every
 * statement is prepared once, and the handler is awaited, as ours is. It knows one process, one group and one handler at a
 * time, and no lease, retry, time-out or lock that it would have to share.
 */
export interface BareLoop {
  /** Makes so many messages, in one transaction. */
  fill(count: number): void;
  /** Handles all that wait. */
  run(): Promise<void>;
  applied(): number;
  close(): void;
}

export const skus = 100;

export function openBareLoop(directory: string, perCommit: number, nextId: () => string): BareLoop {
  const db = new DatabaseSync(join(directory, `bare-${perCommit}.db`));
  db.exec(`pragma page_size = 16384; pragma journal_mode = wal; pragma synchronous = full;
    create table messages (seq integer primary key, stream integer not null, offset integer not null, record blob not null);
    create table inbox (grp text not null, id text not null, at real not null, primary key (grp, id)) without rowid;
    create table cursors (name text primary key, next integer not null) without rowid;
    create table stock (sku integer primary key, taken integer not null);
    insert into cursors values ('bench', 1);`);
  for (let sku = 0; sku < skus; sku += 1) db.exec(`insert into stock values (${sku}, 0)`);
  const insert = db.prepare("insert into messages values (?, ?, ?, ?)");
  const select = db.prepare("select seq, record from messages where seq >= ? and stream = 1 order by seq limit 1000");
  const claim = db.prepare("insert into inbox values ('bench', ?, ?)");
  const take = db.prepare("update stock set taken = taken + 1 where sku = ?");
  const moveCursor = db.prepare("update cursors set next = ? where name = 'bench'");
  const begin = db.prepare("begin immediate");
  const savepoint = db.prepare("savepoint handler");
  const release = db.prepare("release handler");
  const commit = db.prepare("commit");
  const body = new Uint8Array(100).fill(0x78);
  const record = Buffer.allocUnsafe(512);
  const idLength = nextId().length;
  let seq = 0;
  let next = 1;

  function publish(stream: number, id: string): void {
    seq += 1;
    record.write(id, 4, "latin1");
    record.set(body, 4 + id.length);
    const length = 4 + id.length + body.length;
    record.writeUInt32LE(crc32(record.subarray(4, length), seq), 0);
    insert.run(seq, stream, seq, record.subarray(0, length));
  }

  async function handle(sku: number): Promise<void> {
    take.run(sku);
    publish(2, nextId());
  }

  return {
    fill(count) {
      begin.run();
      for (let left = count; left > 0; left -= 1) publish(1, nextId());
      commit.run();
    },
    async run() {
      let open = 0;
      for (;;) {
        const rows = select.all(next) as { seq: number; record: Uint8Array }[];
        if (rows.length === 0) break;
        for (const row of rows) {
          if (open === 0) begin.run();
          if (perCommit > 1) savepoint.run();
          claim.run(Buffer.from(row.record.buffer, row.record.byteOffset + 4, idLength).toString("latin1"), Date.now());
          await handle(row.seq % skus);
          next = row.seq + 1;
          moveCursor.run(next);
          if (perCommit > 1) release.run();
          open += 1;
          if (open < perCommit) continue;
          commit.run();
          open = 0;
        }
      }
      if (open > 0) commit.run();
    },
    applied: () => (db.prepare("select sum(taken) as n from stock").get() as { n: number }).n,
    close: () => db.close(),
  };
}

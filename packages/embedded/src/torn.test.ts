import assert from "node:assert/strict";
import { copyFileSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import { isSound, streamSeed } from "./sql/record.ts";
import { message, openTransport, publishAll, tempFile } from "./test.fixture.ts";

test("cut off or torn at every byte of the last commit, the log gives back all that was confirmed before it", async (t) => {
  const path = tempFile(t);
  const transport = await openTransport(t, { path });
  await publishAll(
    transport,
    Array.from({ length: 10 }, (_, n) => message("a", `first-${n}`)),
  );
  const confirmedAt = statSync(`${path}-wal`).size;
  await publishAll(
    transport,
    Array.from({ length: 3 }, (_, n) => message("a", `last-${n}`)),
  );
  const log = readFileSync(`${path}-wal`);
  assert(log.length > confirmedAt);
  const copy = `${path}.copy`;
  const seed = streamSeed("a", "", 0);
  let whole = 0;
  // Every byte of the frames' headers, where it matters, and every 401st between.
  for (let end = confirmedAt; end <= log.length; end += (end - confirmedAt) % 16_408 < 30 ? 1 : 401) {
    for (const torn of [false, true]) {
      const left = Buffer.from(log.subarray(0, end));
      if (torn && end > confirmedAt) left[end - 1]! ^= 0xff;
      copyFileSync(path, copy);
      writeFileSync(`${copy}-wal`, left);
      const db = new DatabaseSync(copy);
      const rows = db.prepare("select seq, offset, record from waybill_messages order by seq").all();
      db.close();
      assert(rows.length === 10 || rows.length === 13, `${rows.length} rows at ${end}`);
      for (const row of rows) assert(isSound(row["record"] as Uint8Array, seed, Number(row["seq"]), Number(row["offset"])));
      if (rows.length === 13) whole++;
    }
    if (log.length - end < 401 && end !== log.length) end = log.length - 401;
  }
  assert(whole <= 1);
});

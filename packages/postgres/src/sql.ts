import { escapeIdentifier, escapeLiteral } from "pg";
import { lockKey } from "./schema.ts";
import type { Settings } from "./options.ts";

/** Every statement of the store, for one schema. Values are parameters, except where several statements are one text. */
export interface Statements {
  readonly begin: string;
  readonly claim: string;
  readonly claimMany: string;
  readonly applied: string;
  readonly forget: string;
  readonly enqueue: string;
  readonly enqueueMany: string;
  readonly done: string;
  readonly release: string;
  readonly backlog: string;
  take(owner: string, limit: number, leaseMs: number): string;
}

export function statementsOf(settings: Settings): Statements {
  const { isolation, statementTimeoutMs, lockTimeoutMs, transactionLimitMs, schema } = settings;
  const s = escapeIdentifier(schema);
  const inbox = `${s}.inbox`;
  const outbox = `${s}.outbox`;
  const limits = `set local statement_timeout = ${statementTimeoutMs}; set local lock_timeout = ${lockTimeoutMs}`;
  return {
    begin: `begin isolation level ${isolation}; ${limits}; set local idle_in_transaction_session_timeout = ${transactionLimitMs}`,
    // Waits for another transaction that has the same row in hand, and then says what came of it.
    claim: `insert into ${inbox} (scope, id) values ($1, $2) on conflict do nothing`,
    claimMany: `insert into ${inbox} (scope, id) select * from unnest($1::text[], $2::text[]) on conflict do nothing returning scope, id`,
    applied: `select id from ${inbox} where scope = $1 and id = any ($2::text[])`,
    forget: `delete from ${inbox} where ctid = any (array(
      select ctid from ${inbox} where applied_at < clock_timestamp() - $1 * interval '1 ms' order by applied_at limit $2))`,
    enqueue: `insert into ${outbox} (order_key, topic, message, body) values ($1, $2, $3, $4)`,
    enqueueMany: `insert into ${outbox} (order_key, topic, message, body)
      select k, t, m, b from unnest($1::text[], $2::text[], $3::json[], $4::bytea[]) with ordinality as rows (k, t, m, b, at) order by at`,
    done: `delete from ${outbox} where owner = $1 and id = any ($2::bigint[])`,
    release: `update ${outbox} set owner = null, leased_until = null where owner = $1 and id = any ($2::bigint[])`,
    backlog: `select count(*)::text as rows, (extract(epoch from min(enqueued_at)) * 1000)::text as oldest from ${outbox}`,
    take(owner, limit, leaseMs) {
      const me = escapeLiteral(owner);
      // One text is one transaction and one trip. The lock makes takes come one after another: two at once would each see the
      // other's rows as free or missing, and a key could overtake itself. Each statement sees what was committed before it.
      // A row that is being changed right now is left out (skip locked), and then so is what comes after it of its key.
      return `set transaction isolation level read committed; ${limits};
select pg_advisory_xact_lock(${lockKey(schema, "take")});
with held as (
  select order_key, min(id) as id from ${outbox}
  where owner is not null and owner <> ${me} and leased_until > clock_timestamp() and order_key is not null group by order_key
), free as materialized (
  select o.id, o.order_key from ${outbox} o left join held h on h.order_key = o.order_key
  where (o.owner is null or o.owner = ${me} or o.leased_until <= clock_timestamp()) and (h.id is null or o.id < h.id)
  order by o.id limit ${integer(limit)}
), locked as materialized (
  select id, order_key from ${outbox} where id = any (array(select id from free)) for update skip locked
), gaps as (
  select order_key, min(id) as id from free f
  where order_key is not null and not exists (select 1 from locked l where l.id = f.id) group by order_key
), mine as (
  select l.id from locked l left join gaps g on g.order_key = l.order_key where g.id is null or l.id < g.id
)
update ${outbox} o set owner = ${me}, leased_until = clock_timestamp() + ${integer(leaseMs)} * interval '1 ms'
from mine where o.id = mine.id returning o.id::text as id, o.topic, o.message::text as message, o.body`;
    },
  };
}

function integer(value: number): string {
  return String(Math.max(0, Math.trunc(value)));
}

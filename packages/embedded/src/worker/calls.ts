import type { Topology } from "@waybill/core";
import { backlogOf, doneRows, holderOfRows, releaseRows, takeRows } from "../sql/outbox.ts";
import { appliedRows, forgetRows } from "../sql/inbox.ts";
import { browseGroup, inspectGroup, removeFrom, seekGroup } from "../sql/group.ts";
import { listMembers } from "../sql/members.ts";
import { formatVersion } from "../sql/schema.ts";
import { failed } from "../sql/failure.ts";
import type { CallName, Calls, Diagnosis } from "./protocol.ts";
import type { Session } from "./session.ts";

/** Calls that are one function of the file. The others (subscribe, unsubscribe, watch, close) belong to the worker's loop. */
type PlainName = Exclude<CallName, "subscribe" | "unsubscribe" | "watchOutbox" | "close">;

interface PlainCall<N extends PlainName> {
  /** Runs in a write transaction. */
  readonly writes: boolean;
  run(session: Session, args: Calls[N]["args"]): Calls[N]["answer"];
}

/** Inbox rows looked at in one transaction. */
const forgottenAtOnce = 5000;

export const plainCalls: { readonly [N in PlainName]: PlainCall<N> } = {
  inspect: {
    writes: false,
    run({ connection, catalog }, { topic, group }) {
      const members = new Map(listMembers({ connection }).map((member) => [member.id, member.pid]));
      return inspectGroup(connection, catalog, topic, group, (owner) => `${members.get(owner) ?? "gone"}/${owner}`);
    },
  },
  browse: {
    writes: false,
    run: ({ connection, catalog }, { topic, group, after, limit }) => browseGroup(connection, catalog, topic, group, after, limit),
  },
  remove: {
    writes: true,
    run: ({ connection, catalog, clock }, { topic, group, positions }) =>
      removeFrom(connection, catalog, topic, group, positions, clock.now()),
  },
  seek: {
    writes: true,
    run({ connection, catalog }, { topic, group, to }) {
      seekGroup(connection, catalog, topic, group, to);
      return null;
    },
  },
  declare: { writes: true, run: declare },
  check: { writes: false, run: missing },
  query: {
    writes: false,
    run({ connection }, { sql, values }) {
      const statement = connection.db.prepare(sql);
      statement.setReturnArrays(false);
      // The connection that writes serves it; this keeps the statement from writing.
      connection.exec("pragma query_only = on");
      try {
        return statement.all(...values);
      } finally {
        connection.exec("pragma query_only = off");
      }
    },
  },
  diagnose: { writes: false, run: diagnose },
  applied: { writes: false, run: ({ connection }, { group, ids }) => appliedRows(connection, group, ids) },
  forget: {
    writes: true,
    run: ({ connection, clock }, { olderThanMs, after }) => forgetRows(connection, clock.now() - olderThanMs, after, forgottenAtOnce),
  },
  takeOutbox: {
    writes: true,
    run: (on, { owner, limit, leaseMs }) => takeRows(on.connection, holderOfRows(on.owner, owner), limit, leaseMs, on.clock.now()),
  },
  doneOutbox: {
    writes: true,
    run(on, { owner, rows }) {
      doneRows(on.connection, holderOfRows(on.owner, owner), rows);
      return null;
    },
  },
  releaseOutbox: {
    writes: true,
    run(on, { owner, rows }) {
      releaseRows(on.connection, holderOfRows(on.owner, owner), rows);
      return null;
    },
  },
  backlog: { writes: false, run: ({ connection }) => backlogOf(connection) },
};

function missing({ catalog }: Session, topology: Topology): string[] {
  const names = new Set(topology.topics.filter((name) => catalog.topic(name) === undefined).map((name) => `topic ${name}`));
  for (const { topic, group } of topology.groups) {
    if (catalog.topic(topic) === undefined) names.add(`topic ${topic}`);
    if (catalog.group(topic, group) === undefined) names.add(`group ${group} on ${topic}`);
  }
  return [...names];
}

function declare(session: Session, topology: Topology): string[] {
  const made = missing(session, topology);
  for (const name of topology.topics) session.catalog.ensureTopic(name);
  for (const { topic, group } of topology.groups) session.catalog.ensureGroup(topic, group, "latest");
  return made;
}

function diagnose({ connection, catalog, owner }: Session): Diagnosis {
  return {
    formatVersion,
    members: listMembers({ connection }).map(({ id, pid }) => ({ id, pid, self: id === owner })),
    quarantined: connection.all("select seq, stream, reason from waybill_quarantine order by seq limit 10000").map((row) => ({
      position: Number(row[0]),
      topic: topicOf(() => catalog.stream(Number(row[1])).topic),
      reason: String(row[2]),
    })),
  };
}

function topicOf(read: () => string): string | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}

export function isPlain(name: CallName): name is PlainName {
  return Object.hasOwn(plainCalls, name);
}

export function runPlain(session: Session, name: PlainName, args: unknown): unknown {
  const call = plainCalls[name] as PlainCall<PlainName>;
  return call.run(session, args as never);
}

export function unknownCall(name: string): Error {
  return failed({ code: "TRANSPORT", text: `the worker knows no call ${name}`, certainty: "definite", retryable: false });
}

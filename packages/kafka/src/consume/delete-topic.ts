import { deleteTopicsV6 } from "@platformatic/kafka";
import { call } from "../session/call.ts";
import type { KafkaSession } from "../session/session.ts";
import { briefly } from "./briefly.ts";

/** Of what this instance alone has used. Harmless if it is gone. */
export async function deleteTopic(session: KafkaSession, name: string): Promise<void> {
  const node = (await session.metadata([name])).get(name)?.partitions[0]?.leader;
  if (node === undefined || node < 0) return;
  await briefly(session, "offsets", async () =>
    call(deleteTopicsV6.api, await session.connectionTo(node, { name: "offsets" }), [{ name }], session.settings.requestTimeoutMs),
  );
  session.forgetTopic(name);
}

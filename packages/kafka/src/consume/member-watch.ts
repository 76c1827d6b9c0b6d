import { WaybillError } from "@waybill/core";
import type { KafkaSession } from "../session/session.ts";
import { nameOf } from "./assignor.ts";
import type { CoordinatorLink } from "./coordinator-link.ts";
import { viewGroup } from "./group-view.ts";
import type { Membership } from "./membership.ts";

export interface MemberWatchOptions {
  readonly session: KafkaSession;
  readonly group: string;
  readonly link: CoordinatorLink;
  readonly membership: Membership;
  /** What the coordinator told us last. */
  readonly target: () => ReadonlySet<string>;
  /** It sees us otherwise, and not only for a moment. */
  readonly estranged: (reason: WaybillError) => void;
}

/** So often in a row: a rebalance may pass between the two looks. */
const looks = 2;

/** Compares the coordinator's view of our member with ours: a member that it does not have is attached to nothing. Returns how to stop. */
export function watchMember({ session, group, link, membership, target, estranged }: MemberWatchOptions): () => void {
  let closed = false;

  async function run(): Promise<void> {
    let strange = 0;
    let before = "";
    while (await session.pause(session.settings.watchMs)) {
      if (closed) return;
      const { identity } = membership;
      if (identity === undefined) {
        strange = 0;
        continue;
      }
      const known = await viewGroup(link, group, session.settings.groupProtocol).catch(() => undefined);
      if (closed) return;
      if (known === undefined || !known.isStable || membership.identity !== identity) continue;
      const ours = [...target()].toSorted().join(" ");
      const member = known.members.find(({ memberId }) => memberId === identity.memberId);
      const theirs = member?.parts.map(nameOf).toSorted().join(" ");
      strange = theirs === ours ? 0 : ours === before ? strange + 1 : 1;
      before = ours;
      if (strange < looks) continue;
      strange = 0;
      const what = member === undefined ? "does not have this member" : "sees other partitions with this member than it has";
      estranged(new WaybillError("TRANSPORT", `group "${group}": the coordinator ${what}; it joins anew`, { retryable: true }));
    }
  }

  void run();
  return () => {
    closed = true;
  };
}

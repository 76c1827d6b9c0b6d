import type { Broker, ConformanceTarget, Json, TargetStore } from "@waybill/conformance";
import { commitFault, conformanceBroker, fixturePath, heldAnswers, inOlderFile, newerFile, olderFile } from "./conformance.fixture.ts";
import { conformanceStore } from "./conformance-store.fixture.ts";
import { embedded } from "./transport.ts";

/** Room for the largest bodies of the suite, and soon full. */
const maxFileBytes = 256 * 1024 * 1024;

export const target: ConformanceTarget = {
  name: "embedded",
  processes: true,
  start: (): Promise<Broker> => conformanceBroker(maxFileBytes),
  open: (connection: Json) => embedded({ path: fixturePath(connection), maxFileBytes, faults: { commit: commitFault, held: heldAnswers } }),
  store: (connection: Json, { joined }: { readonly joined: boolean }): TargetStore => conformanceStore(fixturePath(connection), joined),
  formats: {
    older: async () => ({ broker: await conformanceBroker(maxFileBytes, olderFile), ...inOlderFile }),
    newer: () => conformanceBroker(maxFileBytes, newerFile),
  },
};

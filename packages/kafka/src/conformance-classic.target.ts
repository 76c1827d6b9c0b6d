import type { ConformanceTarget } from "@waybill/conformance";
import { kafkaTarget } from "./conformance.fixture.ts";

/** The default: classic groups. */
export const target: ConformanceTarget = kafkaTarget("kafka-classic", {});

import type { ConformanceTarget } from "@waybill/conformance";
import { kafkaTarget } from "./conformance.fixture.ts";

/** Groups by KIP-848. */
export const target: ConformanceTarget = kafkaTarget("kafka", { groupProtocol: "consumer" });

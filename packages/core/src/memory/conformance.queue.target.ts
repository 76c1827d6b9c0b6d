import type { ConformanceTarget } from "@waybill/conformance";
import { memoryTarget } from "./conformance.fixture.ts";

export const target: ConformanceTarget = memoryTarget("memory", { shape: "queue", deduplicationWindow: "1m" });

import type { ConformanceTarget } from "@waybill/conformance";
import { memoryTarget } from "./conformance.fixture.ts";

export const target: ConformanceTarget = memoryTarget("memory-push", { shape: "push" });

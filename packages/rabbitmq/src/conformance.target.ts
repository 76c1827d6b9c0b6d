import type { ConformanceTarget } from "@waybill/conformance";
import { rabbitmqTarget } from "./conformance.fixture.ts";

export const target: ConformanceTarget = rabbitmqTarget("rabbitmq", "rabbitmq", {});

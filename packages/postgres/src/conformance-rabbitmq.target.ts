import type { ConformanceTarget } from "@waybill/conformance";
import { rabbitmq } from "@waybill/rabbitmq";
import { besideBroker } from "./conformance.fixture.ts";

export const target: ConformanceTarget = besideBroker("rabbitmq with a PostgreSQL store", "rabbitmq", (url) => rabbitmq({ url }));

import type { ConformanceTarget } from "@waybill/conformance";
import { kafka } from "@waybill/kafka";
import { besideBroker } from "./conformance.fixture.ts";

export const target: ConformanceTarget = besideBroker("kafka with a PostgreSQL store", "kafka", (url) =>
  kafka({ brokers: new URL(url).host }),
);

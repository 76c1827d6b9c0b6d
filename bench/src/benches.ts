import type { Bench } from "./bench.ts";
import { embeddedBoth } from "./embedded/both.ts";
import { embeddedConsume } from "./embedded/consume.ts";
import { embeddedPublish } from "./embedded/publish.ts";
import { embeddedTwoProcesses } from "./embedded/two-processes.ts";
import { exactlyOnceConcurrent } from "./exactly-once/concurrent.ts";
import { exactlyOnceSingle } from "./exactly-once/single.ts";
import { exactlyOnceSlowHandler } from "./exactly-once/slow-handler.ts";
import { kafka } from "./brokers/kafka.ts";
import { rabbitmq } from "./brokers/rabbitmq.ts";
import { memoryEncoded } from "./memory/encoded.ts";
import { memoryMiddleware } from "./memory/middleware.ts";
import { memoryPublish } from "./memory/publish.ts";
import { publisherBlocked } from "./publisher/blocked.ts";

/** In the order in which they run. */
export const benches: readonly Bench[] = [
  memoryPublish,
  memoryMiddleware,
  memoryEncoded,
  publisherBlocked,
  embeddedPublish,
  embeddedConsume,
  embeddedBoth,
  embeddedTwoProcesses,
  exactlyOnceConcurrent,
  exactlyOnceSingle,
  exactlyOnceSlowHandler,
  rabbitmq,
  kafka,
];

import type { Bench } from "./bench.ts";
import { memoryEncoded } from "./memory/encoded.ts";
import { memoryMiddleware } from "./memory/middleware.ts";
import { memoryPublish } from "./memory/publish.ts";
import { publisherBlocked } from "./publisher/blocked.ts";

/** In the order in which they run. */
export const benches: readonly Bench[] = [memoryPublish, memoryMiddleware, memoryEncoded, publisherBlocked];

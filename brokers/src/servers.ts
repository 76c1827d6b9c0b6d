// Every kind of server there is. A new one is a file and a line here.
import { kafka } from "./kafka.ts";
import { nats } from "./nats.ts";
import { postgres } from "./postgres.ts";
import { rabbitmq, rabbitmq4 } from "./rabbitmq.ts";
import { redis, redis8, valkey } from "./redis.ts";
import type { Server } from "./server.ts";
import type { BrokerName } from "./types.ts";

export const servers: Readonly<Record<BrokerName, Server>> = { rabbitmq, rabbitmq4, kafka, redis, redis8, valkey, nats, postgres };

// Every kind of server there is. A new one is a file and a line here.
import { kafka } from "./kafka.ts";
import { rabbitmq, rabbitmq4 } from "./rabbitmq.ts";
import type { Server } from "./server.ts";
import type { BrokerName } from "./types.ts";

export const servers: Readonly<Record<BrokerName, Server>> = {
  rabbitmq,
  rabbitmq4,
  kafka,
} as unknown as Readonly<Record<BrokerName, Server>>;

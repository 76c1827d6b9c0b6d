// A service's process: told by its supervisor what it is, it runs until it is told to stop, or until the supervisor is gone.
import { createBus } from "@waybill/core";
import { openTransport } from "@waybill/transports";
import { openDatabase } from "../database.ts";
import type { FromService, Settings, ToService } from "../ipc.ts";
import type { ServiceContext } from "./context.ts";
import { inventory } from "./inventory.ts";
import { moments as createMoments } from "./moments.ts";
import { payment } from "./payment.ts";
import { shipping } from "./shipping.ts";
import { shop } from "./shop.ts";

const drain = "10s";

const setUp = { shop, inventory, payment, shipping } as const;

function report(message: FromService): void {
  process.send?.(message, undefined, undefined, () => {});
}

// No supervisor, no service: whoever reads the books must be sure that nobody writes them any more.
process.on("disconnect", () => process.exit(0));
if (!process.connected) process.exit(0);
// The supervisor says when to stop.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => {});

let stop: (() => Promise<void>) | undefined;
let handle: (message: ToService) => void = () => {};

process.on("message", (message: ToService) => {
  if (message.kind === "settings") void start(message.settings).catch(fail);
  else if (message.kind === "stop") void (stop?.() ?? Promise.resolve()).then(() => process.exit(0), fail);
  else handle(message);
});

async function start(settings: Settings): Promise<void> {
  const transport = await openTransport(settings.transport);
  const database = openDatabase(settings.store, transport);
  const bus = createBus({ name: settings.service, transport, outbox: [database.store] });
  const moments = createMoments(report);
  const context: ServiceContext = { bus, database, settings, moments, report };
  const service = setUp[settings.service](context);
  stop = async () => {
    await service.closing?.();
    await bus.close({ drain });
    await database.close();
  };
  handle = (message) => {
    if (message.kind === "arm") moments.arm(message.moment);
    else if (message.kind === "orders") service.take?.(message.orders);
  };
  await bus.start({ signal: AbortSignal.timeout(25_000) });
  report({ kind: "ready", port: await service.opened?.() });
}

function fail(error: unknown): void {
  const text = error instanceof Error ? error.message : "failed";
  process.send?.({ kind: "failed", text } satisfies FromService, undefined, undefined, () => process.exit(1));
}

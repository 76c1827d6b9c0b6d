import { tell } from "./diagnostics.ts";
import type { WaybillError } from "./errors.ts";
import type { Item } from "./item.ts";
import type { Logger } from "./log.ts";
import type { Plan } from "./plan.ts";
import type { TransportStatus } from "./transport.ts";

interface Failure {
  readonly code: string;
  readonly text: string;
}

/** What is told to the log and to `diagnostics_channel`; never on the way of a message that is handled at once. */
export interface Observer {
  retried(plan: Plan, item: Item, delayMs: number, failure: Failure): void;
  deadLettered(plan: Plan, item: Item, failure: Failure): void;
  dropped(plan: Plan, item: Item, failure: Failure): void;
  /** The store or the transport failed; the attempt is not counted. */
  postponed(plan: Plan, item: Item, cause: WaybillError): void;
  gap(plan: Plan, count: number | undefined, reason: string): void;
  publishFailed(topic: string, error: WaybillError): void;
  status(transport: string, status: TransportStatus, reason: WaybillError | undefined): void;
}

export function createObserver({ logger, bus }: { readonly logger: Logger; readonly bus: string }): Observer {
  function fieldsOf(plan: Plan, { delivery, attempt }: Item): { bus: string; topic: string; group: string; id: string; attempt: number } {
    return { bus, topic: delivery.message.topic, group: plan.group, id: delivery.message.id, attempt };
  }
  return {
    retried(plan, item, delayMs, failure) {
      tell("waybill:retry", () => ({ ...fieldsOf(plan, item), delayMs, ...failure }));
      logger.warn({ ...fieldsOf(plan, item), position: item.delivery.position, delayMs, ...failure }, "attempt failed, will retry");
    },
    deadLettered(plan, item, failure) {
      tell("waybill:dead-letter", () => ({ ...fieldsOf(plan, item), ...failure }));
      logger.error({ ...fieldsOf(plan, item), position: item.delivery.position, ...failure }, "dead-lettered");
    },
    dropped(plan, item, failure) {
      tell("waybill:drop", () => ({ ...fieldsOf(plan, item), ...failure }));
      logger.error({ ...fieldsOf(plan, item), position: item.delivery.position, ...failure }, "dropped");
    },
    postponed(plan, item, cause) {
      logger.warn(
        { ...fieldsOf(plan, item), position: item.delivery.position, code: cause.code, text: cause.message },
        "not counted as an attempt, will retry",
      );
    },
    gap(plan, count, reason) {
      tell("waybill:gap", () => ({ bus, topic: plan.topic ?? plan.pattern ?? "", group: plan.group, count, reason }));
      logger.error({ bus, topic: plan.topic ?? plan.pattern, group: plan.group, count, reason }, "messages were missed");
    },
    publishFailed(topic, error) {
      tell("waybill:publish-failed", () => ({ bus, topic, code: error.code, certainty: error.certainty }));
    },
    status(transport, status, reason) {
      tell("waybill:status", () => ({ bus, transport, status, code: reason?.code }));
      if (reason === undefined) logger.info({ bus, transport, status }, "transport status");
      else logger.warn({ bus, transport, status, code: reason.code, text: reason.message }, "transport status");
    },
  };
}

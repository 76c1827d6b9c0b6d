/** Of what a Kafka record has no place for. `docs/wire.md` has them all. */
export const headerNames = {
  id: "waybill-id",
  deliverAt: "waybill-deliver-at",
  expiresAt: "waybill-expires-at",
  replyTo: "waybill-reply-to",
  correlationId: "waybill-correlation-id",
} as const;

/** Where the target of each scheme name lies: beside its adapter. */
export const targetModules: Readonly<Record<string, () => URL>> = {
  memory: () => beside("@waybill/core", "memory/conformance.queue.target.ts"),
  "memory-log": () => beside("@waybill/core", "memory/conformance.log.target.ts"),
  "memory-push": () => beside("@waybill/core", "memory/conformance.push.target.ts"),
  embedded: () => beside("@waybill/embedded", "conformance.target.ts"),
  rabbitmq: () => beside("@waybill/rabbitmq", "conformance.target.ts"),
  "rabbitmq-classic": () => beside("@waybill/rabbitmq", "conformance-classic.target.ts"),
  rabbitmq4: () => beside("@waybill/rabbitmq", "conformance-4.target.ts"),
  kafka: () => beside("@waybill/kafka", "conformance.target.ts"),
  "kafka-classic": () => beside("@waybill/kafka", "conformance-classic.target.ts"),
};

function beside(name: string, file: string): URL {
  return new URL(file, import.meta.resolve(name));
}

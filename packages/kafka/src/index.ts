export { kafka } from "./kafka.ts";
export type { KafkaTransport } from "./kafka.ts";
export type { Compression, GroupProtocol, KafkaOptions, SaslOptions, TlsOptions, TopicDefaults } from "./options.ts";
export type { KafkaPublishNative } from "./publish/refusal.ts";

export type {
  BindingOptions,
  ExchangeOptions,
  QueueOptions,
  QueueType,
  RabbitmqOptions,
  StreamOptions,
  TlsOptions,
  TopicOptions,
} from "./options.ts";
export type { PublishNative, SubscribeNative } from "./native.ts";
export { rabbitmq } from "./transport.ts";
export type { RabbitmqClient, RabbitmqTransport } from "./transport.ts";

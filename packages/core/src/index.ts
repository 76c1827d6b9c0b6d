export { createBatchProcessor } from "./batch-processor.ts";
export type { BatchProcessor, BatchProcessorOptions } from "./batch-processor.ts";
export { createBus } from "./bus.ts";
export type {
  BatchChoices,
  BatchContext,
  BatchHandler,
  BatchItem,
  BatchResult,
  Bus,
  BusOptions,
  BusStatus,
  Context,
  Guarantee,
  Handler,
  HandleMiddleware,
  HandlerCall,
  OrderBy,
  PublishCall,
  PublishChoices,
  Published,
  PublishManyOutcome,
  PublishMiddleware,
  ReplyHandler,
  StreamItem,
  SubscribeChoices,
  SubscriptionHandle,
  SubscriptionState,
  SubscriptionStatus,
} from "./bus-types.ts";
export { describeFailure, maskSecrets } from "./cause.ts";
export type { Failure } from "./cause.ts";
export { createCircuitBreaker } from "./circuit-breaker.ts";
export type { CircuitBreaker, CircuitBreakerOptions, CircuitState } from "./circuit-breaker.ts";
export { systemClock } from "./clock.ts";
export type { Clock, Timer } from "./clock.ts";
export { bytes } from "./codec/bytes.ts";
export type { Codec } from "./codec/codec.ts";
export { json, jsonCodec } from "./codec/json.ts";
export type { JsonOptions } from "./codec/json.ts";
export { text } from "./codec/text.ts";
export { assertOptions, checkOptions, configError, profiles } from "./config.ts";
export type { ObjectSpec, Problem, Profile, ProfileSettings, Spec, SpecFor } from "./config.ts";
export { command, event, request, versionHeader } from "./contract.ts";
export type {
  Contract,
  ContractOptions,
  InputOf,
  OutputOf,
  RequestContract,
  StandardIssue,
  StandardResult,
  StandardSchema,
  Upcasts,
} from "./contract.ts";
export { causeHeaders, deadLetterTopic } from "./dead-letter.ts";
export type { DeadLetter, DeadLetterCause, DeadLetters, ReplayOptions, ReplayReport } from "./dead-letter-types.ts";
export { createDeliveries } from "./deliveries.ts";
export type { Deliveries, DeliveriesOptions } from "./deliveries.ts";
export type { Diagnostics, DiagnosticsName } from "./diagnostics.ts";
export { durationMs } from "./duration.ts";
export type { Duration } from "./duration.ts";
export { errorCodes, isWaybillError, WaybillError } from "./errors.ts";
export type { Certainty, ErrorCode, ErrorOptions } from "./errors.ts";
export { healthOf } from "./health.ts";
export type { Health } from "./health.ts";
export { hybrid } from "./hybrid/hybrid.ts";
export type { HybridOptions, HybridRoute, RouteMatch } from "./hybrid/routes.ts";
export { createIds } from "./id.ts";
export type { IdOptions, Ids } from "./id.ts";
export { safeText, silentLogger } from "./log.ts";
export type { Logger, LogLine } from "./log.ts";
export { memoryBroker } from "./memory/broker.ts";
export type { MemoryBroker } from "./memory/broker.ts";
export type { MemoryTransport } from "./memory/link.ts";
export { memory } from "./memory/memory.ts";
export type {
  MemoryLogOptions,
  MemoryOptions,
  MemoryPublishNative,
  MemoryPushOptions,
  MemoryQueueOptions,
  MemorySubscribeNative,
  Overflow,
} from "./memory/options.ts";
export type { CommitFault } from "./memory/shape.ts";
export type { BusCounters, GroupCounters, MetricsSnapshot, TopicCounters } from "./metrics.ts";
export { checkGroup, checkPattern, checkTopic, compilePattern, hasWildcard } from "./pattern.ts";
export { createPool } from "./pool.ts";
export type { AcquireOptions, ConnectionPool, Holder, Lease, PoolOptions, PoolStats } from "./pool.ts";
export { createRateLimit } from "./rate-limit.ts";
export type { RateLimit, RateLimitOptions } from "./rate-limit.ts";
export { exponential, fixed, linear } from "./retry.ts";
export type {
  ErrorMatch,
  ExponentialOptions,
  Jitter,
  JitterOptions,
  LinearOptions,
  RetryOptions,
  RetryPolicy,
  RetryStrategy,
} from "./retry.ts";
export { runUntilSignal } from "./run-until-signal.ts";
export type { Closable, RunUntilSignalOptions } from "./run-until-signal.ts";
export type { Outbox, OutboxRow, Store, StoreTransaction } from "./store/store.ts";
export { capabilityNames, deadLetterGroup, published } from "./transport.ts";
export type {
  Browsed,
  BrowseRequest,
  Capabilities,
  Capability,
  CapabilityName,
  ConnectOptions,
  Credit,
  Delivery,
  Durability,
  Headers,
  Inspection,
  Known,
  Lanes,
  Level,
  Message,
  Position,
  PublishOptions,
  PublishOutcome,
  Settlement,
  SettleOutcome,
  StartPosition,
  SubscribeRequest,
  Subscription,
  SubscriptionEvent,
  Topology,
  Transaction,
  Transport,
  TransportStatus,
} from "./transport.ts";
export { createVirtualClock } from "./virtual-clock.ts";
export type { VirtualClock } from "./virtual-clock.ts";

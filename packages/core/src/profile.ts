/** What a profile presets; every option given by hand goes before it. */
export interface ProfileSettings {
  readonly connectTimeoutMs: number;
  /** The first try is counted. */
  readonly retryAttempts: number;
  /** Messages of one batch. */
  readonly batchSize: number;
  /** What an adapter may open at most. */
  readonly maxConnections: number;
}

export type Profile = "development" | "production" | "testing";

export const profiles: Readonly<Record<Profile, ProfileSettings>> = {
  development: { connectTimeoutMs: 5_000, retryAttempts: 3, batchSize: 100, maxConnections: 10 },
  production: { connectTimeoutMs: 30_000, retryAttempts: 5, batchSize: 1_000, maxConnections: 50 },
  testing: { connectTimeoutMs: 1_000, retryAttempts: 1, batchSize: 10, maxConnections: 2 },
};

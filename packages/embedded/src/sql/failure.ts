import type { ErrorCode } from "@waybill/core";
import { troubleOf } from "./connection.ts";

/** An error as plain data: it crosses threads, and becomes a `WaybillError` on the user's. */
export interface Failure {
  readonly code: ErrorCode;
  readonly text: string;
  readonly certainty?: "definite" | "indefinite";
  readonly retryable?: boolean;
  readonly remedy?: string;
}

const brand: unique symbol = Symbol("failure");

/** Thrown inside the SQL layer, which knows no core at run time: it also runs in the worker. */
export interface Failed extends Error {
  readonly [brand]: Failure;
}

export function failed(failure: Failure): Failed {
  return Object.assign(new Error(failure.text), { [brand]: failure });
}

export function isFailed(error: unknown): error is Failed {
  return error instanceof Error && brand in error;
}

export const salvageRemedy = "stop all users of the file and copy its sound rows with salvage({ from, to })";

/** `covered`: a commit may have been under way, so an I/O error tells nothing about its effect. */
export function failureOf(error: unknown, covered: boolean): Failure {
  if (isFailed(error)) return error[brand];
  const trouble = troubleOf(error);
  switch (trouble) {
    case "full":
      return { code: "DISK_FULL", text: "no room for the embedded file" };
    case "corrupt":
    case "not-a-database":
      return { code: "CORRUPT", text: "the embedded file is damaged", remedy: salvageRemedy };
    case "busy":
      return { code: "BUSY", text: "another process holds the write lock of the embedded file", certainty: "definite" };
    case "io":
      return {
        code: "TRANSPORT",
        text: "the disk failed under the embedded file",
        certainty: covered ? "indefinite" : "definite",
        remedy: "check the disk; the file is opened again by itself",
      };
    case "read-only":
      return { code: "CONFIG", text: "the embedded file cannot be written", remedy: "check the permissions of the file and its directory" };
    case "cannot-open":
      return { code: "CONNECTION", text: "the embedded file cannot be opened" };
    case "other":
    case undefined:
      return {
        code: "TRANSPORT",
        text: `the embedded store failed: ${error instanceof Error ? error.message : "unknown cause"}`,
        certainty: covered ? "indefinite" : "definite",
      };
  }
}

// A reporter for `node:test` that writes one JSON line for each finished test. `test-runner.ts` reads them.
import { inspect } from "node:util";

function describe(error) {
  const cause = error?.failureType === "testCodeFailure" || error?.failureType === "hookFailed" ? error.cause : error;
  if (cause instanceof Error || (cause !== null && typeof cause === "object" && typeof cause.stack === "string")) {
    return inspect(cause, { depth: 4 });
  }
  return typeof cause === "string" ? cause : inspect(cause, { depth: 4 });
}

export default async function* report(events) {
  for await (const { type, data } of events) {
    if (type !== "test:pass" && type !== "test:fail") continue;
    const line = {
      ok: type === "test:pass",
      name: data.name,
      nesting: data.nesting,
      suite: data.details?.type === "suite",
      skipped: data.skip !== undefined || data.todo !== undefined,
    };
    // A suite that fails only because a test in it failed says nothing new.
    if (type === "test:fail") line.error = data.details.error?.failureType === "subtestsFailed" ? "" : describe(data.details.error);
    yield JSON.stringify(line) + "\n";
  }
}

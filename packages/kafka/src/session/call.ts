import { GenericError, type API, type Connection } from "@platformatic/kafka";
import { WaybillError } from "@waybill/core";
import { isFinal, wrap } from "./errors.ts";

/**
 * One wire call. Answers the response also where it holds error codes: the client throws these, the caller reads `errorCode`.
 * Rejects with `CONNECTION_LOST` when no answer came: it may have taken effect.
 */
export function call<Asked extends unknown[], Answer>(api: API<Asked, Answer>, connection: Connection, ...asked: Asked): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const answered = (error: Error | null, answer?: Answer): void => {
      if (error === null || error === undefined) return resolve(answer as Answer);
      const response = GenericError.isGenericError(error) ? (error["response"] as Answer | undefined) : undefined;
      if (response !== undefined) return resolve(response);
      reject(isFinal(error) ? wrap(error) : new WaybillError("CONNECTION_LOST", "the broker did not answer", { cause: error }));
    };
    try {
      (api as unknown as (connection: Connection, ...rest: unknown[]) => void)(connection, ...asked, answered);
    } catch (error) {
      answered(error as Error);
    }
  });
}

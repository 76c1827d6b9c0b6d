import { type Message, WaybillError } from "@waybill/core";
import { batchStride, type Target } from "./sql/append.ts";
import { monotonicMs } from "./sql/clock.ts";
import { contentSum, hashId, recordBound, writeRecord } from "./sql/record.ts";

/** Messages as one buffer that the worker takes over. `places`: which message each record is; undefined: one to one. */
export interface Packed {
  readonly targets: readonly Target[];
  readonly data: Buffer;
  readonly index: Int32Array;
  readonly timed: readonly (readonly [number, number | undefined, number | undefined])[];
  readonly newestTime: number;
  readonly places: readonly number[] | undefined;
  /** By message: why it was refused here. */
  readonly refused: ReadonlyMap<number, WaybillError> | undefined;
}

const maxHeaderBytes = 1024 * 1024;

export function packMessages(messages: readonly Message[], maxBodyBytes: number): Packed {
  let refused: Map<number, WaybillError> | undefined;
  let bound = 0;
  for (let i = 0; i < messages.length; i++) {
    const message = messages[i]!;
    const why = refusalOf(message, maxBodyBytes);
    if (why === undefined) bound += recordBound(message, (message.body as Uint8Array | null)?.length ?? 0);
    else (refused ??= new Map()).set(i, why);
  }
  const count = messages.length - (refused?.size ?? 0);
  const data = Buffer.allocUnsafeSlow(bound);
  const index = new Int32Array(count * batchStride);
  const places: number[] | undefined = refused === undefined ? undefined : [];
  const timed: [number, number | undefined, number | undefined][] = [];
  const targets: Target[] = [];
  let target = -1;
  let end = 0;
  let newestTime = 0;
  let skew: number | undefined;
  for (let i = 0, n = 0; i < messages.length; i++) {
    if (refused?.has(i) === true) continue;
    const message = messages[i]!;
    places?.push(i);
    if (target < 0 || !goesTo(targets[target]!, message)) target = targetFor(targets, message);
    const start = end;
    end = writeRecord(data, start, message, message.body as Uint8Array | null);
    const at = n * batchStride;
    index[at] = target;
    index[at + 1] = start;
    index[at + 2] = end;
    index[at + 3] = contentSum(data.subarray(start, end));
    hashId(message.id, index, at + 4);
    if (message.deliverAt !== undefined || message.expiresAt !== undefined) {
      skew ??= monotonicMs() - Date.now();
      // The wall clock tells whole milliseconds: never early, and never late.
      timed.push([n, plus(message.deliverAt, skew), plus(message.expiresAt, skew - 1)]);
    }
    if (message.time > newestTime) newestTime = message.time;
    n++;
  }
  return { targets, data, index, timed, newestTime, places, refused };
}

function plus(time: number | undefined, skew: number): number | undefined {
  return time === undefined ? undefined : time + skew;
}

function goesTo(target: Target, message: Message): boolean {
  return (
    target.topic === message.topic &&
    target.group === message.group &&
    target.priority === (message.priority ?? 0) &&
    target.mandatory === message.mandatory &&
    target.replies === (message.replyTo !== undefined)
  );
}

function targetFor(targets: Target[], message: Message): number {
  const known = targets.findIndex((target) => goesTo(target, message));
  if (known >= 0) return known;
  return targets.push(targetOf(message)) - 1;
}

export function targetOf({ topic, group, priority, mandatory, replyTo }: Message): Target {
  return { topic, group, priority: priority ?? 0, mandatory, replies: replyTo !== undefined };
}

/** Why it cannot be stored as it is; undefined: it can. */
export function refusalOf(message: Message, maxBodyBytes: number): WaybillError | undefined {
  const { body, topic, priority } = message;
  if (body !== null && !(body instanceof Uint8Array)) {
    return new WaybillError("CONFIG", `body of a message for topic "${topic}": expected bytes or null`);
  }
  if (body !== null && body.length > maxBodyBytes) {
    return new WaybillError("TOO_LARGE", `a body of ${body.length} bytes for topic "${topic}": at most ${maxBodyBytes}`);
  }
  if (priority !== undefined && !(Number.isInteger(priority) && priority >= 0 && priority <= 9)) {
    return new WaybillError("CONFIG", `priority of a message for topic "${topic}": expected an integer from 0 to 9`);
  }
  if (message.native !== undefined) {
    return new WaybillError("CONFIG", "native: the embedded transport has no publish options of its own");
  }
  return textRefusal(message);
}

function textRefusal(message: Message): WaybillError | undefined {
  let text = `${message.topic}${message.group ?? ""}${message.id}${message.key ?? ""}${message.replyTo ?? ""}${message.correlationId ?? ""}`;
  for (const name of Object.keys(message.headers)) text += name + message.headers[name]!;
  if (!text.isWellFormed()) {
    return new WaybillError("VALIDATION", "id, key or a header has half a surrogate pair, which UTF-8 cannot carry", {
      remedy: "put binary data into the body",
    });
  }
  if (text.length > maxHeaderBytes) {
    return new WaybillError("TOO_LARGE", `id, key and headers of ${text.length} characters: at most ${maxHeaderBytes}`);
  }
  if (message.topic === "" || message.topic.length > 512) return new WaybillError("NAME", "topic: expected 1 to 512 characters");
  return undefined;
}

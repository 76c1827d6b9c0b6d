import { crc32 } from "node:zlib";
import type { Settings } from "../options.ts";
import type { KafkaPublishNative } from "./refusal.ts";

const seed = 0x9747b28c | 0;
const multiplier = 0x5bd1e995;

/** Murmur2 as Kafka's Java client has it (`org.apache.kafka.common.utils.Utils.murmur2`), of the text's UTF-8. 32 bits, signed. */
export function murmur2(text: string): number {
  const { length } = text;
  for (let at = 0; at < length; at += 1) if (text.charCodeAt(at) > 127) return murmur2Of(length, Buffer.from(text));
  return murmur2Of(length, text);
}

function murmur2Of(characters: number, from: string | Buffer): number {
  const isText = typeof from === "string";
  const length = isText ? characters : from.length;
  const byte = (at: number): number => (isText ? from.charCodeAt(at) : (from[at] as number));
  let hash = seed ^ length;
  const whole = length & ~3;
  for (let at = 0; at < whole; at += 4) {
    let word = byte(at) | (byte(at + 1) << 8) | (byte(at + 2) << 16) | (byte(at + 3) << 24);
    word = Math.imul(word, multiplier);
    word ^= word >>> 24;
    word = Math.imul(word, multiplier);
    hash = Math.imul(hash, multiplier) ^ word;
  }
  const rest = length & 3;
  if (rest >= 3) hash ^= byte(whole + 2) << 16;
  if (rest >= 2) hash ^= byte(whole + 1) << 8;
  if (rest >= 1) hash = Math.imul(hash ^ byte(whole), multiplier);
  hash ^= hash >>> 13;
  hash = Math.imul(hash, multiplier);
  return hash ^ (hash >>> 15);
}

/** The hash of a key, 31 bits: modulo the number of partitions it is the partition, modulo the producers it is the producer. */
export type Hash = (key: string) => number;

export function hashOf(partitioner: Settings["partitioner"]): Hash {
  return partitioner === "murmur2" ? (key) => murmur2(key) & 0x7fffffff : (key) => crc32(key);
}

/** The partition that a message names itself. */
export function partitionIn(native: unknown): number | undefined {
  const partition = (native as KafkaPublishNative | undefined)?.partition;
  return typeof partition === "number" && Number.isInteger(partition) && partition >= 0 ? partition : undefined;
}

// Two questions to a Kafka broker, in its own protocol.
import { ask } from "./probe.ts";

const apiVersions = 18;
const describeCluster = 60;
/** The highest metadata.version that a release supports, as it names no release itself. */
const releases: Readonly<Record<number, string>> = { 21: "3.9", 25: "4.0", 27: "4.1" };

/** The release of the broker, by the features that it supports. */
export async function askVersion(host: string, port: number): Promise<string> {
  return ask({
    host,
    port,
    first: request(apiVersions, 3, Buffer.from([0, 2, 0x77, 2, 0x31, 0])),
    answer(received) {
      const answer = whole(received);
      if (answer === undefined) return undefined;
      if (answer.readInt16BE(4) !== 0) throw new Error(`error code ${answer.readInt16BE(4)}`);
      const feature = "metadata.version";
      const at = answer.indexOf(feature);
      if (at < 0) return "unknown";
      const level = answer.readInt16BE(at + feature.length + 2);
      return releases[level] ?? `metadata.version ${level}`;
    },
  });
}

export interface LiveBroker {
  readonly id: number;
  /** As it is advertised to clients. */
  readonly host: string;
  readonly port: number;
}

/** The brokers that this one knows as living. */
export async function liveBrokers(host: string, port: number): Promise<readonly LiveBroker[]> {
  const text = await ask({
    host,
    port,
    first: request(describeCluster, 0, Buffer.from([0, 0, 0])),
    answer(received) {
      const answer = whole(received);
      return answer === undefined ? undefined : JSON.stringify(brokersIn(answer));
    },
  });
  return JSON.parse(text) as LiveBroker[];
}

/** A request with an empty client id; the body begins with the header's (empty) tagged fields. */
function request(key: number, version: number, body: Buffer): Buffer {
  const head = Buffer.alloc(14);
  head.writeUInt32BE(head.length - 4 + body.length, 0);
  head.writeInt16BE(key, 4);
  head.writeInt16BE(version, 6);
  head.writeInt32BE(1, 8);
  head.writeInt16BE(-1, 12);
  return Buffer.concat([head, body]);
}

/** The answer from its correlation id on. */
function whole(received: Buffer): Buffer | undefined {
  if (received.length < 4 || received.length < 4 + received.readUInt32BE(0)) return undefined;
  return received.subarray(4, 4 + received.readUInt32BE(0));
}

function brokersIn(answer: Buffer): LiveBroker[] {
  let at = 5 + 4; // correlation id, tagged fields, throttle time
  const error = answer.readInt16BE(at);
  if (error !== 0) throw new Error(`error code ${error}`);
  at += 2;
  const varint = (): number => {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = answer.readUInt8(at++);
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
  };
  const text = (): string => {
    const length = Math.max(0, varint() - 1);
    at += length;
    return answer.toString("utf8", at - length, at);
  };
  const integer = (): number => {
    at += 4;
    return answer.readInt32BE(at - 4);
  };
  text(); // error message
  text(); // cluster id
  integer(); // controller
  const brokers: LiveBroker[] = [];
  for (let left = varint() - 1; left > 0; left -= 1) {
    brokers.push({ id: integer(), host: text(), port: integer() });
    text(); // rack
    varint(); // tagged fields: none
  }
  return brokers;
}

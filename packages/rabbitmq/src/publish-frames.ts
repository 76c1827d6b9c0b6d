import type { Options } from "amqplib";

/**
 * `basic.publish` as AMQP 0-9-1 frames, many messages a write: the client makes a stream chunk of each frame, which costs more
 * than all else that it does. Section 4.2 of the specification, with RabbitMQ's own table types.
 */
export interface FrameWriter {
  /** @throws nothing that was begun stays in the buffer. */
  publish(exchange: string, routingKey: string, properties: Options.Publish, body: Buffer): void;
  /** To the socket, now. */
  flush(): void;
}

const chunkBytes = 64 * 1024;
/** A larger body is not copied. */
const copiedBytes = 16 * 1024;
const frameEnd = 0xce;
const overhead = 8;
const classBasic = 60;
const methodPublish = 40;

export function createFrameWriter(channel: number, frameMax: number, write: (bytes: Buffer) => void): FrameWriter {
  let buffer = Buffer.allocUnsafe(chunkBytes);
  let at = 0;

  function flush(): void {
    if (at === 0) return;
    write(buffer.subarray(0, at));
    // The socket may hold on to what it was given.
    if (buffer.length - at >= chunkBytes / 2) buffer = buffer.subarray(at);
    else buffer = Buffer.allocUnsafe(chunkBytes);
    at = 0;
  }

  function room(bytes: number): void {
    if (at + bytes <= buffer.length) return;
    flush();
    if (bytes > buffer.length) buffer = Buffer.allocUnsafe(Math.max(bytes, chunkBytes));
  }

  /** Answers where its size goes. */
  function begin(type: number): number {
    buffer[at] = type;
    buffer.writeUInt16BE(channel, at + 1);
    at += 7;
    return at;
  }

  function end(from: number): void {
    buffer.writeUInt32BE(at - from, from - 4);
    buffer[at] = frameEnd;
    at += 1;
  }

  function shortText(text: string): void {
    const length = put(text, at + 1);
    buffer[at] = length;
    at += 1 + length;
  }

  function longText(text: string): void {
    const length = put(text, at + 4);
    buffer.writeUInt32BE(length, at);
    at += 4 + length;
  }

  function put(text: string, where: number): number {
    // Most are a few letters of ASCII: then a loop is faster than the call.
    if (text.length > 48) return buffer.write(text, where);
    for (let index = 0; index < text.length; index += 1) {
      const code = text.charCodeAt(index);
      if (code > 127) return buffer.write(text, where);
      buffer[where + index] = code;
    }
    return text.length;
  }

  function table(headers: Readonly<Record<string, unknown>>): void {
    const from = at;
    at += 4;
    for (const name in headers) {
      const value = headers[name];
      shortText(name);
      if (typeof value === "string") {
        buffer[at] = 0x53; // S
        at += 1;
        longText(value);
      } else if (typeof value === "boolean") {
        buffer[at] = 0x74; // t
        buffer[at + 1] = value ? 1 : 0;
        at += 2;
      } else if (Number.isSafeInteger(value)) {
        buffer[at] = 0x6c; // l
        at = buffer.writeBigInt64BE(BigInt(value as number), at + 1);
      } else {
        buffer[at] = 0x64; // d
        at = buffer.writeDoubleBE(Number(value), at + 1);
      }
    }
    buffer.writeUInt32BE(at - from - 4, from);
  }

  function header(properties: Options.Publish, size: number): void {
    const from = begin(2);
    buffer.writeUInt16BE(classBasic, at);
    buffer.writeUInt16BE(0, at + 2);
    buffer.writeUInt32BE(0, at + 4);
    buffer.writeUInt32BE(size, at + 8);
    const flagsAt = at + 12;
    at += 14;
    let flags = 0;
    if (properties.contentType !== undefined) {
      flags |= 1 << 15;
      shortText(properties.contentType);
    }
    if (properties.contentEncoding !== undefined) {
      flags |= 1 << 14;
      shortText(properties.contentEncoding);
    }
    flags |= 1 << 13;
    table(properties.headers as Readonly<Record<string, unknown>>);
    flags |= 1 << 12;
    buffer[at] = properties.deliveryMode as number;
    at += 1;
    if (properties.priority !== undefined) {
      flags |= 1 << 11;
      buffer[at] = properties.priority;
      at += 1;
    }
    if (properties.correlationId !== undefined) {
      flags |= 1 << 10;
      shortText(properties.correlationId);
    }
    if (properties.replyTo !== undefined) {
      flags |= 1 << 9;
      shortText(properties.replyTo);
    }
    if (properties.expiration !== undefined) {
      flags |= 1 << 8;
      shortText(String(properties.expiration));
    }
    if (properties.messageId !== undefined) {
      flags |= 1 << 7;
      shortText(properties.messageId);
    }
    if (properties.timestamp !== undefined) {
      flags |= 1 << 6;
      const { timestamp } = properties;
      buffer.writeUInt32BE(Math.floor(timestamp / 2 ** 32), at);
      buffer.writeUInt32BE(timestamp % 2 ** 32, at + 4);
      at += 8;
    }
    if (properties.type !== undefined) {
      flags |= 1 << 5;
      shortText(properties.type);
    }
    if (properties.userId !== undefined) {
      flags |= 1 << 4;
      shortText(properties.userId);
    }
    if (properties.appId !== undefined) {
      flags |= 1 << 3;
      shortText(properties.appId);
    }
    buffer.writeUInt16BE(flags, flagsAt);
    end(from);
  }

  function content(body: Buffer): void {
    const most = frameMax - overhead;
    for (let from = 0; from < body.length; from += most) {
      const size = Math.min(most, body.length - from);
      if (size > copiedBytes) {
        room(7);
        begin(3);
        buffer.writeUInt32BE(size, at - 4);
        flush();
        write(body.subarray(from, from + size));
        room(1);
        buffer[at] = frameEnd;
        at += 1;
        continue;
      }
      room(size + overhead);
      const start = begin(3);
      at += body.copy(buffer, at, from, from + size);
      end(start);
    }
  }

  return {
    publish(exchange, routingKey, properties, body) {
      room(sizeOf(exchange, routingKey, properties));
      const from = begin(1);
      buffer.writeUInt16BE(classBasic, at);
      buffer.writeUInt16BE(methodPublish, at + 2);
      buffer.writeUInt16BE(0, at + 4);
      at += 6;
      shortText(exchange);
      shortText(routingKey);
      buffer[at] = properties.mandatory === true ? 1 : 0;
      at += 1;
      end(from);
      header(properties, body.length);
      content(body);
    },
    flush,
  };
}

/** At most, in bytes, of the first two frames: a UTF-16 unit is three bytes at most. */
function sizeOf(exchange: string, routingKey: string, properties: Options.Publish): number {
  let units = exchange.length + routingKey.length;
  let fields = 40;
  const headers = properties.headers as Readonly<Record<string, unknown>>;
  for (const name in headers) {
    const value = headers[name];
    units += name.length + (typeof value === "string" ? value.length : 0);
    fields += 16;
  }
  for (const text of [properties.contentType, properties.contentEncoding, properties.correlationId, properties.replyTo])
    units += text?.length ?? 0;
  for (const text of [properties.messageId, properties.type, properties.userId, properties.appId]) units += text?.length ?? 0;
  return units * 3 + fields + 128;
}

/** What the broker would refuse with the whole connection: a header frame is never cut in two. @throws RangeError */
export function fitsFrame(properties: Options.Publish, frameMax: number): boolean {
  let bytes = 0;
  const headers = properties.headers as Readonly<Record<string, unknown>>;
  for (const name in headers) {
    const value = headers[name];
    bytes += name.length + 16 + (typeof value === "string" ? value.length * 3 : 0);
    if (bytes > frameMax - 4_096) return exactBytes(headers) <= frameMax - 4_096;
  }
  return true;
}

function exactBytes(headers: Readonly<Record<string, unknown>>): number {
  let bytes = 0;
  for (const name in headers) {
    const value = headers[name];
    bytes += Buffer.byteLength(name) + 16 + (typeof value === "string" ? Buffer.byteLength(value) : 0);
  }
  return bytes;
}

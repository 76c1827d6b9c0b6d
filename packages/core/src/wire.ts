import type { Contract } from "./contract.ts";
import { validate, versionHeader } from "./contract.ts";
import { compress, decompress, type Encoding } from "./codec/compress.ts";
import type { CodecRegistry } from "./codec/registry.ts";
import { plainHeaders } from "./dead-letter.ts";
import { WaybillError } from "./errors.ts";
import type { Headers, Message } from "./transport.ts";

export const contentTypeHeader = "content-type";
export const contentEncodingHeader = "content-encoding";

export interface Encoded {
  readonly body: unknown;
  readonly headers: Headers;
}

/** Bodies on their way to the transport and back: codec, compression, version, schema. */
export interface Wire {
  /** The transport takes bytes. */
  readonly bytes: boolean;
  encode(contentType: string, body: unknown, headers: Headers): Encoded | Promise<Encoded>;
  /** Throws (or rejects with) `DECODE`, `UNKNOWN_TYPE`, `UNKNOWN_VERSION` or `VALIDATION`. Without a contract: as it was encoded. */
  decode(message: Message, contract: Contract | undefined): unknown;
  /** Of a message whose body may be a value: what an outbox stores. */
  toBytes(message: Message): Message;
  /** Of a message from an outbox: what this transport takes. */
  fromBytes(message: Message): Message | Promise<Message>;
}

export interface WireOptions {
  readonly bytes: boolean;
  readonly codecs: CodecRegistry;
  readonly compression: { readonly encoding: Encoding; readonly minBytes: number } | undefined;
  readonly maxDecodedBytes: number;
}

export function createWire({ bytes, codecs, compression, maxDecodedBytes }: WireOptions): Wire {
  function encodeBytes(contentType: string, body: unknown): Uint8Array | null {
    return body === null ? null : codecs.get(contentType).encode(body);
  }

  function encode(contentType: string, body: unknown, headers: Headers): Encoded | Promise<Encoded> {
    if (!bytes) return { body, headers };
    const plain = encodeBytes(contentType, body);
    if (plain === null || compression === undefined || plain.byteLength < compression.minBytes) return { body: plain, headers };
    const finish = (packed: Uint8Array): Encoded => {
      if (packed.byteLength >= plain.byteLength) return { body: plain, headers };
      return { body: packed, headers: Object.assign(plainHeaders(headers), { [contentEncodingHeader]: compression.encoding }) };
    };
    const packed = compress(plain, compression.encoding);
    return packed instanceof Promise ? packed.then(finish) : finish(packed);
  }

  function decode(message: Message, contract: Contract | undefined): unknown {
    const body = bytes ? unpack(message, contract?.contentType) : message.body;
    if (body instanceof Promise) return acceptLater(message, contract, body);
    return contract === undefined ? body : accept(message, contract, body);
  }

  function unpack(message: Message, usual: string | undefined): unknown {
    const { body, headers } = message;
    if (body === null) return null;
    if (!(body instanceof Uint8Array)) throw new WaybillError("DECODE", "the transport gave a body that is not bytes");
    const encoding = headers[contentEncodingHeader];
    const type = headers[contentTypeHeader] ?? usual ?? "application/json";
    const plain = encoding === undefined ? body : decompress(body, encoding, maxDecodedBytes);
    if (plain instanceof Promise) return plain.then((unpacked) => codecs.get(type).decode(unpacked));
    if (plain.byteLength > maxDecodedBytes)
      throw new WaybillError("DECODE", `a body of ${plain.byteLength} bytes: at most ${maxDecodedBytes} are unpacked`);
    return codecs.get(type).decode(plain);
  }

  return {
    bytes,
    encode,
    decode,
    toBytes(message) {
      if (bytes) return message;
      return { ...message, body: encodeBytes(message.headers[contentTypeHeader] ?? "application/json", message.body) };
    },
    fromBytes(message) {
      if (bytes || message.body === null) return message;
      return { ...message, body: codecs.get(message.headers[contentTypeHeader] ?? "application/json").decode(message.body as Uint8Array) };
    },
  };
}

async function acceptLater(message: Message, contract: Contract | undefined, body: Promise<unknown>): Promise<unknown> {
  return accept(message, contract, await body);
}

function accept(message: Message, contract: Contract | undefined, body: unknown): unknown {
  if (contract === undefined) return body;
  const lifted = lift(message, contract, body);
  return contract.schema === undefined ? lifted : validate(contract.schema, lifted, `message on "${message.topic}"`);
}

/** A message without a version, such as a foreign one, is taken for the current one. */
function lift(message: Message, contract: Contract, body: unknown): unknown {
  // By reference they are the contract's own.
  if (message.headers === contract.headers) return body;
  const header = message.headers[versionHeader];
  if (header === undefined || header === contract.headers[versionHeader]) return body;
  const version = Number(header);
  if (!Number.isSafeInteger(version) || version < 1 || version > contract.version) {
    throw new WaybillError("UNKNOWN_VERSION", `"${contract.topic}" is known up to version ${contract.version}`);
  }
  let lifted = body;
  for (let from = version; from < contract.version; from += 1) {
    const upcast = contract.upcast[from] as ((older: unknown) => unknown) | undefined;
    if (upcast === undefined) throw new WaybillError("UNKNOWN_VERSION", `"${contract.topic}" has no upcast from version ${from}`);
    lifted = upcast(lifted);
  }
  return lifted;
}

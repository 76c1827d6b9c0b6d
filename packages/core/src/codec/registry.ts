import { WaybillError } from "../errors.ts";
import { safeText } from "../log.ts";
import type { Codec } from "./codec.ts";

/** The codecs that are allowed; nothing else is ever decoded. */
export interface CodecRegistry {
  readonly contentTypes: readonly string[];
  /** The codec of a content type; parameters such as `charset=utf-8` and upper case are allowed in it. Throws `UNKNOWN_TYPE`. */
  get(contentType: string): Codec;
}

const maxTypeLength = 255;
const form = /^[a-z0-9!#$&^_.+-]{1,127}\/[a-z0-9!#$&^_.+-]{1,127}$/;

/**
 * Of two codecs with the same content type the later one holds. Those that it gives back throw `VALIDATION` and `DECODE` whatever the
 * codec itself throws. Throws `CONFIG` for a content type that is not lower-case `type/subtype`.
 */
export function createCodecs(codecs: readonly Codec[]): CodecRegistry {
  const byType = new Map<string, Codec>();
  for (const codec of codecs) {
    if (!form.test(codec.contentType)) {
      throw new WaybillError(
        "CONFIG",
        `codecs: expected a content type in lower case without parameters, found "${safeText(codec.contentType, 80)}"`,
      );
    }
    byType.set(codec.contentType, guarded(codec));
  }
  return {
    contentTypes: [...byType.keys()],
    get(contentType) {
      const codec = byType.get(contentType) ?? byType.get(plainType(contentType));
      if (codec !== undefined) return codec;
      throw new WaybillError("UNKNOWN_TYPE", `content type "${safeText(contentType, 80)}" is not one of ${[...byType.keys()].join(", ")}`);
    },
  };
}

function guarded(codec: Codec): Codec {
  const { contentType } = codec;
  return {
    contentType,
    encode(value) {
      try {
        return codec.encode(value);
      } catch (error) {
        throw told(error, "VALIDATION", `the body cannot be written as ${contentType}`);
      }
    },
    decode(bytes) {
      try {
        return codec.decode(bytes);
      } catch (error) {
        throw told(error, "DECODE", `the body cannot be read as ${contentType}`);
      }
    },
  };
}

/** A codec's own error may quote the body, so only the name of its class goes on. */
function told(error: unknown, code: "DECODE" | "VALIDATION", text: string): WaybillError {
  try {
    if (error instanceof WaybillError) return error;
    if (error instanceof Error) return new WaybillError(code, `${text} (${safeText(error.name, 64)})`);
  } catch {
    // It was a Proxy or the like.
  }
  return new WaybillError(code, text);
}

/** Without parameters; "" if it is too long or no plain ASCII, or if it asks for a character set that we do not speak. */
function plainType(contentType: string): string {
  if (contentType.length > maxTypeLength || /[^\t -~]/.test(contentType)) return "";
  const [type = "", ...parameters] = contentType.toLowerCase().split(";");
  for (const parameter of parameters) {
    const [name = "", value = ""] = parameter.split("=", 2);
    if (name.trim() === "charset" && !/^"?(?:utf-?8|us-ascii)"?$/.test(value.trim())) return "";
  }
  return type.trim();
}

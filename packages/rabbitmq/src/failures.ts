import { isWaybillError, WaybillError } from "@waybill/core";

/** What the client throws, in our words. `place`: whom it was said by, without credentials. */
export function connectError(error: unknown, place: string): WaybillError {
  if (isWaybillError(error)) return error;
  const { code, message } = partsOf(error);
  if (isTls(code, message))
    return new WaybillError("TLS", `${place}: the secure connection was refused (${code === "" ? "handshake" : code})`, {
      remedy: "check tls.ca, tls.servername and the certificate; amqps: wants the broker's TLS port, usually 5671",
    });
  if (/ACCESS[_-]REFUSED|SASL mechanism/.test(message))
    return new WaybillError("AUTH", `${place}: the broker refused the credentials`, {
      remedy: "check user and password; the user guest may connect from the broker's own host alone",
    });
  return new WaybillError("CONNECTION", `${place}: ${code === "" ? "no connection" : code}`, { cause: plain(error) });
}

/** The broker said nothing but no after the log-in: of the client's answer only that is left. */
export function isRefusedHost(error: unknown): boolean {
  return partsOf(error).message.startsWith("Expected ConnectionOpenOk; got <ConnectionClose");
}

export function refusedHost(place: string, vhost: string): WaybillError {
  return new WaybillError("AUTH", `${place}: the broker refused the virtual host "${vhost}"`, {
    remedy: "make it (rabbitmqctl add_vhost) and give the user permissions in it (rabbitmqctl set_permissions)",
  });
}

/** Of a call on a channel; `what` was asked. */
export function replyError(error: unknown, what: string): WaybillError {
  if (isWaybillError(error)) return error;
  const { replyCode, message } = partsOf(error);
  const said = /with message "(.*)"$/s.exec(message)?.[1] ?? "";
  if (replyCode === 403)
    return new WaybillError("AUTH", `${what}: the broker refused it (${said})`, {
      remedy: "give the user the permission, or make it yourself and set declare: false",
    });
  if (replyCode === 404) return new WaybillError("TOPOLOGY", `${what}: it is not there (${said})`);
  if (replyCode === 406)
    return new WaybillError("TOPOLOGY", `${what}: it is there, and differs (${said})`, {
      remedy: "delete it when it is empty, or give the options that it was made with",
    });
  if (replyCode === 405) return new WaybillError("BUSY", `${what}: another connection has it for itself (${said})`);
  return new WaybillError("CONNECTION_LOST", `${what}: the connection or channel ended`, { cause: plain(error) });
}

/** Whether the broker said no, and the channel is gone with it. */
export function replyCodeOf(error: unknown): number | undefined {
  return partsOf(error).replyCode;
}

/** AMQP reply texts name queues, exchanges and numbers, never a body; an error of a socket or of `new URL` may hold more. */
export function plain(error: unknown): Error {
  const { code, message } = partsOf(error);
  return new Error(code === "" ? message.slice(0, 300) : code);
}

function partsOf(error: unknown): { readonly code: string; readonly replyCode: number | undefined; readonly message: string } {
  if (!(error instanceof Error)) return { code: "", replyCode: undefined, message: "" };
  const { code } = error as { readonly code?: unknown };
  return {
    code: typeof code === "string" ? code : "",
    replyCode: typeof code === "number" ? code : undefined,
    message: error.message,
  };
}

function isTls(code: string, message: string): boolean {
  return (
    /^(ERR_TLS|ERR_SSL|CERT_|EPROTO|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO_(GET|VERIFY))/.test(code) ||
    /before secure TLS connection|wrong version number|self.signed certificate/.test(message)
  );
}

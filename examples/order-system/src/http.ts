import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { Buffer } from "node:buffer";
import type { AddressInfo } from "node:net";
import type { NewOrder } from "./contracts.ts";
import { parseOrder } from "./input.ts";

const maxBodyBytes = 16_384;
const bodyTimeoutMs = 5000;

export type Placed = { readonly id: string; readonly outcome: "taken" | "used" | "failed"; readonly reason?: string };

export interface ShopDoor {
  /** False: orders are answered with 503. */
  ready(): boolean;
  /** Never rejects. */
  place(order: NewOrder): Promise<Placed>;
  /** Where an order is; undefined: no such order. */
  state(id: string): Readonly<Record<string, unknown>> | undefined;
}

export interface HttpDoor {
  readonly port: number;
  /** Lets running requests finish for `drainMs`, then cuts them off. */
  close(drainMs: number): Promise<void>;
}

/**
 * `POST /orders` takes an order and answers 202 with its id when it is in the books; `GET /orders/:id` tells where it is.
 * Only on 127.0.0.1. Errors are JSON: `{"error": "..."}`.
 */
export async function listen(port: number, door: ShopDoor): Promise<HttpDoor> {
  const server = createServer({ requestTimeout: bodyTimeoutMs, headersTimeout: bodyTimeoutMs }, (request, response) => {
    answer(request, response, door).catch(() => reply(response, 500, { error: "internal error" }));
  });
  server.maxConnections = 1000;
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", resolve);
  });
  return { port: (server.address() as AddressInfo).port, close: (drainMs) => closeServer(server, drainMs) };
}

async function answer(request: IncomingMessage, response: ServerResponse, door: ShopDoor): Promise<void> {
  const path = (request.url ?? "/").split("?")[0] ?? "/";
  if (path === "/health") {
    if (onlyMethod("GET", request, response)) reply(response, door.ready() ? 200 : 503, { ready: door.ready() });
    return;
  }
  if (path === "/orders") {
    if (onlyMethod("POST", request, response)) await takeOrder(request, response, door);
    return;
  }
  const id = /^\/orders\/([A-Za-z0-9._-]{1,64})$/.exec(path)?.[1];
  if (id === undefined) {
    reply(response, 404, { error: "there are POST /orders, GET /orders/:id and GET /health" });
    return;
  }
  if (!onlyMethod("GET", request, response)) return;
  const state = door.state(id);
  if (state === undefined) reply(response, 404, { error: "no such order" });
  else reply(response, 200, state);
}

async function takeOrder(request: IncomingMessage, response: ServerResponse, door: ShopDoor): Promise<void> {
  if (!door.ready()) {
    reply(response, 503, { error: "the shop is not ready" }, { "retry-after": "1" });
    return;
  }
  const body = await readBody(request);
  if (body === undefined) {
    reply(response, 413, { error: `an order has at most ${maxBodyBytes} bytes` }, { connection: "close" });
    return;
  }
  const parsed = parseOrder(body);
  if (!parsed.ok) {
    reply(response, 400, { error: parsed.reason });
    return;
  }
  const placed = await door.place(parsed.order);
  if (placed.outcome === "taken") reply(response, 202, { id: placed.id }, { location: `/orders/${placed.id}` });
  else if (placed.outcome === "used") reply(response, 409, { error: "another order has this id" });
  else reply(response, 503, { error: placed.reason ?? "try again" }, { "retry-after": "1" });
}

/** The body as text; undefined: too large. */
async function readBody(request: IncomingMessage): Promise<string | undefined> {
  if (Number(request.headers["content-length"] ?? 0) > maxBodyBytes) {
    request.resume();
    return undefined;
  }
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of request as AsyncIterable<Buffer>) {
    bytes += part.length;
    if (bytes > maxBodyBytes) return undefined;
    parts.push(part);
  }
  return Buffer.concat(parts).toString("utf8");
}

function onlyMethod(method: string, request: IncomingMessage, response: ServerResponse): boolean {
  if (request.method === method) return true;
  request.resume();
  reply(response, 405, { error: `only ${method}` }, { allow: method });
  return false;
}

function reply(response: ServerResponse, status: number, body: unknown, headers: Record<string, string> = {}): void {
  if (response.headersSent || response.destroyed) return;
  const text = `${JSON.stringify(body)}\n`;
  response.writeHead(status, { "content-type": "application/json", "content-length": Buffer.byteLength(text), ...headers });
  response.end(text);
}

async function closeServer(server: Server, drainMs: number): Promise<void> {
  await new Promise<void>((resolve) => {
    server.close(() => resolve());
    server.closeIdleConnections();
    setTimeout(() => server.closeAllConnections(), drainMs).unref();
  });
}

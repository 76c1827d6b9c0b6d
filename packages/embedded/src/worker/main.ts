import { parentPort, workerData } from "node:worker_threads";
import { failureOf } from "../sql/failure.ts";
import { startLoop } from "./loop.ts";
import type { FromWorker, ToWorker, WorkerSettings } from "./protocol.ts";

const port = parentPort;
if (port === null) throw new Error("this file is the worker of the embedded transport");

function post(message: FromWorker, transfer: ArrayBuffer[] = []): void {
  port!.postMessage(message, transfer);
}

try {
  const loop = startLoop(workerData as WorkerSettings, post, () => port.close());
  port.on("message", (message: ToWorker) => loop.receive(message));
} catch (error) {
  post({ t: "refused", failure: failureOf(error, false) });
  port.close();
}

/** Runs the cases that it is told to, on one broker, until its parent goes. */
import { cases } from "./cases/index.ts";
import { loadTarget } from "./load-target.ts";
import { rigOptions, runCase } from "./run-suite.ts";
import type { RunOrder, SuiteAnswer, SuiteOrder } from "./suite-process.ts";
import { textOf } from "./table.ts";

const order = JSON.parse(process.argv[2] ?? "") as SuiteOrder;
const left = Promise.withResolvers<void>();
process.once("disconnect", left.resolve);

/** A parent that is gone hears nothing. */
function answer(told: SuiteAnswer): void {
  if (process.connected) process.send?.(told, undefined, undefined, () => undefined);
}

const module = new URL(order.module);
try {
  const target = await loadTarget(module);
  const broker = await target.start();
  const options = rigOptions(target, broker, { ...order, module });
  const run = async (name: string): Promise<void> => {
    const named = cases.find((each) => each.name === name);
    if (named === undefined) throw new Error(`no case is named "${name}"`);
    const { error, ...result } = await runCase(named, options);
    answer({ result: error === undefined ? result : { ...result, error: textOf(error) } });
  };
  process.on("message", ({ run: name }: RunOrder) => void run(name));
  const { version, borrowed } = broker;
  answer({ told: "ready", server: { ...(version === undefined ? {} : { version }), ...(borrowed === undefined ? {} : { borrowed }) } });
  if (process.connected) await left.promise;
  await broker[Symbol.asyncDispose]();
} catch (error) {
  answer({ failed: textOf(error) });
  process.exitCode = 1;
  if (process.connected) process.disconnect();
}

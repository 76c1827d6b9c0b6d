import assert from "node:assert/strict";
import type { ConformanceTarget } from "./target.ts";

/** Imports a target module; rejects unless it exports `target`. */
export async function loadTarget(module: URL): Promise<ConformanceTarget> {
  const loaded = (await import(module.href)) as { readonly target?: ConformanceTarget };
  assert(loaded.target !== undefined, `${module.pathname} exports no target`);
  return loaded.target;
}

import { loadTarget } from "./load-target.ts";
import { runSuite } from "./run-suite.ts";
import { cases } from "./cases/index.ts";
import { targetModules } from "./targets.ts";
import { line } from "./table.ts";
const [t, ...parts] = process.argv.slice(2);
const module = targetModules[t!]!();
const full = process.env.FULL === "1";
await runSuite(await loadTarget(module), {
  module,
  full,
  seed: Math.floor(Math.random() * 1e9),
  cases: cases.filter((c) => parts.some((p) => c.name.includes(p))),
  onResult: (r) => console.log(line(r)),
});

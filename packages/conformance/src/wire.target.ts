import type { ConformanceTarget } from "./target.ts";
import { wireTarget } from "./wire.fixture.ts";

export const target: ConformanceTarget = wireTarget();

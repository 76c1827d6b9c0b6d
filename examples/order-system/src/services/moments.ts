import type { FromService, Moment } from "../ipc.ts";

/** The places in a service's work where the chaos may want to kill it. */
export interface Moments {
  arm(moment: Moment): void;
  /** Passes at once unless armed. Armed, it reports and holds this one piece of work until the kill, or until `holdMs` is over. */
  reach(moment: Moment): Promise<void> | undefined;
  /** As `reach`, but reports without holding: what follows goes on while the kill is on its way. */
  pass(moment: Moment): void;
}

/** A held transaction may hold the write lock: less than the second that it may. */
const holdMs = 600;
/** So long the message stays untouched at `before`: an acknowledgement that should not have been given has left by then. */
const settleMs = 120;

export function moments(report: (message: FromService) => void): Moments {
  let armed: Moment | undefined;
  return {
    arm(moment) {
      armed = moment;
    },
    reach(moment) {
      if (armed !== moment) return undefined;
      armed = undefined;
      return hold(moment, report);
    },
    pass(moment) {
      if (armed !== moment) return;
      armed = undefined;
      report({ kind: "at", moment });
    },
  };
}

async function hold(moment: Moment, report: (message: FromService) => void): Promise<void> {
  if (moment === "before") await waitMs(settleMs);
  report({ kind: "at", moment });
  await waitMs(holdMs);
}

function waitMs(ms: number): Promise<void> {
  return new Promise((resolve) => void setTimeout(resolve, ms));
}

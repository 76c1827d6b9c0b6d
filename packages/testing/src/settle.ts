/** Turns of the event loop in which nothing has to happen before all is taken to be at rest. */
const quietTurns = 4;

/** Resolves when `activity` has stood still for some turns of the event loop. Without one: after these turns. */
export async function settle(activity: () => number = () => 0): Promise<void> {
  let seen = activity();
  for (let quiet = 0; quiet < quietTurns;) {
    await new Promise((resolve) => setImmediate(resolve));
    const now = activity();
    quiet = now === seen ? quiet + 1 : 0;
    seen = now;
  }
}

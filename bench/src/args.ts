/** What was asked for on the command line. */
export interface Args {
  readonly json: boolean;
  /** Names of benches; empty: all. */
  readonly only: readonly string[];
  /** Of each process, instead of the bench's own number. */
  readonly rounds: number | undefined;
  readonly quick: boolean;
  readonly help: boolean;
}

export class UsageError extends Error {}

export const usage = `npm run bench -- [options]
  --json         the last line of output is one JSON object
  --only NAME    only this bench (may be given several times)
  --rounds N     counted rounds in each process, 1 to 100
  --quick        short rounds: shows that everything runs; the figures mean little
  --help         this text, and the names`;

/** @throws UsageError that tells what is wrong */
export function readArgs(args: readonly string[], names: readonly string[]): Args {
  const only: string[] = [];
  let json = false;
  let quick = false;
  let help = false;
  let rounds: number | undefined;
  const rest = args.flatMap((arg) =>
    /^--(only|rounds)=/.test(arg) ? [arg.slice(0, arg.indexOf("=")), arg.slice(arg.indexOf("=") + 1)] : [arg],
  );
  for (let at = 0; at < rest.length; at += 1) {
    const option = rest[at] as string;
    if (option === "--json") json = true;
    else if (option === "--quick") quick = true;
    else if (option === "--help") help = true;
    else if (option === "--only") only.push(nameOf(rest[(at += 1)], names));
    else if (option === "--rounds") rounds = roundsOf(rest[(at += 1)]);
    else throw new UsageError(`unknown option ${option}`);
  }
  return { json, only, rounds, quick, help };
}

function nameOf(value: string | undefined, names: readonly string[]): string {
  if (value !== undefined && names.includes(value)) return value;
  throw new UsageError(`--only ${value ?? ""}: expected one of ${names.join(", ")}`);
}

function roundsOf(value: string | undefined): number {
  const rounds = Number(value);
  if (value !== undefined && /^\d+$/.test(value) && rounds >= 1 && rounds <= 100) return rounds;
  throw new UsageError(`--rounds ${value ?? ""}: expected a whole number from 1 to 100`);
}

import { parseArgs } from "node:util";

export const sabotages = ["ack-early", "skip-inbox", "drop-outbox"] as const;
export type Sabotage = (typeof sabotages)[number];

export interface Arguments {
  /** Ends after so many generated orders; undefined: until a signal, or the end of the input. */
  readonly orders: number | undefined;
  /** Orders per second; undefined: as fast as the services take them. 0: none, they come over HTTP. */
  readonly rate: number | undefined;
  readonly seed: number | undefined;
  /** A file of orders, one JSON object a line; `-` is standard input. */
  readonly input: string | undefined;
  readonly port: number;
  readonly transport: string;
  readonly store: string | undefined;
  readonly data: string | undefined;
  readonly keep: boolean;
  readonly chaos: boolean;
  /** At least so many kills under chaos. */
  readonly kills: number;
  readonly sabotage: Sabotage | undefined;
}

export const usage = `Usage: npm start -- [options]

A shop, an inventory, a payment and a shipping service, each a process of its own, and an audit at the end.
Without options: 20 orders a second and a live view until Ctrl-C (without a terminal: 500 orders, a line a second).

Orders
  --orders N         N generated orders, as fast as the services take them (or at --rate), then the end
  --rate R           orders per second (default 20 without --orders; 0: none, they come over HTTP)
  --seed S           which orders are generated, and which fail for good (default 1)
  --input FILE       orders from a file, one JSON object a line; - is standard input
  --port P           of POST /orders on 127.0.0.1 (default: a free one, printed)

Where messages and data live
  --transport T      a URL, or a name: embedded (default), rabbitmq, rabbitmq4 or kafka (found on this machine
                     or installed, and started for this run)
  --store FILE       the services' data, inbox and outbox in a database file of their own
                     (default: the transport's own file, where everything commits together)
  --data DIR         keeps the files in DIR and goes on from what is there
  --keep             leaves the temporary files when it ends, and says where

Faults
  --chaos            kills services with SIGKILL and restarts them (default 500 orders); and, less often, a server
                     that was started for this run
  --kills K          at least K kills under chaos (default 20)
  --sabotage S       breaks a guarantee on purpose, under chaos; the audit must notice:
                     ack-early | skip-inbox | drop-outbox

  --help             this text

Exit code: 0 when the audit is ok, 1 when it is not or something failed, 2 for wrong options.
`;

/** What the command line says, or the one sentence that says what is wrong with it. */
export type Parsed =
  | { readonly kind: "run"; readonly arguments: Arguments }
  | { readonly kind: "help" }
  | { readonly kind: "wrong"; readonly problem: string };

export function parseArguments(argv: readonly string[]): Parsed {
  let values;
  try {
    ({ values } = parseArgs({
      args: [...argv],
      options: {
        orders: { type: "string" },
        rate: { type: "string" },
        seed: { type: "string" },
        input: { type: "string" },
        port: { type: "string" },
        transport: { type: "string" },
        store: { type: "string" },
        data: { type: "string" },
        keep: { type: "boolean" },
        chaos: { type: "boolean" },
        kills: { type: "string" },
        sabotage: { type: "string" },
        help: { type: "boolean", short: "h" },
      },
    }));
  } catch (error) {
    return { kind: "wrong", problem: firstSentence(error) };
  }
  if (values.help === true) return { kind: "help" };
  const problems: string[] = [];
  const whole = (name: string, text: string | undefined, least: number, most: number): number | undefined => {
    if (text === undefined) return undefined;
    const value = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
    if (value >= least && value <= most) return value;
    problems.push(`--${name}: expected a whole number from ${least} to ${most}`);
    return undefined;
  };
  const filled = (name: string, text: string | undefined): string | undefined => {
    if (text === "") problems.push(`--${name}: expected a value`);
    return text;
  };
  const sabotage = sabotages.find((name) => name === values.sabotage);
  if (values.sabotage !== undefined && sabotage === undefined) problems.push(`--sabotage: expected ${sabotages.join(", ")}`);
  const parsed: Arguments = {
    orders: whole("orders", values.orders, 1, 100_000_000),
    rate: rateOf(values.rate, problems),
    seed: whole("seed", values.seed, 0, 4_294_967_295),
    input: filled("input", values.input),
    port: whole("port", values.port, 0, 65_535) ?? 0,
    transport: filled("transport", values.transport) ?? "embedded",
    store: filled("store", values.store),
    data: filled("data", values.data),
    keep: values.keep === true,
    chaos: values.chaos === true || sabotage !== undefined,
    kills: whole("kills", values.kills, 1, 10_000) ?? 20,
    sabotage,
  };
  if (values.input !== undefined && values.orders !== undefined) problems.push("--input and --orders: give one of them");
  if (values.orders !== undefined && parsed.rate === 0) problems.push("--rate 0 generates nothing: leave out --orders");
  if (values.kills !== undefined && !parsed.chaos) problems.push("--kills needs --chaos");
  return problems.length > 0 ? { kind: "wrong", problem: problems.join("; ") } : { kind: "run", arguments: parsed };
}

function rateOf(text: string | undefined, problems: string[]): number | undefined {
  if (text === undefined) return undefined;
  const value = /^\d{1,7}(\.\d{1,3})?$/.test(text) ? Number(text) : Number.NaN;
  if (value >= 0 && value <= 1_000_000) return value;
  problems.push("--rate: expected orders per second, from 0 to 1000000");
  return undefined;
}

function firstSentence(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.split(/\.\s|\n/)[0] ?? text;
}

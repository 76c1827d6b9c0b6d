/** Inbox rows of one transaction: what is asked for in one run of promises goes to the database in one statement. */
export interface Claims {
  claim(scope: string, id: string): Promise<boolean>;
}

export interface Row {
  readonly scope: string;
  readonly id: string;
}

interface Waiting extends Row {
  readonly resolve: (claimed: boolean) => void;
  readonly reject: (error: unknown) => void;
}

/** `insert` answers those rows that were not there. */
export function collectClaims(insert: (rows: readonly Row[]) => Promise<readonly Row[]>): Claims {
  let waiting: Waiting[] = [];

  async function flush(): Promise<void> {
    const batch = waiting;
    waiting = [];
    // In one order everywhere, or two batches with the same messages could wait for each other.
    if (batch.length > 1) batch.sort((a, b) => compare(a.scope, b.scope) || compare(a.id, b.id));
    try {
      const inserted = new Set((await insert(batch)).map(keyOf));
      // Of one that is twice in the batch the first has it.
      for (const one of batch) one.resolve(inserted.delete(keyOf(one)));
    } catch (error) {
      for (const one of batch) one.reject(error);
    }
  }

  return {
    claim(scope, id) {
      return new Promise((resolve, reject) => {
        waiting.push({ scope, id, resolve, reject });
        if (waiting.length === 1) queueMicrotask(() => void flush());
      });
    },
  };
}

function keyOf({ scope, id }: Row): string {
  return `${scope.length}:${scope}${id}`;
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Names on the broker. Topics and groups are tokens of `A-Za-z0-9_-` split by `.`, so `:` and `+` part what they join. */
export interface Names {
  /** Topic exchange: messages by their topic. */
  readonly exchange: string;
  /** Topic exchange: messages for one group, by group and topic. */
  readonly toGroup: string;
  /** Topic exchange: where delays end; what no queue wants any more goes to `unheard`. */
  readonly due: string;
  readonly unheard: string;
  /** Exchange and queue of one delay. */
  delay(delayMs: number): string;
  /** Of a topic, kept for its readers. */
  stream(topic: string): string;
}

export function namesOf(exchange: string): Names {
  return {
    exchange,
    toGroup: `${exchange}.to-group`,
    due: `${exchange}.due`,
    unheard: `${exchange}.unheard`,
    delay: (delayMs) => `${exchange}.delay.${delayMs}`,
    stream: (topic) => `${exchange}.stream.${topic}`,
  };
}

/** The queue of a group: of a topic, or of a pattern. */
export function queueName(group: string, subject: string): string {
  return `${group}:${subject}`;
}

/** A pattern as a binding key: `>` is one token or more, `#` none or more. */
export function bindingKey(subject: string): string {
  return subject === ">" ? "*.#" : subject.endsWith(".>") ? `${subject.slice(0, -1)}*.#` : subject;
}

/** Group and topic as one routing key; the group is one token of it. */
export function groupKey(group: string, subject: string): string {
  return `${group.replaceAll(".", ":")}.${subject}`;
}

/** In the exchange for what is due: a topic, a group of a topic, or one queue. */
export const dueKeys = {
  topic: (subject: string): string => `t.${subject}`,
  group: (group: string, subject: string): string => `g.${groupKey(group, subject)}`,
  /** Without wildcards, so that it fits this queue alone. */
  queue: (queue: string): string => `q.${queue.replaceAll("*", "+").replaceAll(">", "!")}`,
};

/** Longer names have no place in a frame of AMQP. */
export const maxNameBytes = 255;

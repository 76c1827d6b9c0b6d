import { deadLetterGroup, type Message } from "@waybill/core";

/**
 * Where what is put back for one group lies: retries, replays, delayed copies. Its members read it beside the topic, from its
 * beginning. The number of tokens keeps group `a.b` of `c` apart from group `a` of `b.c`.
 */
export function retryTopic(topic: string, group: string): string {
  return `waybill.retry.${group.split(".").length}.${group}.${topic}`;
}

/** A topic that has this group alone: what is addressed to the group is simply published there, and the group starts at the beginning. */
export function isOwnTopic(topic: string, group: string): boolean {
  return group === deadLetterGroup && topic.startsWith(`${deadLetterGroup}.`);
}

/** The group of Kafka. Of a topic with one group alone it is named after the topic: else all of those would be one, and rebalance together. */
export function groupIdOf(topic: string | undefined, group: string): string {
  return topic !== undefined && isOwnTopic(topic, group) ? topic : group;
}

/** The Kafka topic that a message is written to. One that is not due yet says so in a header; whoever reads it waits. */
export function logTopicOf({ topic, group }: Pick<Message, "topic" | "group">): string {
  return group === undefined || isOwnTopic(topic, group) ? topic : retryTopic(topic, group);
}

/** Topics of Waybill's own, which no pattern of users reads. */
export function isInternal(topic: string): boolean {
  return topic.startsWith("waybill.") || topic.startsWith("__");
}

/** The prefix of reply topics; the rest is the instance. */
export const inboxPrefix = "waybill.inbox.";

/** Kafka's own limit for the name of a topic. */
export const maxTopicLength = 249;

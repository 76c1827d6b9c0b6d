import { randomUUID } from "node:crypto";

/** Reply addresses, one an instance: no topics, and no pattern sees them. */
export interface Inboxes<Box> {
  open(): string;
  owns(address: string): boolean;
  find(address: string): Box | undefined;
  close(address: string): void;
}

const prefix = "_inbox.";

export function createInboxes<Box>(create: (address: string) => Box): Inboxes<Box> {
  const boxes = new Map<string, Box>();
  return {
    open() {
      const address = prefix + randomUUID();
      boxes.set(address, create(address));
      return address;
    },
    owns: (address) => address.startsWith(prefix),
    find: (address) => boxes.get(address),
    close: (address) => boxes.delete(address),
  };
}

/** Error codes of the protocol that consuming tells apart. https://kafka.apache.org/protocol.html#protocol_error_codes */
export const codes = {
  none: 0,
  offsetOutOfRange: 1,
  unknownTopicOrPartition: 3,
  metadataTooLarge: 12,
  coordinatorLoading: 14,
  coordinatorNotAvailable: 15,
  notCoordinator: 16,
  illegalGeneration: 22,
  inconsistentProtocol: 23,
  invalidGroupId: 24,
  unknownMember: 25,
  invalidSessionTimeout: 26,
  rebalanceInProgress: 27,
  topicAuthorization: 29,
  groupAuthorization: 30,
  unsupportedVersion: 35,
  groupIdNotFound: 69,
  memberIdRequired: 79,
  fencedInstance: 82,
  unstableOffsets: 88,
  unknownTopicId: 100,
  fencedMemberEpoch: 110,
  unreleasedInstance: 111,
  staleMemberEpoch: 113,
} as const;

export function isCoordinatorGone(code: number): boolean {
  return code === codes.coordinatorNotAvailable || code === codes.notCoordinator || code === codes.coordinatorLoading;
}

import Primitives

/// The faults that a build with `SPOKE_MUTATIONS=1` can have.
public enum Mutations {
  /// Puts one in for the rest of the program, by its place in the list. False: this build has none.
  public static func activate(_ number: UInt64) -> Bool {
    #if SPOKE_MUTATIONS
      guard number < UInt64(Mutation.allCases.count) else { return false }
      Mutation.active = Mutation.allCases[Int(number)]
      return true
    #else
      return false
    #endif
  }

  /// What each does, in the order of their numbers.
  public static var names: [ByteString] {
    Mutation.allCases.map { mutation in ByteString(mutation.words) }
  }
}

extension Mutation {
  fileprivate var words: StaticString {
    switch self {
    case .skipSegmentSync: "a commit does not sync its segment"
    case .skipDirectorySync: "a new segment's name is not synced"
    case .skipRecordCheck: "the records of a frame are not checked"
    case .cursorAhead: "the cursor is one record ahead"
    case .reuseNumbers: "reserved numbers are given out again"
    case .unlinkFirst: "a segment is removed before the cursor knows"
    case .ignoreFullDisk: "a full disk is taken for one that has written"
    case .dropGapReport: "what is dropped for space is not reported"
    case .ignoreDiskLimit: "the limit on disk is not kept"
    case .forgetCommitTimer: "time does not make the daemon commit"
    case .forgetRetryTimer: "a pause before another attempt never ends"
    case .forgetRewind: "readers do not go back after a reload"
    case .acknowledgeEarly: "acknowledgements do not wait for the disk"
    case .forgetDelivery: "what was delivered is not settled"
    case .trustBrokenAnswer: "a broken answer passes for a whole one"
    case .endTwice: "a request's place is given back twice"
    case .loseResult: "a request ends and nobody is told"
    case .overtake: "a record that is tried again lets the next one pass"
    case .keepMemory: "the memory of records that have left is not given back"
    case .forgetDisk: "a disk that failed is not tried again"
    case .syncAgain: "a file whose sync failed is synced again"
    case .keepPolicy: "another policy does not come into force"
    }
  }
}

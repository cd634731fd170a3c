/// Faults that a test builds into the daemon to see that its simulator finds them. They exist only in
/// builds with `SPOKE_MUTATIONS=1`; in all others `isMutated` is a constant, and what it guards is gone.
public enum Mutation: UInt8, CaseIterable, Sendable {
  /// A commit does not sync its segment.
  case skipSegmentSync
  /// A new segment's name is not synced.
  case skipDirectorySync
  /// The records of a frame are not checked.
  case skipRecordCheck
  /// The cursor says that one record more is settled.
  case cursorAhead
  /// Numbers that were reserved and not used are given out again.
  case reuseNumbers
  /// A segment is removed before the cursor knows.
  case unlinkFirst
  /// A full disk is taken for one that has written.
  case ignoreFullDisk
  /// What the spool drops for space is not reported.
  case dropGapReport
  /// The spool takes more on disk than it may.
  case ignoreDiskLimit
  /// Time does not make the daemon write what has waited long enough.
  case forgetCommitTimer
  /// A pause before another attempt never ends by itself.
  case forgetRetryTimer
  /// Readers do not go back to what was given up on its way.
  case forgetRewind
  /// Acknowledgements do not wait for the disk.
  case acknowledgeEarly
  /// What was delivered is not settled.
  case forgetDelivery
  /// A request that broke off passes for one that was answered.
  case trustBrokenAnswer
  /// A request's place is given back twice.
  case endTwice
  /// A request ends and nobody is told.
  case loseResult
  /// A record that waits to be tried again lets the next one pass.
  case overtake
  /// The memory of records that have left is not given back.
  case keepMemory
  /// A disk that failed is not tried again.
  case forgetDisk
  /// A file whose sync failed is written and synced again.
  case syncAgain
  /// Another policy is known, and not in force.
  case keepPolicy

  #if SPOKE_MUTATIONS
    /// The one that is on.
    nonisolated(unsafe) public static var active: Mutation?
  #endif
}

/// Whether a test has put this fault in. Never, in an ordinary build.
@inline(__always)
public func isMutated(_ mutation: Mutation) -> Bool {
  #if SPOKE_MUTATIONS
    unsafe Mutation.active == mutation
  #else
    false
  #endif
}

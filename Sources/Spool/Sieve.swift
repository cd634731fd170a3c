import Primitives

/// Which numbers of a stream's stretch a segment may hold. One that was never thinned may hold all of
/// them. One of level L holds one of 4^L, and of each stream the last, so that no stream is left
/// without any. Which ones depends on the numbers alone: what a level keeps, the level below it kept; a
/// thinning that a crash broke off comes to the same; and topics that take turns are hit alike.
struct Sieve {
  var level: UInt8
  /// The stretch of the stream that the segment stands for.
  var range: SequenceRange

  static let levelMax: UInt8 = 3
  /// Numbers in a row that no sieve leaves out: at level 3 this is one chance in 10^27.
  private static let runMax: UInt64 = 4096
  /// A stretch that no segment of ours stands for.
  private static let widthMax: UInt64 = 1 << 24

  /// Everything passes.
  static let none = Sieve(level: 0, range: SequenceRange(first: 0, last: 0))

  func keeps(_ sequence: UInt64) -> Bool {
    guard level > 0, sequence != range.last else { return true }
    var mixed = SplitMix64(seed: sequence)
    return mixed.next() & ((1 << (2 * UInt64(level))) - 1) == 0
  }

  /// The record's number, and those around it that were left out.
  func stretch(around sequence: UInt64) -> SequenceRange {
    var stretch = SequenceRange(first: sequence, last: sequence)
    guard level > 0 else { return stretch }
    let start = max(range.first, sequence - min(sequence, Self.runMax))
    while stretch.first > start, !keeps(stretch.first - 1) { stretch.first -= 1 }
    let end = min(range.last, sequence + Self.runMax)
    while stretch.last < end, !keeps(stretch.last + 1) { stretch.last += 1 }
    return stretch
  }

  /// Whether all of `first...last` was left out, and goes with the record beside it.
  func leavesOut(_ first: UInt64, _ last: UInt64) -> Bool {
    guard level > 0, first >= range.first, last <= range.last, last - first < Self.runMax
    else { return false }
    var sequence = first
    while sequence <= last, !keeps(sequence) { sequence += 1 }
    return sequence > last
  }

  /// How many of `first...last` may be there and are not settled.
  @inline(never)
  func open(_ first: UInt64, _ last: UInt64, _ settled: Settlement) -> UInt64 {
    guard level > 0, first <= last, last - first < Self.widthMax else {
      return settled.unsettled(first, last)
    }
    var count: UInt64 = 0
    var sequence = first
    while sequence <= last {
      if let end = settled.end(of: sequence) {
        sequence = end
      } else if keeps(sequence) {
        count += 1
      }
      sequence += 1
    }
    return count
  }
}

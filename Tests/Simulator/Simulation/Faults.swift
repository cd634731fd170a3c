import Primitives

/// What can go wrong. Each is counted where it is done.
enum FaultKind: UInt8, CaseIterable {
  // Names and connections.
  case nameNotFound, nameSlow, connectRefused, connectIgnored, handshakeFailed
  case linkReset, linkSilent, linkStalled, partialWrite
  // Upstreams.
  case outage, answersError, answersHold, answersNothing, goAway
  case statusNoise, retryAfter, streamReset, streamRefused, bodyReset, earlyAnswer, informational
  case poison
  // The broker.
  case brokerCut, brokerDown, sessionLost
  // Boards.
  case noise, frameCut, hangUp
  // The disk.
  case diskWriteError, diskReadError, diskSyncError, diskFull, diskReadOnly, shortWrite, bitFlip
  case diskOperationError
  // The process.
  case kill, killInTurn, powerCut, powerCutInTurn, restart, reload, reloadOther, reloadRejected
  // The clock.
  case clockAhead, clockBack, clockUnsynced
  // The disk as a whole.
  case diskGone
  // The control plane.
  case planeMoves, planeRemoves, planeRefused

  /// For the count at the end.
  var name: StaticString {
    switch self {
    case .nameNotFound: "names not found"
    case .nameSlow: "slow lookups"
    case .connectRefused: "connections refused"
    case .connectIgnored: "connections not answered"
    case .handshakeFailed: "handshakes failed"
    case .linkReset: "connections reset"
    case .linkSilent: "connections fallen silent"
    case .linkStalled: "peers that stop reading"
    case .partialWrite: "partial writes"
    case .outage: "outages of an upstream"
    case .answersError: "times of 5xx and 429"
    case .answersHold: "times of 401, 403 and 404"
    case .answersNothing: "times without an answer"
    case .goAway: "GOAWAY"
    case .statusNoise: "single bad answers"
    case .retryAfter: "Retry-After"
    case .streamReset: "streams reset"
    case .streamRefused: "streams refused"
    case .bodyReset: "answers cut off"
    case .earlyAnswer: "answers before the body's end"
    case .informational: "informational answers"
    case .poison: "poison refused"
    case .brokerCut: "broker connections cut"
    case .brokerDown: "broker outages"
    case .sessionLost: "broker sessions lost"
    case .noise: "line noise"
    case .frameCut: "frames cut"
    case .hangUp: "hang-ups"
    case .diskWriteError: "times of write errors"
    case .diskReadError: "times of read errors"
    case .diskSyncError: "syncs failed"
    case .diskFull: "disk full"
    case .diskReadOnly: "disk read-only"
    case .shortWrite: "short writes"
    case .bitFlip: "bits flipped"
    case .diskOperationError: "single operations failed"
    case .kill: "SIGKILL"
    case .killInTurn: "SIGKILL in a disk operation"
    case .powerCut: "power cuts"
    case .powerCutInTurn: "power cuts in a disk operation"
    case .restart: "clean restarts"
    case .reload: "reloads"
    case .reloadOther: "reloads of another configuration"
    case .reloadRejected: "reloads refused"
    case .clockAhead: "clock stepped ahead"
    case .clockBack: "clock stepped back"
    case .clockUnsynced: "clock lost its source"
    case .diskGone: "directory gone for a while"
    case .planeMoves: "streams led to another host"
    case .planeRemoves: "resources taken away"
    case .planeRefused: "resources to be refused"
    }
  }

  /// Those that come by themselves, every so often. The others happen to something that is done.
  static let scheduled: [FaultKind] = [
    .linkReset, .linkSilent, .linkStalled, .outage, .answersError, .answersHold, .answersNothing,
    .goAway, .brokerCut, .brokerDown, .sessionLost, .hangUp, .diskWriteError, .diskReadError,
    .diskSyncError, .diskFull, .diskReadOnly, .bitFlip, .diskOperationError, .kill, .killInTurn,
    .powerCut, .powerCutInTurn, .restart, .reload, .reloadOther, .reloadRejected, .clockAhead,
    .clockBack, .clockUnsynced, .diskGone, .planeMoves, .planeRemoves, .planeRefused,
  ]
}

/// How often what happens in one world.
struct FaultMix {
  /// By kind: the mean time between two; nil: never.
  var every: [Interval?]
  /// By kind: of so many chances per 1,000.
  var perMille: [Int]

  init() {
    every = Array(repeating: nil, count: FaultKind.allCases.count)
    perMille = Array(repeating: 0, count: FaultKind.allCases.count)
  }

  subscript(kind: FaultKind) -> Int { perMille[Int(kind.rawValue)] }

  func mean(_ kind: FaultKind) -> Interval? { every[Int(kind.rawValue)] }

  /// Each world has some of the kinds, and each of those as often as not (Groce and others: "Swarm
  /// testing", 2012): what two kinds hide from each other shows where one of them is absent.
  init(_ draw: inout Draw, hours: Interval) {
    self.init()
    let share = draw.pick([0, 1, 2, 3, 5, 8])
    for kind in FaultKind.allCases {
      guard draw.chance(share, in: 10) else { continue }
      if FaultKind.scheduled.contains(kind) {
        let least = Interval(nanoseconds: max(hours.nanoseconds / 40, 1_000_000_000))
        every[Int(kind.rawValue)] = draw.scaled(least, hours)
      } else {
        perMille[Int(kind.rawValue)] = draw.pick([3, 20, 100, 300])
      }
    }
  }
}

/// How often what happened.
public struct FaultCounts: Sendable {
  private var counts: [UInt64]

  init() { counts = Array(repeating: 0, count: FaultKind.allCases.count) }

  mutating func add(_ kind: FaultKind) { counts[Int(kind.rawValue)] += 1 }

  func of(_ kind: FaultKind) -> UInt64 { counts[Int(kind.rawValue)] }

  /// Adds those of another run.
  public mutating func add(_ other: FaultCounts) {
    for index in counts.indices { counts[index] += other.counts[index] }
  }

  /// One line for each kind that happened.
  public var lines: [ByteString] {
    var lines: [ByteString] = []
    for kind in FaultKind.allCases where of(kind) > 0 {
      var line: [UInt8] = []
      line.append(decimal: of(kind))
      while line.count < 9 { line.insert(0x20, at: 0) }
      line.append(text: "  ")
      line.append(text: kind.name)
      lines.append(ByteString(line))
    }
    return lines
  }
}

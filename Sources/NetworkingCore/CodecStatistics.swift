import HTTP2

/// Counters of one cluster's HTTP/2 connections, under the names that Envoy's codec has for them.
struct CodecStatistics: Sendable {
  var headerOverflows: UInt64 = 0
  var emptyFrameFloods: UInt64 = 0
  var priorityFloods: UInt64 = 0
  var windowUpdateFloods: UInt64 = 0
  var controlFloods: UInt64 = 0
  var keepAliveTimeouts: UInt64 = 0
  var messagingErrors: UInt64 = 0
  var flushTimeouts: UInt64 = 0

  /// A connection or a stream ended for this. Causes that Envoy does not tell apart are invalid
  /// messages; those that end a connection without being one have no name of their own there.
  mutating func charge(_ cause: HTTP2Cause) {
    switch cause {
    case .headerBlockTooLarge, .headerListTooLarge, .continuationFlood: headerOverflows += 1
    case .emptyFrameFlood: emptyFrameFloods += 1
    case .priorityFlood: priorityFloods += 1
    case .windowUpdateFlood: windowUpdateFloods += 1
    case .outputFlood, .pingFlood, .settingsFlood: controlFloods += 1
    case .keepAliveTimeout: keepAliveTimeouts += 1
    case .goAway, .graceful, .settingsTimeout, .resetFlood, .frameFlood, .goAwayFlood,
      .lateFrameFlood, .notHTTP2, .informationalFlood, .streamLimit:
      break
    default: messagingErrors += 1
    }
  }
}

extension NetworkingCore {
  /// Counts why a connection or a stream ended.
  mutating func charge(_ cause: HTTP2Cause, to cluster: Int) {
    guard cause != .goAway, cause != .graceful else { return }
    causes[Int(cause.rawValue)] += 1
    clusters[cluster].statistics.codec.charge(cause)
  }
}

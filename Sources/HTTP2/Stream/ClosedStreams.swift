/// How a stream closed; it decides what a late frame on it means (RFC 9113 §5.1, "closed").
enum Closure: UInt8, Sendable {
  /// Both sides sent END_STREAM: nothing but WINDOW_UPDATE, RST_STREAM and PRIORITY may follow.
  case ended
  /// The peer sent RST_STREAM: the same, but it concerns that stream alone.
  case resetByPeer
  /// This side sent RST_STREAM: anything may be under way still, and is ignored.
  case resetLocally
}

/// The streams that closed last, a ring of fixed size.
struct ClosedStreams: Sendable {
  private var identifiers: [UInt32]
  private var closures: [Closure]
  private var next = 0

  init() {
    identifiers = Array(repeating: 0, count: HTTP2Limits.closedStreamsMax)
    closures = Array(repeating: .ended, count: HTTP2Limits.closedStreamsMax)
  }

  /// A stream that is there already keeps its place: a peer that has the same stream reset over and
  /// over does not push the others out. One that ended was open until now, and is not there.
  mutating func insert(_ id: UInt32, _ closure: Closure) {
    if closure != .ended, let place = identifiers.firstIndex(of: id) {
      closures[place] = closure
      return
    }
    identifiers[next] = id
    closures[next] = closure
    next = (next + 1) % HTTP2Limits.closedStreamsMax
  }

  /// `nil`: closed too long ago to say.
  func closure(of id: UInt32) -> Closure? {
    for index in identifiers.indices where identifiers[index] == id { return closures[index] }
    return nil
  }
}

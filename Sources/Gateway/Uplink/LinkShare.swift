import Primitives

/// How the streams with one target share the way to it.
///
/// Live records go as they come. Backlog takes what they leave: while a live stream has more to send
/// than it may at once, backlog gets one byte for every four live ones; else it is only bounded in
/// what is on its way, so that a live record never stands behind much of it. Among each other the
/// backlogs take turns, by bytes (deficit round robin, Shreedhar and Varghese 1995).
struct LinkShare {
  /// The backlog of one stream.
  struct Flow {
    let stream: Int
    /// Bytes that it may still send in its turn.
    var deficit = 0
  }

  let listener: ByteString
  /// The streams of the target, the most urgent class first; alarms are not among them.
  var flows: [Flow]
  /// Whose turn it is, and whether it got its quantum already.
  private(set) var turn = 0
  private(set) var isServing = false
  /// Bytes that backlog may send beside live records.
  private(set) var credit = 0
  /// When a live stream that keeps backlog waiting need not be waited for any longer.
  var waitsUntil: Instant?

  /// One turn of a backlog, in bytes.
  static let quantum = 4_096
  /// Live bytes for one byte of backlog.
  static let liveShare = 4
  static let creditMax = 65_536
  /// Bytes of backlog on their way at once; one request more may exceed it.
  static let backlogBytesMax = 131_072

  init(listener: ByteString, streams: [Int]) {
    self.listener = listener
    flows = streams.map { Flow(stream: $0) }
  }

  mutating func sentLive(bytes: Int) {
    // Each byte counts, however small the requests are.
    credit = min(credit + max(bytes / Self.liveShare, 1), Self.creditMax)
  }

  /// Whether backlog may go while live records wait.
  func hasCredit(for bytes: Int) -> Bool { credit >= min(bytes, Self.creditMax) }

  mutating func sentBesideLive(bytes: Int) { credit -= min(bytes, credit) }

  /// There is no backlog: what it might have sent is not saved for the next one.
  mutating func forfeit() { credit = 0 }

  /// The flow whose turn it is has nothing to send.
  mutating func skip() {
    flows[turn].deficit = 0
    isServing = false
    turn = (turn + 1) % flows.count
  }

  /// Whether the flow whose turn it is may send so much now; else the turn is the next one's.
  mutating func mayServe(bytes: Int) -> Bool {
    if !isServing {
      flows[turn].deficit += Self.quantum
      isServing = true
    }
    if bytes <= flows[turn].deficit { return true }
    isServing = false
    turn = (turn + 1) % flows.count
    return false
  }

  mutating func served(bytes: Int) { flows[turn].deficit -= min(bytes, flows[turn].deficit) }
}

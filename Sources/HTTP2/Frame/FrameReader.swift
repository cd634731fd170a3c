import Primitives

/// Cuts the input into frames. It keeps the nine octets of a header and the short fixed parts of
/// frames; content and header fragments pass through as ranges.
///
/// Every frame is a prefix (collected), a body (passed through) and padding (skipped):
///
///     header ─▶ prefix ─▶ body ─▶ padding ─▶ header
///
/// After the header, a frame is skipped whole unless the connection says otherwise (`expect`).
struct FrameReader: Sendable {
  enum Phase: UInt8, Sendable { case preface, header, prefix, body, padding }

  /// What the body is for.
  enum Use: UInt8, Sendable { case ignored, control, fragment, content }

  private(set) var phase: Phase
  private(set) var header = FrameHeader()
  private(set) var use = Use.ignored
  /// The part being collected: preface, header, or prefix.
  private(set) var prefix: [UInt8] = []
  private var prefixWanted = 0
  private(set) var bodyRemaining: UInt32 = 0
  private(set) var paddingRemaining: UInt32 = 0

  init(expectsPreface: Bool) {
    phase = expectsPreface ? .preface : .header
    prefix.reserveCapacity(Self.prefixMax)
  }

  /// The most that is ever collected.
  private static let prefixMax = Int(max(6 * HTTP2Limits.settingsEntriesMax, 8 + 64))

  /// True when the nine octets of a header are complete; `header` then has them, and the payload
  /// is set to be skipped.
  mutating func collectHeader(_ bytes: Span<UInt8>, from offset: inout Int) -> Bool {
    if prefix.isEmpty && bytes.count - offset >= FrameHeader.size {
      header = FrameHeader(bytes, at: offset)
      offset += FrameHeader.size
    } else {
      guard collect(bytes, from: &offset, upTo: FrameHeader.size) else { return false }
      header = FrameHeader(prefix.span, at: 0)
    }
    phase = .padding
    use = .ignored
    bodyRemaining = 0
    paddingRemaining = header.length
    return true
  }

  /// Collects up to `count` octets in all; true when they are there.
  mutating func collect(
    _ bytes: Span<UInt8>, from offset: inout Int, upTo count: Int
  ) -> Bool {
    let taken = min(count - prefix.count, bytes.count - offset)
    if taken > 0 { prefix.append(contentsOf: bytes.extracting(offset..<offset + taken)) }
    offset += taken
    return prefix.count == count
  }

  /// The current frame is wanted: `prefix` octets collected, the rest used as said.
  mutating func expect(prefix count: UInt32, use: Use) {
    precondition(count <= header.length && Int(count) <= Self.prefixMax, "FrameReader: prefix")
    self.use = use
    forgetPrefix()
    prefixWanted = Int(count)
    let rest = header.length - count
    bodyRemaining = use == .control ? 0 : rest
    paddingRemaining = use == .control ? rest : 0
    phase = .prefix
  }

  mutating func collectPrefix(_ bytes: Span<UInt8>, from offset: inout Int) -> Bool {
    guard collect(bytes, from: &offset, upTo: prefixWanted) else { return false }
    phase = .body
    return true
  }

  /// False when the padding would be longer than what is left.
  mutating func setPadding(_ count: UInt8) -> Bool {
    guard UInt32(count) <= bodyRemaining else { return false }
    bodyRemaining -= UInt32(count)
    paddingRemaining = UInt32(count)
    return true
  }

  /// Takes what is there of the body.
  mutating func takeBody(_ bytes: Span<UInt8>, from offset: inout Int) -> Range<Int> {
    let taken = min(Int(bodyRemaining), bytes.count - offset)
    let range = offset..<offset + taken
    offset += taken
    bodyRemaining -= UInt32(taken)
    if bodyRemaining == 0 { phase = .padding }
    return range
  }

  /// Skips what is there of the padding; true when the frame is complete, and then the next header
  /// is expected.
  mutating func finish(_ bytes: Span<UInt8>, from offset: inout Int) -> Bool {
    guard bodyRemaining == 0 else { return false }
    let skipped = min(Int(paddingRemaining), bytes.count - offset)
    offset += skipped
    paddingRemaining -= UInt32(skipped)
    guard paddingRemaining == 0 else { return false }
    expectHeader()
    return true
  }

  /// Forgets what was collected; the next frame begins.
  mutating func expectHeader() {
    forgetPrefix()
    phase = .header
  }

  /// Most frames have none.
  private mutating func forgetPrefix() {
    if !prefix.isEmpty { prefix.removeAll(keepingCapacity: true) }
  }

  /// Skips the rest of the current frame, if it is not complete. Its prefix is.
  mutating func ignoreRest() {
    guard phase != .header else { return }
    paddingRemaining += bodyRemaining
    bodyRemaining = 0
    phase = .padding
    use = .ignored
  }
}

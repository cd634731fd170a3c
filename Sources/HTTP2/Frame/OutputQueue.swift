import HPACK
import Primitives

/// The frames that wait to be written, as the bytes they are on the wire. Content and header blocks
/// stop at the limit; frames that answer the peer have a reserve beyond it, GOAWAY a last one.
struct OutputQueue: Sendable {
  private var storage: [UInt8] = []
  private var head = 0
  let limit: Int

  init(limit: Int) { self.limit = limit }

  @inline(__always)
  var count: Int { storage.count - head }
  var isEmpty: Bool { storage.count == head }

  /// Bytes held, used or not.
  var memory: Int { storage.capacity }

  /// Octets of content that fit now, its frame header already counted.
  var contentRoom: Int { limit - count - FrameHeader.size }

  /// The largest header list that is ever taken: half the queue, less the frame headers, so that
  /// it always fits once the queue has drained.
  var blockLimit: Int { limit / 2 - 4 * FrameHeader.size }

  func hasRoom(forBlock size: Int) -> Bool { count + size + 4 * FrameHeader.size <= limit }

  /// Whether content may flow again after the queue was full. Half, so that one octet written does
  /// not wake every stream.
  var hasDrained: Bool { count <= limit / 2 }

  func withBytes<Result>(_ body: (Span<UInt8>) -> Result) -> Result {
    body(storage.span.extracting(head..<storage.count))
  }

  mutating func consume(_ count: Int) {
    precondition(count >= 0 && count <= self.count, "OutputQueue: consumed more than it holds")
    head += count
    if head == storage.count {
      storage.removeAll(keepingCapacity: true)
      head = 0
    }
  }

  mutating func appendPreface() {
    storage.append(contentsOf: clientPreface)
  }

  /// A frame whose payload is at hand. The caller has asked for room.
  mutating func appendContent(
    _ payload: Span<UInt8>, on stream: UInt32, endStream: Bool
  ) {
    makeRoom(for: FrameHeader.size + payload.count)
    appendHeader(
      FrameHeader(
        length: UInt32(payload.count), type: .data, flags: endStream ? FrameFlags.endStream : 0,
        stream: stream))
    storage.append(contentsOf: payload)
  }

  /// HEADERS, and CONTINUATION as far as it needs any. The caller has asked for room.
  mutating func appendHeaders(
    _ list: HeaderList, with encoder: inout HPACKEncoder, on stream: UInt32, endStream: Bool
  ) {
    makeRoom(for: FrameHeader.size + list.size)
    let start = storage.count
    appendHeader(
      FrameHeader(
        length: 0, type: .headers, flags: endStream ? FrameFlags.endStream : 0, stream: stream))
    encoder.encode(list, into: &storage)
    let block = storage.count - start - FrameHeader.size
    let most = Int(HTTP2Limits.frameBytesMin)
    if block <= most {
      setLength(block, at: start)
      storage[start + 4] |= FrameFlags.endHeaders
    } else {
      setLength(most, at: start)
      splitBlock(from: start + FrameHeader.size + most, on: stream)
    }
  }

  /// A frame of up to eight octets of payload. False when the reserve is used up.
  mutating func appendControl(
    _ type: FrameType, flags: UInt8 = 0, on stream: UInt32, payload: UInt64, length: Int
  ) -> Bool {
    guard count + FrameHeader.size + length <= limit + HTTP2Limits.controlBytesMax else {
      return false
    }
    makeRoom(for: FrameHeader.size + length)
    appendHeader(
      FrameHeader(length: UInt32(length), type: type, flags: flags, stream: stream))
    for octet in 0..<length {
      storage.append(UInt8(truncatingIfNeeded: payload >> (8 * UInt64(length - 1 - octet))))
    }
    return true
  }

  mutating func appendSettings(_ entries: [Setting]) {
    appendHeader(
      FrameHeader(
        length: UInt32(entries.count * Setting.size), type: .settings, flags: 0, stream: 0))
    for entry in entries {
      storage.append(UInt8(entry.identifier >> 8))
      storage.append(UInt8(truncatingIfNeeded: entry.identifier))
      appendUInt32(entry.value)
    }
  }

  /// GOAWAY always fits: at most twice in a connection's life, with a short text.
  mutating func appendGoAway(lastStream: UInt32, code: HTTP2ErrorCode, debug: String) {
    let text = debug.utf8
    let length = min(text.count, Int(HTTP2Limits.debugBytesMax))
    makeRoom(for: FrameHeader.size + 8 + length)
    appendHeader(
      FrameHeader(length: UInt32(8 + length), type: .goAway, flags: 0, stream: 0))
    appendUInt32(lastStream)
    appendUInt32(code.rawValue)
    storage.append(contentsOf: text.prefix(length))
  }

  private mutating func appendHeader(_ header: FrameHeader) {
    let octets: [9 of UInt8] = [
      UInt8(truncatingIfNeeded: header.length >> 16), UInt8(truncatingIfNeeded: header.length >> 8),
      UInt8(truncatingIfNeeded: header.length), header.type!.rawValue, header.flags,
      UInt8(truncatingIfNeeded: header.stream >> 24),
      UInt8(truncatingIfNeeded: header.stream >> 16),
      UInt8(truncatingIfNeeded: header.stream >> 8), UInt8(truncatingIfNeeded: header.stream),
    ]
    storage.append(contentsOf: octets.span)
  }

  private mutating func appendUInt32(_ value: UInt32) {
    storage.append(UInt8(truncatingIfNeeded: value >> 24))
    storage.append(UInt8(truncatingIfNeeded: value >> 16))
    storage.append(UInt8(truncatingIfNeeded: value >> 8))
    storage.append(UInt8(truncatingIfNeeded: value))
  }

  private mutating func setLength(_ length: Int, at start: Int) {
    storage[start] = UInt8(truncatingIfNeeded: length >> 16)
    storage[start + 1] = UInt8(truncatingIfNeeded: length >> 8)
    storage[start + 2] = UInt8(truncatingIfNeeded: length)
  }

  /// Puts the end of a long block into CONTINUATION frames. Rare: the copy does not matter.
  private mutating func splitBlock(from split: Int, on stream: UInt32) {
    let rest = Array(storage[split...])
    storage.removeSubrange(split...)
    var taken = 0
    while taken < rest.count {
      let length = min(rest.count - taken, Int(HTTP2Limits.frameBytesMin))
      let flags = taken + length == rest.count ? FrameFlags.endHeaders : 0
      appendHeader(
        FrameHeader(length: UInt32(length), type: .continuation, flags: flags, stream: stream))
      storage.append(contentsOf: rest[taken..<taken + length])
      taken += length
    }
  }

  /// Moves what waits to the front when the array would otherwise grow. Where doubling it would pass what
  /// it can ever hold, it grows to that.
  private mutating func makeRoom(for extra: Int) {
    guard storage.count + extra > storage.capacity else { return }
    if head > 0 {
      storage.removeSubrange(0..<head)
      head = 0
    }
    let most = limit + HTTP2Limits.controlBytesMax + HTTP2Limits.goAwayBytesMax
    if storage.count + extra > storage.capacity, 2 * storage.capacity > most {
      storage.reserveCapacity(most)
    }
  }
}

/// RFC 9113 §3.4.
let clientPreface: [UInt8] = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8)

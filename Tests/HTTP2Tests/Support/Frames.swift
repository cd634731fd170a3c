import HPACK
import Primitives

@testable import HTTP2

/// Frames written by hand, so that a test may say what no encoder would.
enum Frames {
  static let preface: [UInt8] = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8)

  static func frame(
    _ type: UInt8, flags: UInt8 = 0, stream: UInt32 = 0, _ payload: [UInt8] = []
  ) -> [UInt8] {
    let count = UInt32(payload.count)
    return [UInt8(count >> 16), UInt8(count >> 8 & 0xff), UInt8(count & 0xff), type, flags]
      + uint32(stream) + payload
  }

  static func uint32(_ value: UInt32) -> [UInt8] {
    [UInt8(value >> 24), UInt8(value >> 16 & 0xff), UInt8(value >> 8 & 0xff), UInt8(value & 0xff)]
  }

  static func settings(_ entries: [(UInt16, UInt32)] = []) -> [UInt8] {
    var payload: [UInt8] = []
    for (identifier, value) in entries {
      payload += [UInt8(identifier >> 8), UInt8(identifier & 0xff)] + uint32(value)
    }
    return frame(4, payload)
  }

  static let settingsAck: [UInt8] = frame(4, flags: 1)

  static func data(
    _ stream: UInt32, _ content: [UInt8], end: Bool = false, padding: UInt8? = nil
  ) -> [UInt8] {
    var flags: UInt8 = end ? 1 : 0
    var payload = content
    if let padding {
      flags |= 8
      payload = [padding] + content + Array(repeating: 0, count: Int(padding))
    }
    return frame(0, flags: flags, stream: stream, payload)
  }

  static func headers(_ stream: UInt32, _ block: [UInt8], end: Bool = false, flags: UInt8 = 4)
    -> [UInt8]
  {
    frame(1, flags: flags | (end ? 1 : 0), stream: stream, block)
  }

  static func continuation(_ stream: UInt32, _ block: [UInt8], end: Bool) -> [UInt8] {
    frame(9, flags: end ? 4 : 0, stream: stream, block)
  }

  static func reset(_ stream: UInt32, _ code: HTTP2ErrorCode) -> [UInt8] {
    frame(3, stream: stream, uint32(code.rawValue))
  }

  static func windowUpdate(_ stream: UInt32, _ increment: UInt32) -> [UInt8] {
    frame(8, stream: stream, uint32(increment))
  }

  static func ping(_ opaque: [UInt8] = Array(1...8), ack: Bool = false) -> [UInt8] {
    frame(6, flags: ack ? 1 : 0, opaque)
  }

  static func goAway(_ last: UInt32, _ code: HTTP2ErrorCode, _ debug: String = "") -> [UInt8] {
    frame(7, uint32(last) + uint32(code.rawValue) + Array(debug.utf8))
  }

  /// A header block without any compression state: literals, never indexed.
  static func block(_ fields: [(String, String)]) -> [UInt8] {
    var block: [UInt8] = []
    for (name, value) in fields {
      block.append(0x10)
      appendString(name, to: &block)
      appendString(value, to: &block)
    }
    return block
  }

  private static func appendString(_ text: String, to block: inout [UInt8]) {
    let bytes = Array(text.utf8)
    if bytes.count < 127 {
      block.append(UInt8(bytes.count))
    } else {
      block.append(127)
      var rest = bytes.count - 127
      while rest >= 128 {
        block.append(UInt8(rest % 128 + 128))
        rest /= 128
      }
      block.append(UInt8(rest))
    }
    block += bytes
  }
}

/// One frame as a test reads it from the output.
struct SentFrame: Equatable {
  var header: FrameHeader
  var payload: [UInt8]

  var type: FrameType? { header.type }

  /// The four octets at `offset` of the payload.
  func word(_ offset: Int = 0) -> UInt32 { readUInt32(payload.span, at: offset) }

  /// The payload as SETTINGS.
  func settings() -> [Setting] {
    let bytes = payload.span
    var entries: [Setting] = []
    for offset in stride(from: 0, to: payload.count, by: Setting.size) {
      entries.append(Setting(bytes, at: offset))
    }
    return entries
  }

  static func parse(_ bytes: [UInt8]) -> [SentFrame] {
    var frames: [SentFrame] = []
    var offset = 0
    while offset + 9 <= bytes.count {
      let header = FrameHeader(bytes.span, at: offset)
      let end = offset + 9 + Int(header.length)
      precondition(end <= bytes.count, "half a frame in the output")
      frames.append(SentFrame(header: header, payload: Array(bytes[offset + 9..<end])))
      offset = end
    }
    precondition(offset == bytes.count, "half a header in the output")
    return frames
  }
}

func headerList(_ fields: [(String, String)]) -> HeaderList {
  var list = HeaderList()
  for (name, value) in fields { list.append(ByteString(name), ByteString(value)) }
  return list
}

func request(
  _ method: String = "POST", _ path: String = "/", _ more: [(String, String)] = []
) -> HeaderList {
  headerList(
    [(":method", method), (":scheme", "https"), (":authority", "example.com"), (":path", path)]
      + more)
}

func pairs(_ list: HeaderList) -> [String] {
  (0..<list.count).map { list.name($0).description + "=" + list.value($0).description }
}

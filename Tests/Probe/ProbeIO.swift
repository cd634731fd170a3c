import CLinux
import Platform
import Primitives

/// Lines in, lines out, for one subcommand.
struct ProbeIO {
  private var waiting: [UInt8] = []
  private var offset = 0
  private var chunk = [UInt8](repeating: 0, count: 65_536)
  var output: [UInt8] = []

  static func fail(_ message: String) -> Never {
    write(2, Array((message + "\n").utf8))
    ProcessExit.exit(64)
  }

  /// The next line without its end; what was output before is written first, when there is none yet.
  mutating func readLine() -> [UInt8]? {
    while true {
      if let end = waiting[offset...].firstIndex(of: 0x0A) {
        let line = Array(waiting[offset..<end])
        offset = end + 1
        return line
      }
      flush()
      waiting.removeSubrange(0..<offset)
      offset = 0
      let size = chunk.count
      let count = chunk.withUnsafeMutableBytes { spoke_read(0, $0.baseAddress!, size) }
      guard count > 0 else { return nil }
      waiting += chunk[0..<Int(count)]
    }
  }

  /// Whatever has come, as soon as something has.
  mutating func readSome() -> [UInt8]? {
    let size = chunk.count
    let count = chunk.withUnsafeMutableBytes { spoke_read(0, $0.baseAddress!, size) }
    return count > 0 ? Array(chunk[0..<Int(count)]) : nil
  }

  mutating func flush() {
    Self.write(1, output)
    output.removeAll(keepingCapacity: true)
  }

  private static func write(_ descriptor: Int32, _ bytes: [UInt8]) {
    var done = 0
    while done < bytes.count {
      let count = bytes.withUnsafeBytes {
        spoke_write(descriptor, $0.baseAddress! + done, bytes.count - done)
      }
      guard count > 0 else { ProcessExit.exit(74) }
      done += Int(count)
    }
  }
}

/// Hexadecimal, as the subcommands exchange bytes.
enum Hex {
  static func append(_ bytes: Span<UInt8>, to output: inout [UInt8]) {
    for index in bytes.indices {
      output.append(digit(bytes[index] >> 4))
      output.append(digit(bytes[index] & 15))
    }
  }

  static func decode(_ text: [UInt8]) -> [UInt8] {
    var bytes: [UInt8] = []
    var index = 0
    while index + 1 < text.count {
      bytes.append(value(text[index]) << 4 | value(text[index + 1]))
      index += 2
    }
    return bytes
  }

  private static func digit(_ value: UInt8) -> UInt8 { value < 10 ? 0x30 + value : 0x57 + value }
  private static func value(_ digit: UInt8) -> UInt8 {
    digit <= 0x39 ? digit & 15 : (digit & 15) + 9
  }
}

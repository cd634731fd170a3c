import CLinux
import Primitives

/// What a subcommand is given: the arguments behind its name, and the standard input.
struct ProbeInput {
  let arguments: [ByteString]

  /// The value behind `--name`; nil when it is not there.
  func option(_ name: ByteString) -> ByteString? {
    for index in arguments.indices.dropLast() where arguments[index] == name {
      return arguments[index + 1]
    }
    return nil
  }

  /// The number behind `--name`, or `fallback`.
  func number(_ name: ByteString, or fallback: UInt64) -> UInt64 {
    guard let text = option(name) else { return fallback }
    var value: UInt64 = 0
    for byte in text.bytes {
      guard byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9") else {
        fail("not a number: " + name.description + " " + text.description)
      }
      value = value * 10 + UInt64(byte - UInt8(ascii: "0"))
    }
    return value
  }

  /// Everything on the standard input.
  func readAll() -> [UInt8] { read(fdopen(0, "r")) }

  /// The lines of the standard input without their ends.
  func readLines() -> [ByteString] {
    var lines: [ByteString] = []
    for line in readAll().split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false) {
      lines.append(ByteString(Array(line)))
    }
    if let last = lines.last, last.isEmpty { lines.removeLast() }
    return lines
  }

  /// Reports a wrong use and exits with 64.
  func fail(_ message: String) -> Never {
    print("probe: " + message)
    exit(64)
  }

  /// The process's own arguments without the program's name.
  static func commandLine() -> [ByteString] {
    let bytes = read(fopen("/proc/self/cmdline", "r"))
    var arguments: [ByteString] = []
    for part in bytes.split(separator: 0, omittingEmptySubsequences: false).dropFirst() {
      arguments.append(ByteString(Array(part)))
    }
    if !arguments.isEmpty { arguments.removeLast() }
    return arguments
  }
}

private func read(_ file: UnsafeMutablePointer<FILE>?) -> [UInt8] {
  guard let file else { return [] }
  var bytes: [UInt8] = []
  while case let byte = getc(file), byte >= 0 { bytes.append(UInt8(byte)) }
  return bytes
}

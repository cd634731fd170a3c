import Primitives

/// UTF-8 (RFC 3629 §4), checked once for the whole file before anything else looks at it.
extension TOMLParser {
  /// Reports the first wrong byte of each line; false: there was one, and nothing is parsed.
  mutating func checkEncoding() -> Bool {
    if bytes.starts(with: [0xEF, 0xBB, 0xBF]) {
      report(0, "the file begins with a byte order mark; save it as UTF-8 without one")
      return false
    }
    var at = 0
    while at < bytes.count && findings.count <= ConfigurationLimits.diagnosticsMax {
      let length = sequenceLength(at)
      if length > 0 {
        at += length
        continue
      }
      report(at, "invalid UTF-8: byte 0x\(hexByte(bytes[at]))")
      while at < bytes.count && bytes[at] != UInt8(ascii: "\n") { at += 1 }
    }
    return findings.isEmpty
  }

  /// The bytes of the scalar at `at`; 0: not UTF-8.
  private func sequenceLength(_ at: Int) -> Int {
    let first = bytes[at]
    if first < 0x80 { return 1 }
    func continues(_ ahead: Int, _ low: UInt8 = 0x80, _ high: UInt8 = 0xBF) -> Bool {
      at + ahead < bytes.count && bytes[at + ahead] >= low && bytes[at + ahead] <= high
    }
    switch first {
    case 0xC2...0xDF:
      return continues(1) ? 2 : 0
    case 0xE0...0xEF:
      // E0: no overlong form; ED: no surrogate.
      let low: UInt8 = first == 0xE0 ? 0xA0 : 0x80
      let high: UInt8 = first == 0xED ? 0x9F : 0xBF
      return continues(1, low, high) && continues(2) ? 3 : 0
    case 0xF0...0xF4:
      // F0: no overlong form; F4: nothing above U+10FFFF.
      let low: UInt8 = first == 0xF0 ? 0x90 : 0x80
      let high: UInt8 = first == 0xF4 ? 0x8F : 0xBF
      return continues(1, low, high) && continues(2) && continues(3) ? 4 : 0
    default:
      return 0
    }
  }
}

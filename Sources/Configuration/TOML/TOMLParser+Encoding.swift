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
      let length = bytes[at] < 0x80 ? 1 : UTF8Sequence.length(at: at, of: bytes.span)
      if length > 0 {
        at += length
        continue
      }
      report(at, "invalid UTF-8: byte 0x\(hexByte(bytes[at]))")
      while at < bytes.count && bytes[at] != UInt8(ascii: "\n") { at += 1 }
    }
    return findings.isEmpty
  }
}

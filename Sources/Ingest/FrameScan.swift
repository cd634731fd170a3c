import Primitives

/// What the bytes at the front of a framer's buffer are. The scanners are functions of the bytes
/// alone, so that neither the cut of the reads nor the time can change which frames come out.
enum FrameScan: Equatable {
  /// The start of a frame, as far as one can see.
  case needMore
  /// Bytes of no frame; look again behind them.
  case skip(Int, Skipped)
  /// A good frame of `size` bytes.
  case frame(size: Int, payload: Range<Int>)
  /// A whole frame of `size` bytes, which is good when its `body` can be decoded. Nothing in it can
  /// be the start of another one.
  case enclosed(size: Int, body: Range<Int>)
  /// What looked like a frame of `extent` bytes is none. Look again behind `skip` bytes, which is
  /// the sync alone: a good frame may begin inside the bad one.
  case bad(BadFrameReason, extent: Int, skip: Int)
  /// What has passed its greatest length: so many bytes are bad, and all up to the next delimiter.
  case overlong(Int)

  enum Skipped: Equatable {
    /// Belongs between frames, such as the CR LF behind a sentence.
    case padding
    /// NULs before a line.
    case nul
    case garbage
  }
}

/// Lines: text up to a delimiter, a CR before it removed.
struct LineFraming: Equatable {
  let delimiter: UInt8
  /// Each line is to be checked before it is a frame.
  var isJSON = false

  /// The longest line with its CR and delimiter.
  static let bufferBytes = FramingLimits.lineMax + 2

  /// `examined`: so many bytes are known to hold no delimiter.
  func scan(_ bytes: Span<UInt8>, examined: Int, discarding: Bool) -> FrameScan {
    if !discarding && delimiter != 0 && bytes[0] == 0 {
      // USB adapters of FTDI's make send a NUL when they are opened.
      var count = 1
      while count < bytes.count && bytes[count] == 0 { count += 1 }
      return .skip(count, .nul)
    }
    guard let end = firstIndex(of: delimiter, in: bytes, from: examined) else {
      if discarding { return .skip(bytes.count, .garbage) }
      return bytes.count < Self.bufferBytes ? .needMore : .overlong(bytes.count)
    }
    if discarding { return .skip(end + 1, .garbage) }
    let length = end > 0 && bytes[end - 1] == 0x0D ? end - 1 : end
    if length == 0 { return .skip(end + 1, .padding) }
    if length > FramingLimits.lineMax { return .bad(.tooLong, extent: end + 1, skip: end + 1) }
    return isJSON
      ? .enclosed(size: end + 1, body: 0..<length) : .frame(size: end + 1, payload: 0..<length)
  }
}

/// NMEA 0183 sentences: `$` or `!`, text, `*`, the exclusive-or of the text as two hexadecimal
/// digits; then CR LF, which is padding here: a sentence is complete, and delivered, with its check.
struct NMEAFraming: Equatable {
  /// Sentences that end without `*` and two digits are good, too.
  let allowsMissingChecksum: Bool

  func scan(_ bytes: Span<UInt8>) -> FrameScan {
    guard Self.isStart(bytes[0]) else { return Self.between(bytes) }
    var check: UInt8 = 0
    var index = 1
    while index < bytes.count {
      let byte = bytes[index]
      if byte == UInt8(ascii: "*") { return Self.end(bytes, star: index, check) }
      if index + 3 >= FramingLimits.sentenceMax {
        return .bad(.tooLong, extent: index + 1, skip: 1)
      }
      // `$` and `!` are reserved for the start: the sentence before was cut short.
      if Self.isStart(byte) { return .bad(.truncated, extent: index, skip: index) }
      if byte == 0x0D || byte == 0x0A {
        return allowsMissingChecksum && index > 1
          ? .frame(size: index, payload: 0..<index)
          : .bad(.missingChecksum, extent: index, skip: 1)
      }
      // Bytes above ASCII pass: makers put names in their own sentences, and the check covers them.
      if byte < 0x20 || byte == 0x7F { return .bad(.invalidByte, extent: index + 1, skip: 1) }
      check ^= byte
      index += 1
    }
    return .needMore
  }

  private static func end(_ bytes: Span<UInt8>, star: Int, _ check: UInt8) -> FrameScan {
    var stated: UInt8 = 0
    for index in star + 1..<star + 3 {
      guard index < bytes.count else { return .needMore }
      guard let digit = hexadecimalValue(bytes[index]) else {
        return .bad(.missingChecksum, extent: index, skip: 1)
      }
      stated = stated << 4 | digit
    }
    let size = star + 3
    return stated == check
      ? .frame(size: size, payload: 0..<size) : .bad(.checksum, extent: size, skip: 1)
  }

  private static func between(_ bytes: Span<UInt8>) -> FrameScan {
    var count = 0
    while count < bytes.count && (bytes[count] == 0x0D || bytes[count] == 0x0A) { count += 1 }
    if count > 0 { return .skip(count, .padding) }
    while count < bytes.count && !isStart(bytes[count]) && bytes[count] != 0x0D
      && bytes[count] != 0x0A
    { count += 1 }
    return .skip(count, .garbage)
  }

  private static func isStart(_ byte: UInt8) -> Bool {
    byte == UInt8(ascii: "$") || byte == UInt8(ascii: "!")
  }
}

/// The first place at or behind `start` that holds `byte`.
func firstIndex(of byte: UInt8, in bytes: Span<UInt8>, from start: Int) -> Int? {
  for index in start..<bytes.count where bytes[index] == byte { return index }
  return nil
}

import Primitives

/// What the emulator was asked to do.
struct Options {
  enum Mode { case play, help, version }
  /// What the board speaks: each has its own numbered frames.
  enum Framing {
    case line, jsonLines, nmea, slip, cobs, hdlc, stxEtx, modbusRTU, modbusASCII, vesc, xiaomi,
      ninebot, daly, jbd, ubx, rtcm3, mavlink, length
  }
  enum Source {
    case file(ByteString)
    /// So many frames; 0 for no end.
    case generate(UInt64)
  }

  var framing = Framing.line
  var baud: UInt32 = 0
  var source = Source.generate(0)
  /// Millionths of a frame per second; nil for as fast as the line carries them.
  var rate: UInt64?
  var link: ByteString?
  /// Probabilities in millionths.
  var noise: UInt64 = 0
  var gap: UInt64 = 0
  var cut: UInt64 = 0
  var hangUpEvery: Interval?
  var hold = false
  var seed: UInt64 = 1
  var mode = Mode.play
}

/// A command line that cannot be followed, and why.
struct UsageError: Error {
  let message: String

  init(_ message: String) { self.message = message }
}

extension Options {
  /// As a configuration names them.
  static var framings: [(ByteString, Framing)] {
    [
      ("line", .line), ("json-lines", .jsonLines), ("nmea", .nmea), ("slip", .slip),
      ("cobs", .cobs), ("hdlc", .hdlc), ("stx-etx", .stxEtx), ("modbus-rtu", .modbusRTU),
      ("modbus-ascii", .modbusASCII), ("vesc", .vesc), ("xiaomi", .xiaomi),
      ("ninebot", .ninebot), ("daly", .daly), ("jbd", .jbd), ("ubx", .ubx), ("rtcm3", .rtcm3),
      ("mavlink", .mavlink), ("length", .length),
    ]
  }

  /// Reads the arguments behind the program's name.
  init(_ arguments: [ByteString]) throws(UsageError) {
    var isFramed = false
    var sources = 0
    var index = 0
    while index < arguments.count {
      let name = arguments[index]
      index += 1
      if name == "--help" || name == "-h" {
        mode = .help
        return
      }
      if name == "--version" {
        mode = .version
        return
      }
      if name == "--hold" {
        hold = true
        continue
      }
      guard Self.isKnown(name) else { throw UsageError("unknown option \(name.description)") }
      guard index < arguments.count else {
        throw UsageError("\(name.description) needs a value")
      }
      if name == "--framing" { isFramed = true }
      if name == "--file" || name == "--generate" { sources += 1 }
      try set(name, Value(option: name, text: arguments[index]))
      index += 1
    }
    if !isFramed { throw UsageError("--framing is missing") }
    if baud == 0 { throw UsageError("--baud is missing") }
    if sources != 1 { throw UsageError("exactly one of --file and --generate is needed") }
  }

  private static func isKnown(_ name: ByteString) -> Bool {
    let names: [ByteString] = [
      "--framing", "--baud", "--file", "--generate", "--rate", "--link", "--noise", "--gap",
      "--cut", "--hang-up-every", "--seed",
    ]
    return names.contains(name)
  }

  private mutating func set(_ name: ByteString, _ value: Value) throws(UsageError) {
    if name == "--framing" {
      framing = try value.framing()
    } else if name == "--baud" {
      baud = UInt32(try value.integer(1...4_000_000))
    } else if name == "--file" {
      source = .file(value.text)
    } else if name == "--generate" {
      source = .generate(try value.integer(0...1_000_000_000_000))
    } else if name == "--rate" {
      rate = try value.millionths(1...1_000_000_000_000)
    } else if name == "--link" {
      link = try value.path()
    } else if name == "--noise" {
      noise = try value.millionths(0...1_000_000)
    } else if name == "--gap" {
      gap = try value.millionths(0...1_000_000)
    } else if name == "--cut" {
      cut = try value.millionths(0...1_000_000)
    } else if name == "--hang-up-every" {
      hangUpEvery = .microseconds(Int64(try value.millionths(1...1_000_000_000_000)))
    } else {
      seed = try value.integer(0...UInt64.max)
    }
  }
}

/// The text behind an option.
private struct Value {
  let option: ByteString
  let text: ByteString

  func framing() throws(UsageError) -> Options.Framing {
    for (name, framing) in Options.framings where text == name { return framing }
    throw UsageError("unknown framing \(text.description): \(Help.framings)")
  }

  func path() throws(UsageError) -> ByteString {
    if text.isEmpty { throw wrong("a path") }
    return text
  }

  func integer(_ range: ClosedRange<UInt64>) throws(UsageError) -> UInt64 {
    guard let value = digits(text.bytes[...]), range.contains(value) else {
      throw wrong("a whole number from \(range.lowerBound) to \(range.upperBound)")
    }
    return value
  }

  /// A decimal number with at most six digits behind the point, in millionths.
  func millionths(_ range: ClosedRange<UInt64>) throws(UsageError) -> UInt64 {
    let point = text.bytes.firstIndex(of: UInt8(ascii: ".")) ?? text.count
    var fraction = Array(text.bytes[point...].dropFirst())
    guard fraction.count <= 6, let whole = digits(text.bytes[..<point]), whole <= 1_000_000 else {
      throw wrong("a number with at most six decimals")
    }
    while fraction.count < 6 { fraction.append(UInt8(ascii: "0")) }
    guard let part = digits(fraction[...]), range.contains(whole * 1_000_000 + part) else {
      throw wrong("a number within its range")
    }
    return whole * 1_000_000 + part
  }

  private func digits(_ text: ArraySlice<UInt8>) -> UInt64? {
    if text.isEmpty { return nil }
    var value: UInt64 = 0
    for byte in text {
      guard byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9") else { return nil }
      let (product, isTooLarge) = value.multipliedReportingOverflow(by: 10)
      let (sum, isTooLargeNow) = product.addingReportingOverflow(UInt64(byte - UInt8(ascii: "0")))
      if isTooLarge || isTooLargeNow { return nil }
      value = sum
    }
    return value
  }

  private func wrong(_ expected: String) -> UsageError {
    UsageError("\(option.description) \(text.description): not \(expected)")
  }
}

import Primitives

/// `"250ms"`, `"15s"`, `"24h"`: a whole number and a unit of `us`, `ms`, `s`, `m`, `h`, `d`. Nil:
/// not of this form, or beyond 292 years.
func parseDuration(_ text: ByteString) -> Interval? {
  let units: [(ByteString, Int64)] = [
    ("us", 1_000), ("ms", 1_000_000), ("s", 1_000_000_000), ("m", 60_000_000_000),
    ("h", 3_600_000_000_000), ("d", 86_400_000_000_000),
  ]
  guard let (count, unit) = splitQuantity(text) else { return nil }
  for (name, factor) in units where name == unit {
    let (value, overflow) = count.multipliedReportingOverflow(by: factor)
    return overflow ? nil : Interval(nanoseconds: value)
  }
  return nil
}

/// `"512B"`, `"64KiB"`, `"8MiB"`, `"1GiB"`: a whole number and a unit.
func parseSize(_ text: ByteString) -> UInt64? {
  let units: [(ByteString, Int64)] = [
    ("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40),
  ]
  guard let (count, unit) = splitQuantity(text) else { return nil }
  for (name, factor) in units where name == unit {
    let (value, overflow) = count.multipliedReportingOverflow(by: factor)
    return overflow ? nil : UInt64(value)
  }
  return nil
}

/// The digits in front, and the rest.
private func splitQuantity(_ text: ByteString) -> (Int64, ByteString)? {
  var count: Int64 = 0
  var index = 0
  while index < text.count && ASCII.isDigit(text.bytes[index]) {
    let (product, tooLarge) = count.multipliedReportingOverflow(by: 10)
    let (sum, overflow) = product.addingReportingOverflow(
      Int64(text.bytes[index] - UInt8(ascii: "0")))
    guard !tooLarge && !overflow else { return nil }
    count = sum
    index += 1
  }
  guard index > 0 else { return nil }
  return (count, ByteString(Array(text.bytes[index...])))
}

/// An interval in its largest whole unit, as it would be written.
func durationText(_ interval: Interval) -> String {
  let units: [(String, Int64)] = [
    ("d", 86_400_000_000_000), ("h", 3_600_000_000_000), ("m", 60_000_000_000),
    ("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1_000),
  ]
  guard interval.nanoseconds != 0 else { return "0s" }
  for (name, factor) in units where interval.nanoseconds % factor == 0 {
    return "\(interval.nanoseconds / factor)\(name)"
  }
  return "\(interval.nanoseconds)ns"
}

/// A size in its largest whole unit, as it would be written.
func sizeText(_ bytes: UInt64) -> String {
  let units: [(String, UInt64)] = [
    ("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10),
  ]
  for (name, factor) in units where bytes > 0 && bytes % factor == 0 {
    return "\(bytes / factor)\(name)"
  }
  return "\(bytes)B"
}

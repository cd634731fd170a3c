/// The value of a `grpc-timeout` field ("gRPC over HTTP/2", Timeout): at most eight digits and a unit,
/// one of H M S m u n.
public enum GRPCTimeout {
  private static let valueMax: Int64 = 99_999_999

  /// Appends the value for an interval, in the finest unit that holds it. What is cut off makes the
  /// timeout shorter, never longer; an interval that is over becomes one nanosecond.
  public static func encode(_ interval: Interval, to value: inout [UInt8]) {
    let nanoseconds = max(interval.nanoseconds, 1)
    let units: [(Int64, UInt8)] = [
      (1, UInt8(ascii: "n")), (1_000, UInt8(ascii: "u")), (1_000_000, UInt8(ascii: "m")),
      (1_000_000_000, UInt8(ascii: "S")), (60_000_000_000, UInt8(ascii: "M")),
    ]
    for (size, unit) in units where nanoseconds / size <= valueMax {
      value.append(decimal: UInt64(nanoseconds / size))
      value.append(unit)
      return
    }
    // The longest interval has 2 562 047 hours.
    value.append(decimal: UInt64(nanoseconds / 3_600_000_000_000))
    value.append(UInt8(ascii: "H"))
  }

  /// Nil: not a timeout. One beyond what an interval holds is the longest interval.
  public static func decode(_ value: Span<UInt8>) -> Interval? {
    guard value.count >= 2, value.count <= 9 else { return nil }
    var number: Int64 = 0
    for index in 0..<value.count - 1 {
      guard value[index] >= 0x30, value[index] <= 0x39 else { return nil }
      number = number * 10 + Int64(value[index] - 0x30)
    }
    let size: Int64
    switch value[value.count - 1] {
    case UInt8(ascii: "n"): size = 1
    case UInt8(ascii: "u"): size = 1_000
    case UInt8(ascii: "m"): size = 1_000_000
    case UInt8(ascii: "S"): size = 1_000_000_000
    case UInt8(ascii: "M"): size = 60_000_000_000
    case UInt8(ascii: "H"): size = 3_600_000_000_000
    default: return nil
    }
    let (product, isOver) = number.multipliedReportingOverflow(by: size)
    return Interval(nanoseconds: isOver ? .max : product)
  }
}

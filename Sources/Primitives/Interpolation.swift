// Texts are put together for people: in messages, in reports, on pages. The standard library's pieces
// of an interpolation are inlined at each of a thousand places. Those below stand in for them in every
// file that imports this module: one call each, and the program is 80 KiB smaller.
extension DefaultStringInterpolation {
  /// What stands between the values.
  @inline(never)
  public mutating func appendLiteral(_ literal: String) { write(literal) }

  /// The text as it is.
  @inline(never)
  public mutating func appendInterpolation(_ text: String) { write(text) }

  /// Bytes that are not UTF-8 become U+FFFD.
  @inline(never)
  public mutating func appendInterpolation(_ text: ByteString) { write(text.description) }

  /// In decimal, as every number below.
  @inline(never)
  public mutating func appendInterpolation(_ number: UInt64) {
    var digits: [UInt8] = []
    digits.append(decimal: number)
    write(String(decoding: digits, as: UTF8.self))
  }

  /// In decimal, with a minus sign before a negative number.
  @inline(never)
  public mutating func appendInterpolation(_ number: Int64) {
    if number < 0 { write("-") }
    appendInterpolation(number.magnitude)
  }

  /// In decimal.
  public mutating func appendInterpolation(_ number: Int) { appendInterpolation(Int64(number)) }
  /// In decimal.
  public mutating func appendInterpolation(_ number: Int32) { appendInterpolation(Int64(number)) }
  /// In decimal.
  public mutating func appendInterpolation(_ number: UInt8) { appendInterpolation(UInt64(number)) }
  /// In decimal.
  public mutating func appendInterpolation(_ number: UInt16) { appendInterpolation(UInt64(number)) }
  /// In decimal.
  public mutating func appendInterpolation(_ number: UInt32) { appendInterpolation(UInt64(number)) }
}

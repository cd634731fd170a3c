import Primitives

/// The target of a request (RFC 9112 §3.2): `/path?name=value&name`, or the same behind
/// `http://host`. A plus sign is itself, as Envoy reads it: a filter may contain one.
enum AdminTarget {
  static func parse(
    _ target: Span<UInt8>
  ) throws(AdminError) -> (path: ByteString, query: [AdminRequest.Parameter]) {
    for index in target.indices where target[index] <= 0x20 || target[index] == 0x7F {
      throw AdminError(400, "a control character in the request target")
    }
    let start = try pathStart(target)
    let end = firstIndex(of: UInt8(ascii: "#"), in: target, from: start) ?? target.count
    let question = firstIndex(of: UInt8(ascii: "?"), in: target, from: start) ?? end
    let pathEnd = min(question, end)
    let path = pathEnd == start ? "/" : try decode(target, start..<pathEnd)
    var query: [AdminRequest.Parameter] = []
    var next = pathEnd + 1
    while next < end {
      let stop = min(firstIndex(of: UInt8(ascii: "&"), in: target, from: next) ?? end, end)
      if stop > next {
        guard query.count < AdminLimits.parametersMax else {
          throw AdminError(400, "too many parameters in the query")
        }
        query.append(try parameter(target, next..<stop))
      }
      next = stop + 1
    }
    return (path, query)
  }

  /// Where the path begins: at once, or behind the authority of an absolute URI.
  private static func pathStart(_ target: Span<UInt8>) throws(AdminError) -> Int {
    if !target.isEmpty, target[0] == UInt8(ascii: "/") { return 0 }
    guard target.count > scheme.count, equal(target.extracting(first: scheme.count), scheme.span)
    else { throw AdminError(400, "a request target that is not a path") }
    var index = scheme.count
    while index < target.count {
      let byte = target[index]
      if byte == UInt8(ascii: "/") || byte == UInt8(ascii: "?") || byte == UInt8(ascii: "#") {
        break
      }
      index += 1
    }
    return index
  }

  private static func parameter(
    _ target: Span<UInt8>, _ range: Range<Int>
  ) throws(AdminError) -> AdminRequest.Parameter {
    let equals = firstIndex(of: UInt8(ascii: "="), in: target, from: range.lowerBound)
    let nameEnd = min(equals ?? range.upperBound, range.upperBound)
    let valueStart = min(nameEnd + 1, range.upperBound)
    return AdminRequest.Parameter(
      name: try decode(target, range.lowerBound..<nameEnd),
      value: try decode(target, valueStart..<range.upperBound))
  }

  /// RFC 3986 §2.1.
  private static func decode(
    _ target: Span<UInt8>, _ range: Range<Int>
  ) throws(AdminError) -> ByteString {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(range.count)
    var index = range.lowerBound
    while index < range.upperBound {
      var byte = target[index]
      index += 1
      if byte == UInt8(ascii: "%") {
        guard index + 1 < range.upperBound, let high = hexadecimalValue(target[index]),
          let low = hexadecimalValue(target[index + 1]), high | low != 0
        else { throw AdminError(400, "a malformed percent-encoding") }
        byte = high << 4 | low
        index += 2
      }
      bytes.append(byte)
    }
    return ByteString(bytes)
  }

  private static let scheme: [UInt8] = Array("http://".utf8)
}

import Primitives

@testable import Policy

/// A request as routing sees it.
struct Head: RequestHead {
  var method: ByteString = "POST"
  var authority: ByteString
  var path: ByteString
  var fields: [(name: ByteString, value: ByteString)] = []

  func value(of name: ByteString) -> ByteString? {
    if name == ":method" { return method }
    if name == ":authority" { return authority }
    if name == ":path" { return path }
    let values = fields.filter { $0.name == name }.map { $0.value.bytes }
    return values.isEmpty ? nil : ByteString([UInt8](values.joined(separator: [0x2C])))
  }
}

import Primitives
import Protobuf

/// Why a resource is refused.
public struct ResourceRejection: Error, Equatable, Sendable {
  /// The path of the field, as protobuf's own messages write it: `virtual_hosts[0].domains`. Empty: the
  /// resource as a whole.
  public var field: ByteString
  /// What is wrong with it.
  public var reason: ByteString

  public init(field: ByteString, reason: ByteString) {
    self.field = field
    self.reason = reason
  }

  /// For the NACK, behind the resource's name: `virtual_hosts[0].domains: empty`.
  public var text: ByteString {
    field.isEmpty ? reason : ByteString(field.bytes + [0x3A, 0x20] + reason.bytes)
  }
}

/// Where a message stands in its resource. The text is only made for a rejection.
indirect enum FieldPath: Sendable {
  case root
  case field(FieldPath, StaticString)
  case element(FieldPath, StaticString, Int)

  /// The path of one more field.
  func text(_ name: StaticString = "") -> ByteString {
    var bytes: [UInt8] = []
    append(to: &bytes)
    if name.utf8CodeUnitCount > 0 {
      if !bytes.isEmpty { bytes.append(UInt8(ascii: ".")) }
      bytes.append(text: name)
    }
    return ByteString(bytes)
  }

  private func append(to bytes: inout [UInt8]) {
    switch self {
    case .root: return
    case .field(let parent, let name):
      parent.append(to: &bytes)
      if !bytes.isEmpty { bytes.append(UInt8(ascii: ".")) }
      bytes.append(text: name)
    case .element(let parent, let name, let index):
      parent.append(to: &bytes)
      if !bytes.isEmpty { bytes.append(UInt8(ascii: ".")) }
      bytes.append(text: name)
      bytes.append(UInt8(ascii: "["))
      bytes.append(decimal: UInt64(index))
      bytes.append(UInt8(ascii: "]"))
    }
  }
}

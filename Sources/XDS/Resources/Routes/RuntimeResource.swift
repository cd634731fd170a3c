import Policy
import Primitives

/// `envoy.service.runtime.v3.Runtime`: one layer of RTDS.
public struct RuntimeResource: Equatable, Sendable {
  public var name: ByteString
  public var layer: RuntimeLayer

  /// A resource of RTDS. Structs within each other are the same as keys with a `.`.
  public static func decode(_ bytes: Span<UInt8>) throws(ResourceRejection) -> RuntimeResource {
    let reader = try ResourceReader(bytes)
    let name = try reader.text(1, "name")
    guard !name.isEmpty else { throw reader.rejection("name", "empty") }
    var flattening = RuntimeFlattening()
    if let layer = try reader.message(2, "layer") {
      try flattening.add(layer, under: ByteString())
    }
    return RuntimeResource(
      name: name, layer: RuntimeLayer(name: name, entries: flattening.entries))
  }
}

/// Bounds of one layer.
private enum RuntimeLimits {
  static let entriesMax = 512
  static let keyBytesMax = 256
  static let textBytesMax = 1024
}

/// The entries of a `google.protobuf.Struct`, one after the other.
private struct RuntimeFlattening {
  var entries: [RuntimeEntry] = []

  /// `Struct`: 1 fields, a map. It goes down by recursion, which the wire reader limits.
  mutating func add(
    _ reader: ResourceReader, under prefix: ByteString
  ) throws(ResourceRejection) {
    for field in try reader.messages(1, "fields", limit: RuntimeLimits.entriesMax) {
      let name = try field.text(1, "key")
      var key = prefix
      if !key.isEmpty { key.bytes.append(UInt8(ascii: ".")) }
      key.bytes.append(contentsOf: name.bytes)
      guard key.count <= RuntimeLimits.keyBytesMax else {
        throw field.rejection("key", "longer than \(RuntimeLimits.keyBytesMax) bytes")
      }
      if let value = try field.message(2, "value") { try add(value, as: key) }
    }
  }

  /// `Value`: 1 null, 2 number, 3 string, 4 bool, 5 struct, 6 list.
  private mutating func add(
    _ value: ResourceReader, as key: ByteString
  ) throws(ResourceRejection) {
    let members: [UInt32] = [1, 2, 3, 4, 5, 6]
    switch try value.member(members) {
    case 2: try append(key, .number(try value.double(2)), value)
    case 3:
      let text = try value.text(3, "string_value")
      guard text.count <= RuntimeLimits.textBytesMax else {
        throw value.rejection(
          "string_value", "longer than \(RuntimeLimits.textBytesMax) bytes")
      }
      try append(key, .text(text), value)
    case 4: try append(key, .bool(try value.bool(4)), value)
    case 5:
      guard let inner = try value.message(5, "struct_value", among: members) else { return }
      if let fraction = try fraction(inner) {
        try append(key, fraction, value)
      } else {
        try add(inner, under: key)
      }
    case 6: throw value.rejection("list_value", "\(key): a list is not a runtime value")
    default: break
    }
  }

  private mutating func append(
    _ key: ByteString, _ value: RuntimeValue, _ reader: ResourceReader
  ) throws(ResourceRejection) {
    guard entries.count < RuntimeLimits.entriesMax else {
      throw reader.rejection("", "more than \(RuntimeLimits.entriesMax) keys")
    }
    entries.append(RuntimeEntry(key: key, value: value))
  }

  /// A struct that is a `FractionalPercent` in JSON: empty, or with one of its two fields. One that is
  /// malformed holds nothing, and so hides what an earlier layer has under the key. Nil: a plain struct.
  private func fraction(
    _ reader: ResourceReader
  ) throws(ResourceRejection) -> RuntimeValue? {
    var numerator = RuntimeValue.number(0)
    var denominator = RuntimeValue.text("HUNDRED")
    let fields = try reader.messages(1, "fields", limit: RuntimeLimits.entriesMax)
    var isFraction = fields.isEmpty
    for field in fields {
      let name = try field.text(1, "key")
      guard name == "numerator" || name == "denominator" else { continue }
      isFraction = true
      let scalar = try scalar(field)
      if name == "numerator" { numerator = scalar } else { denominator = scalar }
    }
    guard isFraction else { return nil }
    guard let count = numerator.integer, count <= UInt64(UInt32.max),
      let unit = unit(denominator)
    else { return .text(ByteString()) }
    return .fraction(FractionalPercent(numerator: UInt32(count), denominator: unit))
  }

  private func scalar(_ field: ResourceReader) throws(ResourceRejection) -> RuntimeValue {
    guard let value = try field.message(2, "value") else { return .text(ByteString()) }
    switch try value.member([1, 2, 3, 4, 5, 6]) {
    case 2: return .number(try value.double(2))
    case 3: return .text(try value.text(3, "string_value"))
    default: return .text(ByteString())
    }
  }

  private func unit(_ value: RuntimeValue) -> FractionalPercent.Denominator? {
    switch value {
    case .text("HUNDRED"), .number(0): .hundred
    case .text("TEN_THOUSAND"), .number(1): .tenThousand
    case .text("MILLION"), .number(2): .million
    default: nil
    }
  }
}

import Testing

@testable import Protobuf

@Suite("the protobuf wire format")
struct WireTests {
  /// Every field, as the reader hands it out.
  private func fields(_ bytes: [UInt8]) throws(WireError) -> [WireField] {
    var reader = WireReader(bytes.span)
    var fields: [WireField] = []
    while let field = try reader.next(in: bytes.span) { fields.append(field) }
    return fields
  }

  private func error(_ bytes: [UInt8]) -> WireError? {
    do throws(WireError) {
      _ = try fields(bytes)
      return nil
    } catch { return error }
  }

  @Test(
    "the examples of protobuf.dev",
    arguments: [
      ([0x08, 0x96, 0x01], WireField(number: 1, value: .varint(150))),
      (
        [0x12, 0x07, 0x74, 0x65, 0x73, 0x74, 0x69, 0x6E, 0x67],
        WireField(number: 2, value: .bytes(2..<9))
      ),
      (
        [0x32, 0x06, 0x03, 0x8E, 0x02, 0x9E, 0xA7, 0x05],
        WireField(number: 6, value: .bytes(2..<8))
      ),
    ] as [([UInt8], WireField)])
  func examples(bytes: [UInt8], field: WireField) throws {
    #expect(try fields(bytes) == [field])
  }

  @Test("a packed and an unpacked field hold the same elements")
  func packed() throws {
    let bytes: [UInt8] = [0x32, 0x06, 0x03, 0x8E, 0x02, 0x9E, 0xA7, 0x05, 0x30, 0x07]
    var elements: [UInt64] = []
    var reader = WireReader(bytes.span)
    while let field = try reader.next(in: bytes.span) {
      try reader.varints(field.value, in: bytes.span) { elements.append($0) }
    }
    #expect(elements == [3, 270, 86_942, 7])
  }

  @Test(
    "what is no message is refused with its reason",
    arguments: [
      ([0x08], .truncated), ([0x08, 0x80], .truncated), ([0x12, 0x02, 0x00], .truncated),
      ([0x09, 0, 0, 0, 0, 0, 0, 0], .truncated), ([0x0D, 0, 0, 0], .truncated),
      ([0x12] + [UInt8](repeating: 0xFF, count: 9) + [0x01], .truncated),
      ([0x08] + [UInt8](repeating: 0x80, count: 10), .varintTooLong),
      ([0x00, 0x00], .invalidTag), ([0x0E], .invalidTag), ([0x0F], .invalidTag),
      ([0x80, 0x80, 0x80, 0x80, 0x80, 0x01, 0x00], .invalidTag),
      ([0x88, 0x80, 0x80, 0x80, 0x10, 0x00], .invalidTag),
      ([0x0C], .unbalancedGroup), ([0x0B, 0x14], .unbalancedGroup), ([0x0B], .truncated),
      ([0x0B, 0x08, 0x01], .truncated),
      ([UInt8](repeating: 0x0B, count: 65), .tooDeep),
    ] as [([UInt8], WireError)])
  func refused(bytes: [UInt8], expected: WireError) {
    #expect(error(bytes) == expected)
  }

  @Test("groups are skipped, and what follows them is read")
  func groups() throws {
    let bytes: [UInt8] = [0x0B, 0x10, 0x05, 0x1B, 0x1C, 0x12, 0x01, 0x0C, 0x0C, 0x20, 0x09]
    #expect(try fields(bytes) == [WireField(number: 4, value: .varint(9))])
    let deepest = [UInt8](repeating: 0x0B, count: 64) + [UInt8](repeating: 0x0C, count: 64)
    #expect(try fields(deepest).isEmpty)
  }

  @Test("messages within each other are read up to the limit")
  func nesting() throws {
    let none: [UInt8] = []
    var reader = WireReader(none.span)
    for _ in 0..<WireLimits.depthMax { reader = try reader.message(0..<0) }
    #expect(throws: WireError.tooDeep) { try reader.message(0..<0) }
  }

  @Test("a string must be UTF-8, bytes need not be")
  func strings() throws {
    let bytes: [UInt8] = [0x0A, 0x02, 0xC3, 0x28]
    var reader = WireReader(bytes.span)
    let field = try #require(try reader.next(in: bytes.span))
    #expect(field.value.range == 2..<4)
    #expect(throws: WireError.invalidUTF8) { try reader.text(field.value, in: bytes.span) }
  }

  @Test("scalars have the meaning that their declaration gives them")
  func scalars() {
    let minusOne = WireValue.varint(.max)
    #expect(minusOne.int64 == -1 && minusOne.int32 == -1 && minusOne.uint32 == .max)
    #expect(WireValue.varint(3).sint64 == -2 && WireValue.varint(4).sint64 == 2)
    #expect(WireValue.varint(1 << 32).bool == true && WireValue.varint(1 << 32).int32 == 0)
    #expect(WireValue.fixed64(0x3FF0_0000_0000_0000).double == 1)
    #expect(WireValue.fixed32(0x3F80_0000).float == 1)
    #expect(WireValue.fixed32(1).uint64 == nil && WireValue.bytes(0..<1).bool == nil)
  }

  @Test("what the writer writes, the reader reads")
  func roundTrip() throws {
    var writer = WireWriter()
    for shift in UInt64(0)..<64 { writer.varint(1, 1 << shift) }
    writer.int64(2, -5)
    writer.double(3, -2.5)
    writer.float(4, 0.5)
    for length in [0, 1, 127, 128, 300, 16_383, 16_384] {
      writer.message(1000) { inner in
        inner.bytes.append(contentsOf: [UInt8](repeating: 7, count: length))
      }
    }
    let bytes = writer.bytes
    let found = try fields(bytes)
    for shift in 0..<64 { #expect(found[shift].value == .varint(1 << UInt64(shift))) }
    #expect(found[64].value.int64 == -5)
    #expect(found[65].value.double == -2.5)
    #expect(found[66].value.float == 0.5)
    #expect(
      found[67...].map { $0.value.range?.count } == [0, 1, 127, 128, 300, 16_383, 16_384])
    #expect(found[67...].allSatisfy { $0.number == 1000 })
  }

  @Test("a size is what is written then", arguments: [0, 1, 127, 128, 16_383, 16_384, .max])
  func sizes(value: UInt64) {
    var writer = WireWriter()
    writer.varint(1, value)
    #expect(writer.bytes.count == WireSize.varintField(value))
  }

  @Test("every cut and every changed byte is answered, and never traps")
  func mutations() {
    var writer = WireWriter()
    writer.varint(1, 300)
    writer.message(2) { inner in inner.int64(3, -1) }
    writer.double(4, 1)
    let whole = writer.bytes
    var answered = 0
    for place in whole.indices {
      _ = error(Array(whole[..<place]))
      for byte in UInt8.min...UInt8.max {
        var changed = whole
        changed[place] = byte
        _ = error(changed)
        answered += 1
      }
    }
    #expect(answered == whole.count * 256)
  }
}

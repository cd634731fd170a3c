import GRPC
import Primitives
import Protobuf

extension FuzzTarget {
  /// Any bytes as a protobuf message: fields stay within it, groups are skipped whole, and what is
  /// read is the same when it is written again.
  static let protobuf = FuzzTarget("protobuf", seeds: protobufSeeds) { bytes in
    var fields = 0
    try read(bytes, WireReader(bytes.span), depth: 0, &fields)
  }

  /// Goes down into every field of bytes that reads as a message.
  private static func read(
    _ bytes: [UInt8], _ reader: WireReader, depth: Int, _ fields: inout Int
  ) throws {
    var reader = reader
    do throws(WireError) {
      while let field = try reader.next(in: bytes.span) {
        fields += 1
        guard fields <= 16 * bytes.count + 16 else { break }
        _ = try? reader.text(field.value, in: bytes.span)
        var elements = 0
        try? reader.varints(field.value, in: bytes.span) { _ in elements += 1 }
        try? reader.fixed32s(field.value, in: bytes.span) { _ in elements += 1 }
        try? reader.fixed64s(field.value, in: bytes.span) { _ in elements += 1 }
        if elements > 3 * bytes.count + 3 { fatalError("more elements than bytes") }
        writeAgain(field, bytes)
        guard let range = field.value.range else { continue }
        precondition(range.upperBound <= bytes.count, "a field behind the end")
        guard let inner = try? reader.message(range) else { continue }
        // What is no message ends its own reading alone.
        try? read(bytes, inner, depth: depth + 1, &fields)
      }
    } catch {
      return
    }
    try require(depth <= WireLimits.depthMax, "deeper than the limit")
    try require(fields <= 16 * bytes.count + 16, "more fields than the bytes can hold")
  }

  private static func writeAgain(_ field: WireField, _ bytes: [UInt8]) {
    var writer = WireWriter()
    switch field.value {
    case .varint(let value): writer.varint(field.number, value)
    case .fixed64(let value): writer.double(field.number, Double(bitPattern: value))
    case .fixed32(let value): writer.float(field.number, Float(bitPattern: value))
    case .bytes(let range): writer.bytes(field.number, bytes.span.extracting(range))
    }
    let written = writer.bytes
    var reader = WireReader(written.span)
    guard let again = try? reader.next(in: written.span) else {
      fatalError("what was written cannot be read")
    }
    precondition(again.number == field.number, "another number")
    switch (again.value, field.value) {
    case (.bytes(let left), .bytes(let right)):
      precondition(written[left].elementsEqual(bytes[right]), "other bytes")
    default: precondition(again.value == field.value, "another value")
    }
  }

  private static func protobufSeeds() -> [[UInt8]] {
    var writer = WireWriter()
    writer.varint(1, 150)
    writer.int64(2, -1)
    writer.double(3, 0.5)
    writer.float(4, 0.5)
    let text = ascii("text")
    writer.bytes(5, text.span)
    writer.message(6) { inner in
      inner.varint(1, 1)
      inner.message(7) { $0.varint(2, .max) }
    }
    // A group with a field in it; a packed field.
    return [[], writer.bytes, [0x0B, 0x10, 1, 0x0C] + writer.bytes, [0x0A, 3, 1, 0x80, 1]]
  }

  /// Any bytes as the messages of a gRPC call, however they are cut, within the limit.
  static let grpcMessages = FuzzTarget("grpc-messages", seeds: grpcSeeds) { bytes in
    var first: (messages: [[UInt8]], failure: MessageError?)?
    for cut in Cut.allCases {
      let found = deframe(cut.pieces(of: bytes))
      for message in found.messages { try require(message.count <= 64, "beyond the limit") }
      if let first {
        try requireEqual(found.messages, first.messages, "the messages, cut by \(cut)")
        try requireEqual(found.failure, first.failure, "the failure, cut by \(cut)")
      }
      first = found
    }
  }

  private static func deframe(
    _ pieces: [[UInt8]]
  ) -> (messages: [[UInt8]], failure: MessageError?) {
    var deframer = MessageDeframer(limit: 64)
    var messages: [[UInt8]] = []
    do throws(MessageError) {
      for piece in pieces {
        var offset = 0
        while try deframer.receive(piece.span, from: &offset) {
          messages.append(deframer.message.map { $0 })
        }
      }
      try deframer.finish()
      return (messages, nil)
    } catch {
      return (messages, error)
    }
  }

  private static func grpcSeeds() -> [[UInt8]] {
    var body: [UInt8] = []
    for length in [3, 0, 64] {
      MessageFraming.appendPrefix(length: length, to: &body)
      body += [UInt8](repeating: 7, count: length)
    }
    return [body, Array(body.dropLast()), [1, 0, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 0, 0, 65]]
  }
}

import Primitives
import Protobuf

/// `probe json` and `probe wire`: each line of the standard input is bytes in hexadecimal.
enum FormatProbe {
  /// `1` for a JSON text that a strict reader takes, else `0`.
  static func runJSON(_ input: ProbeInput) {
    for line in input.readLines() {
      let text = Hex.decode(line.bytes)
      print(JSONValidator.accepts(text.span) ? "1" : "0")
    }
  }

  /// The fields of a message, `NUMBER varint N`, `NUMBER fixed64 N`, `NUMBER fixed32 N` or
  /// `NUMBER bytes -HEX`, with a semicolon behind each, or `error REASON`.
  static func runWire(_ input: ProbeInput) {
    for line in input.readLines() {
      let bytes = Hex.decode(line.bytes)
      do throws(WireError) {
        print(try fields(bytes))
      } catch {
        print("error \(error.text)")
      }
    }
  }

  private static func fields(_ bytes: [UInt8]) throws(WireError) -> String {
    var text = ""
    var reader = WireReader(bytes.span)
    while let field = try reader.next(in: bytes.span) {
      text += "\(field.number) "
      switch field.value {
      case .varint(let value): text += "varint \(value);"
      case .fixed64(let value): text += "fixed64 \(value);"
      case .fixed32(let value): text += "fixed32 \(value);"
      case .bytes(let range):
        var hex: [UInt8] = []
        Hex.append(bytes.span.extracting(range), to: &hex)
        text += "bytes -" + ByteString(hex).description + ";"
      }
    }
    return text
  }
}

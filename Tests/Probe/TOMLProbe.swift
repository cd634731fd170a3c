import Configuration
import Primitives

/// `probe toml-json`: reads TOML documents, each behind its length in four bytes (big endian), and
/// prints one line for each: the document as tagged JSON, or `! LINE:COLUMN: message` for its first
/// error.
///
///     table  {"key": value, …}      array  [value, …]      scalar  {"type": "…", "value": "…"}
///
/// Types: string, integer, float (the 16 hexadecimal digits of its bits, or `nan`), bool, datetime,
/// datetime-local, date-local, time-local.
///
/// `probe configuration FILE-NAME…`: reads one document for each name and loads them together;
/// prints `valid`, or the diagnostics.
enum TOMLProbe {
  static func runJSON(_ input: ProbeInput) {
    for document in documents(input) {
      let (tree, root, errors) = TOMLTree.parse([(name: "-", bytes: document)])
      if let error = errors.first {
        print("! \(error.line):\(error.column): \(error.message)")
      } else {
        var line: [UInt8] = []
        append(tree, root, to: &line)
        print(ByteString(line).description)
      }
    }
  }

  static func runConfiguration(_ input: ProbeInput) {
    let contents = documents(input)
    guard contents.count == input.arguments.count, !contents.isEmpty else {
      input.fail("as many names as documents are needed")
    }
    var files: [(name: ByteString, bytes: [UInt8])] = []
    for (name, bytes) in zip(input.arguments, contents) { files.append((name: name, bytes: bytes)) }
    switch ConfigurationLoader.load(files: files) {
    case .valid(_, let warnings):
      for warning in warnings { print("warning: " + warning.description) }
      print("valid")
    case .invalid(let errors):
      for error in errors { print(error.description) }
    }
  }

  private static func documents(_ input: ProbeInput) -> [[UInt8]] {
    let bytes = input.readAll()
    var found: [[UInt8]] = []
    var index = 0
    while index + 4 <= bytes.count {
      let length = bytes[index..<index + 4].reduce(0) { $0 << 8 | Int($1) }
      index += 4
      guard length <= bytes.count - index else { input.fail("a document is cut") }
      found.append(Array(bytes[index..<index + length]))
      index += length
    }
    return found
  }

  private static func append(_ tree: TOMLTree, _ node: Int, to json: inout [UInt8]) {
    switch tree[node].value {
    case .table:
      json.append("{")
      for (index, child) in tree.children(of: node).enumerated() {
        if index > 0 { json.append(",") }
        append(text: tree[child].key.bytes, to: &json)
        json.append(":")
        append(tree, child, to: &json)
      }
      json.append("}")
    case .array:
      json.append("[")
      for (index, child) in tree.children(of: node).enumerated() {
        if index > 0 { json.append(",") }
        append(tree, child, to: &json)
      }
      json.append("]")
    case .string(let text): append("string", text.bytes, to: &json)
    case .integer(let value): append("integer", Array("\(value)".utf8), to: &json)
    case .float(let value): append("float", bits(value), to: &json)
    case .boolean(let value): append("bool", Array((value ? "true" : "false").utf8), to: &json)
    case .dateTime(let value): append(value, to: &json)
    case .invalid: append("invalid", [], to: &json)
    }
  }

  private static func append(_ type: String, _ value: [UInt8], to json: inout [UInt8]) {
    json.append("{\"type\":\"" + type + "\",\"value\":")
    append(text: value, to: &json)
    json.append("}")
  }

  /// A JSON string (RFC 8259 §7).
  private static func append(text: [UInt8], to json: inout [UInt8]) {
    json.append("\"")
    for byte in text {
      if byte < 0x20 || byte == 0x7F {
        json.append("\\u00" + hexadecimal(UInt64(byte), digits: 2))
      } else {
        if byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") { json.append("\\") }
        json.append(byte)
      }
    }
    json.append("\"")
  }

  private static func append(_ value: TOMLDateTime, to json: inout [UInt8]) {
    var text = ""
    if let date = value.date {
      text +=
        decimal(Int(date.year), 4) + "-" + decimal(Int(date.month), 2) + "-"
        + decimal(Int(date.day), 2)
    }
    if let time = value.time {
      if value.date != nil { text += "T" }
      text +=
        decimal(Int(time.hour), 2) + ":" + decimal(Int(time.minute), 2) + ":"
        + decimal(Int(time.second), 2) + "." + decimal(Int(time.nanosecond), 9)
    }
    if let offset = value.offset {
      let minutes = Int(offset.magnitude)
      text += (offset < 0 ? "-" : "+") + decimal(minutes / 60, 2) + ":" + decimal(minutes % 60, 2)
    }
    let type =
      value.offset != nil
      ? "datetime"
      : value.time == nil ? "date-local" : value.date == nil ? "time-local" : "datetime-local"
    append(type, Array(text.utf8), to: &json)
  }

  private static func bits(_ value: Double) -> [UInt8] {
    value.isNaN ? Array("nan".utf8) : Array(hexadecimal(value.bitPattern, digits: 16).utf8)
  }

  private static func hexadecimal(_ value: UInt64, digits: Int) -> String {
    let alphabet = Array("0123456789abcdef".utf8)
    var text: [UInt8] = []
    for place in stride(from: digits - 1, through: 0, by: -1) {
      text.append(alphabet[Int(value >> UInt64(place * 4) & 15)])
    }
    return ByteString(text).description
  }

  private static func decimal(_ value: Int, _ digits: Int) -> String {
    var text = Array("\(value)".utf8)
    while text.count < digits { text.insert(UInt8(ascii: "0"), at: 0) }
    return ByteString(text).description
  }
}

import Configuration
import Primitives

extension FuzzTarget {
  /// A TOML document: its errors have places, and one without errors, written again in the plainest
  /// way, is the same document.
  static let toml = FuzzTarget("toml", seeds: tomlSeeds) { bytes in
    let (tree, root, errors) = TOMLTree.parse([(name: "t", bytes: bytes)])
    try requirePlaces(errors, in: [bytes])
    let most = 2 * (bytes.count + 2)
    try require(tree.nodes.count <= most, "\(tree.nodes.count) nodes of \(bytes.count) bytes")
    guard errors.isEmpty else { return }
    let (once, isExact) = written(tree, root)
    let (again, anotherRoot, problems) = TOMLTree.parse([(name: "t", bytes: once)])
    // Keys and elements count against the limits in another way when they are written out.
    try require(
      problems.isEmpty,
      "written and not read: \(problems.first?.description ?? "") \(hexadecimal(once))")
    if isExact {
      try requireEqual(
        hexadecimal(written(again, anotherRoot).bytes), hexadecimal(once), "written twice")
    }
  }

  /// One or two files of configuration: a whole one, or errors with places; the same every time. A
  /// byte 0xFF, which no TOML has, separates the files.
  static let configuration = FuzzTarget("configuration", seeds: configurationSeeds) { bytes in
    let parts = bytes.split(separator: 0xFF, maxSplits: 2, omittingEmptySubsequences: false)
    let files = parts.enumerated().map { (name: ByteString("f\($0)"), bytes: Array($1)) }
    let first = outcome(ConfigurationLoader.load(files: files))
    try requirePlaces(first.diagnostics, in: files.map(\.bytes))
    try require(first.isValid || !first.diagnostics.isEmpty, "invalid without an error")
    let second = outcome(ConfigurationLoader.load(files: files))
    try requireEqual(
      second.diagnostics.map(\.description), first.diagnostics.map(\.description), "read twice")
  }

  private static func outcome(
    _ outcome: ConfigurationLoader.Outcome
  ) -> (isValid: Bool, diagnostics: [Diagnostic]) {
    switch outcome {
    case .valid(_, let warnings): (true, warnings)
    case .invalid(let errors): (false, errors)
    }
  }

  private static func requirePlaces(_ found: [Diagnostic], in files: [[UInt8]]) throws {
    try require(found.count <= 101, "\(found.count) diagnostics")
    var lines: [[ArraySlice<UInt8>]] = []
    for file in files { lines.append(file.split(separator: 10, omittingEmptySubsequences: false)) }
    for diagnostic in found {
      try require(!diagnostic.message.isEmpty, "an empty message")
      let isSomewhere = lines.contains {
        diagnostic.line >= 1 && diagnostic.line <= $0.count
          && diagnostic.column >= 1 && diagnostic.column <= $0[diagnostic.line - 1].count + 1
      }
      try require(isSomewhere, "a place outside of the file: \(diagnostic.description)")
    }
  }

  /// Every key quoted, every table inline. Not exact: a float, whose digits are nobody's business here.
  private static func written(_ tree: TOMLTree, _ root: Int) -> (bytes: [UInt8], isExact: Bool) {
    var bytes: [UInt8] = []
    var isExact = true
    for child in tree.children(of: root) {
      bytes += quoted(tree[child].key.bytes) + ascii(" = ")
      write(tree, child, &bytes, &isExact)
      bytes.append(10)
    }
    return (bytes, isExact)
  }

  private static func write(
    _ tree: TOMLTree, _ node: Int, _ bytes: inout [UInt8], _ isExact: inout Bool
  ) {
    switch tree[node].value {
    case .invalid: isExact = false
    case .table, .array:
      let isTable = if case .table = tree[node].value { true } else { false }
      bytes.append(UInt8(ascii: isTable ? "{" : "["))
      for (index, child) in tree.children(of: node).enumerated() {
        if index > 0 { bytes += ascii(", ") }
        if isTable { bytes += quoted(tree[child].key.bytes) + ascii(" = ") }
        write(tree, child, &bytes, &isExact)
      }
      bytes.append(UInt8(ascii: isTable ? "}" : "]"))
    case .string(let text): bytes += quoted(text.bytes)
    case .integer(let value): bytes += ascii("\(value)")
    case .float(let value): bytes += ascii(float(value))
    case .boolean(let value): bytes += ascii(value ? "true" : "false")
    case .dateTime(let value): bytes += ascii(text(value))
    }
  }

  private static func float(_ value: Double) -> String {
    if value.isNaN { return "nan" }
    if value.isInfinite { return value < 0 ? "-inf" : "inf" }
    return "\(value)"
  }

  private static func quoted(_ text: [UInt8]) -> [UInt8] {
    var bytes: [UInt8] = [0x22]
    for byte in text {
      if byte < 0x20 || byte == 0x7F {
        bytes += ascii("\\u00") + ascii(hexadecimal([byte]))
      } else {
        if byte == 0x22 || byte == 0x5C { bytes.append(0x5C) }
        bytes.append(byte)
      }
    }
    return bytes + [0x22]
  }

  private static func text(_ value: TOMLDateTime) -> String {
    var text = ""
    if let date = value.date {
      text +=
        padded(Int(date.year), 4) + "-" + padded(Int(date.month), 2) + "-"
        + padded(Int(date.day), 2)
    }
    if let time = value.time {
      if value.date != nil { text += "T" }
      text +=
        padded(Int(time.hour), 2) + ":" + padded(Int(time.minute), 2) + ":"
        + padded(Int(time.second), 2) + "." + padded(Int(time.nanosecond), 9)
    }
    if let offset = value.offset {
      let minutes = Int(offset.magnitude)
      text += (offset < 0 ? "-" : "+") + padded(minutes / 60, 2) + ":" + padded(minutes % 60, 2)
    }
    return text
  }

  private static func padded(_ value: Int, _ digits: Int) -> String {
    let text = "\(value)"
    return String(repeating: "0", count: max(digits - text.count, 0)) + text
  }

  private static func tomlSeeds() -> [[UInt8]] {
    let texts = [
      "a = 1\n[b.c]\n\"d e\" = 'x'\n[[f]]\ng.h = true\n[[f]]\n",
      "i = [0x1F, 0o17, 0b11, 1_000, -0]\nf = [1.5, -2e3, inf, -nan, 6.626e-34]\n",
      "d = 1979-05-27T07:32:00.999999-07:00\nl = 1979-05-27 07:32:00\ne = 07:32:00\nb = 1979-05-27",
      "s = \"\"\"\na\\\n   b \\u00e9 \\U0001F600 \"\"\"\"\nt = '''\n'it''s'''\r\n# comment\n",
      "p = { x = 1, y.z = [ { }, [ ] ] }\nt = [\n 1, # one\n 2,\n]\n", "[a]\n[a.b]\n[a]\n",
      "a.b = 1\na.b.c = 2\n", "\"\" = \"\\\"\\\\\\b\\t\\n\\f\\r\"",
    ]
    return texts.map(ascii)
  }

  private static func configurationSeeds() -> [[UInt8]] {
    let node = "[node]\nid = \"n\"\n"
    let stream = "[[stream]]\nname = \"s\"\ntarget = \"https://h.example:443\"\npath = \"/\"\n"
    let texts = [
      node + stream,
      node + stream + "headers = { \"x-a\" = \"b\" }\npriority = \"alarm\"\ndurability = \"sync\"\n"
        + "ttl = \"24h\"\nbatch = { records = 1, bytes = \"64KiB\", linger = \"0ms\" }\n",
      node + stream + "[[serial]]\nname = \"p\"\ndevice = \"/dev/ttyS0\"\nbaud = 9600\n"
        + "stream = \"s\"\nframing = \"nmea\"\nparity = \"even\"\n",
      node + stream + "[mqtt]\nbroker = \"mqtt://127.0.0.1:1883\"\n[[mqtt.subscribe]]\n"
        + "filter = \"a/+/b\"\nqos = 1\nstream = \"s\"\n",
      node + stream + "[spool]\ndirectory = \"/s\"\nsize = \"48MiB\"\nsegment = \"256KiB\"\n"
        + "commit = { bytes = \"64KiB\", interval = \"30s\", sync_interval = \"50ms\" }\n"
        + "[admin]\nsocket = \"/a\"\nlisten = \"127.0.0.1:9901\"\n[log]\nlevel = \"info\"\n"
        + "[reports]\nstream = \"s\"\n[memory]\nbudget = \"6MiB\"\n",
      node + stream + "tls = \"t\"\n[tls.t]\nca = \"/c\"\nminimum = \"1.2\"\n",
    ]
    return texts.map(ascii) + [ascii(texts[0]) + [0xFF] + ascii(stream) + [0xFF] + ascii(node)]
  }
}

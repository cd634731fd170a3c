import Primitives

/// Strings with a form of their own.
extension SchemaReader {
  /// 1 to 64 characters of `A-Z a-z 0-9 . _ -`: goes into header values and statistics names.
  mutating func name(_ table: SchemaTable, _ key: StaticString) -> ByteString? {
    guard let (text, node) = string(table, key, isRequired: true) else { return nil }
    return isName(text, node, subject(node, table)) ? text : nil
  }

  /// Reports at `node` when `text` cannot be a name.
  mutating func isName(_ text: ByteString, _ node: Int, _ what: String) -> Bool {
    let isValid =
      (1...ConfigurationLimits.nameBytesMax).contains(text.count)
      && text.bytes.allSatisfy { ASCII.isBareKey($0) || $0 == UInt8(ascii: ".") }
    if !isValid {
      report(
        node,
        "\(what) is \(quoted(text)), but must be 1 to \(ConfigurationLimits.nameBytesMax) "
          + "characters of A-Z a-z 0-9 . _ -")
    }
    return isValid
  }

  /// A file name: not empty, no NUL, not longer than the system takes. A line break tells that it is the
  /// contents of a file, a key perhaps, which later messages would show.
  mutating func path(
    _ table: SchemaTable, _ key: StaticString, isRequired: Bool = false,
    limit: Int = ConfigurationLimits.pathBytesMax
  ) -> ByteString? {
    guard let (text, node) = string(table, key, isRequired: isRequired) else { return nil }
    guard !text.isEmpty && text.count <= limit && !text.bytes.contains(0),
      !text.bytes.contains(UInt8(ascii: "\n")), !text.hasPrefix("-----BEGIN")
    else {
      report(
        node, "\(subject(node, table)) must be a file name of 1 to \(limit) bytes")
      return nil
    }
    return text
  }

  /// Characters U+0021 to U+007E, with `allowsSpaces` also single spaces inside.
  mutating func visible(
    _ table: SchemaTable, _ key: StaticString, limit: Int, allowsSpaces: Bool = false
  ) -> (text: ByteString, node: Int)? {
    guard let (text, node) = string(table, key) else { return nil }
    guard isVisible(text, limit: limit, allowsSpaces: allowsSpaces) else {
      report(
        node,
        "\(subject(node, table)) must be 1 to \(limit) visible ASCII characters")
      return nil
    }
    return (text, node)
  }

  func isVisible(_ text: ByteString, limit: Int, allowsSpaces: Bool) -> Bool {
    guard let first = text.bytes.first, let last = text.bytes.last, text.count <= limit else {
      return false
    }
    let space = UInt8(ascii: " ")
    return first != space && last != space
      && text.bytes.allSatisfy { (0x21...0x7E).contains($0) || (allowsSpaces && $0 == space) }
  }

  /// An index into a list of names.
  mutating func reference(
    _ table: SchemaTable, _ key: StaticString, to names: [ByteString], _ what: String,
    isRequired: Bool = false
  ) -> Int? {
    guard let (text, node) = string(table, key, isRequired: isRequired) else { return nil }
    if !text.isEmpty, let index = names.firstIndex(of: text) { return index }
    guard isComplete else { return nil }
    report(
      node,
      "\(subject(node, table)): there is no \(what) \(quoted(text))"
        + suggestion(text, among: names.filter { !$0.isEmpty }))
    return nil
  }

  /// The index of the stream that a source feeds.
  mutating func streamReference(_ table: SchemaTable, isRequired: Bool = true) -> Int? {
    let index = reference(
      table, "stream", to: streamNames, "[[stream]] named", isRequired: isRequired)
    if let index { usedStreams[index] = true }
    return index
  }

  mutating func tlsReference(_ table: SchemaTable) -> Int? {
    let index = reference(table, "tls", to: tlsNames, "table [tls.NAME] named")
    if let index { usedTLS[index] = true }
    return index
  }

  /// The `name` of each table, checked for duplicates; empty where there is none.
  mutating func names(of tables: [SchemaTable]) -> [ByteString] {
    var names: [ByteString] = []
    for index in tables.indices {
      guard let node = tree.child(of: tables[index].node, "name"),
        case .string(let text) = tree[node].value
      else {
        names.append(ByteString())
        continue
      }
      if !text.isEmpty, let first = names.firstIndex(of: text) {
        report(
          node,
          "a second \(tables[index].label) is named \(quoted(text)); "
            + "the first is at \(place(of: tables[first].node))")
      }
      names.append(text)
    }
    return names
  }

  /// `line 12`: where another table stands. The message's own file is in front of it, unless the
  /// other one is elsewhere.
  func place(of node: Int) -> String {
    let line = tree.position(file: tree[node].file, offset: tree[node].offset).line
    return "\(tree.fileNames[tree[node].file].description):\(line)"
  }
}

import Primitives

/// One part of a dotted key, with its place.
struct TOMLKeyPart {
  var name: ByteString
  var offset: Int
}

/// Headers, keys, and the rules against defining a table twice. A key that is already defined is
/// reported without ending the statement: its value is still read, into a detached node.
extension TOMLParser {
  mutating func parseHeader() throws(TOMLError) {
    let start = index
    index += 1
    let isArray = skip(UInt8(ascii: "["))
    // Until the header is known to be good, its keys go nowhere.
    tree[scratch].firstChild = nil
    tree[scratch].lastChild = nil
    table = scratch
    section += 1
    let parts = try parseKey()
    skipBlanks()
    guard skip(UInt8(ascii: "]")) else {
      throw TOMLError(
        offset: index, message: "expected ']' behind the table's name, found \(found())")
    }
    if isArray && !skip(UInt8(ascii: "]")) {
      throw TOMLError(
        offset: index, message: "expected ']]' behind the table's name, found \(found())")
    }
    guard let parent = try descendHeader(parts) else { return }
    let last = parts[parts.count - 1]
    if isArray {
      try defineElement(of: parent, last, header: start)
    } else {
      try defineTable(in: parent, last, header: start)
    }
  }

  mutating func parseKeyValue(into base: Int) throws(TOMLError) {
    let parts = try parseKey()
    skipBlanks()
    guard skip(UInt8(ascii: "=")) else {
      throw TOMLError(offset: index, message: "expected '=' behind the key, found \(found())")
    }
    skipBlanks()
    let node = try defineKey(in: base, parts)
    try parseValue(into: node)
  }

  /// `part *( "." part )`, blanks around the dots.
  private mutating func parseKey() throws(TOMLError) -> [TOMLKeyPart] {
    var parts: [TOMLKeyPart] = []
    repeat {
      skipBlanks()
      parts.append(try parseKeyPart())
      skipBlanks()
      guard parts.count <= ConfigurationLimits.nestingMax else {
        throw nestingError(parts[0].offset)
      }
    } while skip(UInt8(ascii: "."))
    return parts
  }

  private mutating func parseKeyPart() throws(TOMLError) -> TOMLKeyPart {
    let start = index
    switch peek() {
    case UInt8(ascii: "\""):
      return TOMLKeyPart(name: ByteString(try parseBasicString()), offset: start)
    case UInt8(ascii: "'"):
      return TOMLKeyPart(name: ByteString(try parseLiteralString()), offset: start)
    default:
      while let byte = peek(), ASCII.isBareKey(byte) { index += 1 }
      guard index > start else {
        throw TOMLError(offset: index, message: "expected a key, found \(found())")
      }
      return TOMLKeyPart(name: ByteString(Array(bytes[start..<index])), offset: start)
    }
  }

  /// The table that holds the last part of a header; nil: the way there is blocked, and reported.
  private mutating func descendHeader(_ parts: [TOMLKeyPart]) throws(TOMLError) -> Int? {
    var node = root
    for part in parts.dropLast() {
      guard let child = tree.child(of: node, named: part.name) else {
        node = try add(part, to: node, form: .implicit)
        continue
      }
      if tree[child].form == .arrayOfTables {
        node = tree[child].lastChild ?? child
      } else if case .table = tree[child].value, tree[child].form != .closed {
        node = child
      } else {
        reportClosed(part, child)
        return nil
      }
    }
    return node
  }

  private mutating func defineTable(
    in parent: Int, _ part: TOMLKeyPart, header: Int
  ) throws(TOMLError) {
    guard let existing = tree.child(of: parent, named: part.name) else {
      table = try add(part, to: parent, form: .header)
      tree[table].offset = header
      return
    }
    guard tree[existing].form == .implicit else {
      return report(
        part.offset, "\(quoted(part.name)) is already defined at line \(line(of: existing))")
    }
    tree[existing].form = .header
    tree[existing].offset = header
    table = existing
  }

  private mutating func defineElement(
    of parent: Int, _ part: TOMLKeyPart, header: Int
  ) throws(TOMLError) {
    let array: Int
    if let existing = tree.child(of: parent, named: part.name) {
      guard tree[existing].form == .arrayOfTables else {
        return report(
          part.offset,
          "\(quoted(part.name)) is already defined at line \(line(of: existing)), "
            + "and not as an array of tables")
      }
      array = existing
    } else {
      array = try add(part, to: parent, form: .arrayOfTables)
      tree[array].value = .array
      tree[array].offset = header
    }
    guard let element = tree.addChild(array, key: nil, file: file, offset: header) else {
      throw limitError(array, header)
    }
    tree[element].value = .table
    tree[element].form = .header
    table = element
  }

  /// The node for the value of a (dotted) key; a detached one when the key cannot be defined.
  private mutating func defineKey(
    in base: Int, _ parts: [TOMLKeyPart]
  ) throws(TOMLError) -> Int {
    var node = base
    for part in parts.dropLast() {
      guard let child = tree.child(of: node, named: part.name) else {
        node = try add(part, to: node, form: .dotted(section: section))
        continue
      }
      switch tree[child].form {
      case .implicit: tree[child].form = .dotted(section: section)
      case .dotted(section): break
      default:
        reportClosed(part, child)
        return try detachedTable(part.offset)
      }
      node = child
    }
    let last = parts[parts.count - 1]
    if let existing = tree.child(of: node, named: last.name) {
      report(last.offset, "\(quoted(last.name)) is already set at line \(line(of: existing))")
      return try detachedTable(last.offset)
    }
    let added = try add(last, to: node, form: .closed)
    tree[added].value = .invalid
    return added
  }

  private mutating func add(
    _ part: TOMLKeyPart, to parent: Int, form: TOMLForm
  ) throws(TOMLError) -> Int {
    guard
      let node = tree.addChild(parent, key: part.name, file: file, offset: part.offset)
    else {
      throw limitError(parent, part.offset)
    }
    tree[node].value = .table
    tree[node].form = form
    return node
  }

  /// For keys that cannot be defined. These nodes count for no limit: the problems do.
  private mutating func detachedTable(_ offset: Int) throws(TOMLError) -> Int {
    guard findings.count <= ConfigurationLimits.diagnosticsMax else {
      throw TOMLError(offset: offset, message: "too many problems", isFatal: true)
    }
    return tree.addDetached(file: file, offset: offset)
  }

  private mutating func reportClosed(_ part: TOMLKeyPart, _ existing: Int) {
    let name = quoted(part.name)
    let place = "line \(line(of: existing))"
    switch tree[existing].value {
    case .table where tree[existing].form == .closed:
      report(part.offset, "\(name) is an inline table (\(place)): nothing can be added to it")
    case .table:
      report(part.offset, "the table \(name) is already defined at \(place)")
    case .array where tree[existing].form == .arrayOfTables:
      report(part.offset, "\(name) is an array of tables (\(place)): dotted keys cannot add to it")
    case .array:
      report(part.offset, "\(name) is an array (\(place)): nothing can be added to it")
    default:
      report(part.offset, "\(name) is not a table: it is set at \(place)")
    }
  }

  private func line(of node: Int) -> Int {
    tree.position(file: tree[node].file, offset: tree[node].keyOffset).line
  }

  /// Why `parent` takes no further child.
  func limitError(_ parent: Int, _ offset: Int) -> TOMLError {
    if tree[parent].depth >= ConfigurationLimits.nestingMax { return nestingError(offset) }
    return TOMLError(
      offset: offset,
      message: "more than \(ConfigurationLimits.keysMax) keys or "
        + "\(ConfigurationLimits.elementsMax) array elements", isFatal: true)
  }

  private func nestingError(_ offset: Int) -> TOMLError {
    TOMLError(
      offset: offset, message: "nested deeper than \(ConfigurationLimits.nestingMax) levels")
  }
}

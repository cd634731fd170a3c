import Primitives

/// A table of the files while it is read: where it stands, and what messages call it. It never changes,
/// and is shared: hundreds of calls hand it on.
final class SchemaTable: Sendable {
  let node: Int
  /// `[spool]`, `[[serial]]`, …; empty: the whole file.
  let label: String

  init(node: Int, label: String) {
    self.node = node
    self.label = label
  }
}

/// Turns the merged tree into a `Configuration`. Every problem is reported and reading goes on; the
/// value that comes out is only used when there was none. The helpers that every key needs are kept
/// out of line: the schema is read once, and its code should be small. For the same reason the names of
/// keys are constants, and lists of names are words in one constant.
struct SchemaReader {
  let tree: TOMLTree
  /// False: a file had syntax errors, so that a key or a name that is not there may only be
  /// unreadable. Such follow-up errors are not reported.
  let isComplete: Bool
  var errors: [Finding] = []
  var warnings: [Finding] = []
  /// The names that other tables refer to, by index. A table without a name has an empty one.
  var streamNames: [ByteString] = []
  var tlsNames: [ByteString] = []
  /// Which of them something refers to.
  var usedStreams: [Bool] = []
  var usedTLS: [Bool] = []
  /// The listeners that streams name, and where.
  var listenerTargets: [(name: ByteString, node: Int)] = []

  init(tree: TOMLTree, isComplete: Bool) {
    self.tree = tree
    self.isComplete = isComplete
  }

  // MARK: Reports

  /// `'size' in [spool]`: a key of a table.
  @inline(never)
  func subject(_ node: Int, _ table: SchemaTable) -> String {
    "\(quoted(tree[node].key)) in \(table.label)"
  }

  /// A problem with the value of a key.
  @inline(never)
  mutating func report(_ node: Int, _ message: String) {
    errors.append(Finding(file: tree[node].file, offset: tree[node].offset, message: message))
  }

  /// A problem with the key itself.
  @inline(never)
  mutating func reportKey(_ node: Int, _ message: String) {
    errors.append(Finding(file: tree[node].file, offset: tree[node].keyOffset, message: message))
  }

  mutating func warn(_ node: Int, _ message: String) {
    warnings.append(Finding(file: tree[node].file, offset: tree[node].offset, message: message))
  }

  @inline(never)
  mutating func reportKind(
    _ table: SchemaTable, _ key: StaticString, _ node: Int, _ expected: String
  ) {
    reportKind(table, named: ByteString(key), node, expected)
  }

  @inline(never)
  mutating func reportKind(
    _ table: SchemaTable, named key: ByteString, _ node: Int, _ expected: String
  ) {
    let place = table.label.isEmpty ? "" : " in " + table.label
    report(
      node,
      "\(quoted(key))\(place) must be \(expected), found \(tree[node].value.kind)")
  }

  @inline(never)
  mutating func reportMissing(_ table: SchemaTable, _ key: StaticString) {
    report(table.node, "missing key \(quoted(ByteString(key))) in \(table.label)")
  }

  // MARK: Tables

  /// Reports the keys of a table that the schema does not have. `later` ones are known by name.
  @inline(never)
  mutating func checkKeys(
    _ table: SchemaTable, _ known: StaticString, later: StaticString = ""
  ) {
    checkKeys(table, words(known), later: words(later))
  }

  @inline(never)
  mutating func checkKeys(_ table: SchemaTable, _ known: [ByteString], later: [ByteString] = []) {
    for child in tree.children(of: table.node) {
      let key = tree[child].key
      if known.contains(key) { continue }
      if later.contains(key) {
        reportKey(
          child, "\(laterName(child, table)) is not available in this version")
        continue
      }
      let hint = nearest(key, among: known).map { ", did you mean \(quoted($0))?" } ?? ""
      let place = table.label.isEmpty ? "" : " in " + table.label
      reportKey(child, "unknown key \(quoted(key))\(place)\(hint)")
    }
  }

  /// A top-level table as it is written, any other key by its name and table.
  private func laterName(_ node: Int, _ table: SchemaTable) -> String {
    guard table.label.isEmpty else { return subject(node, table) }
    let key = tree[node].key.description
    if case .array = tree[node].value { return "[[" + key + "]]" }
    return "[" + key + "]"
  }

  /// The value of a key; nil when it is not there, or is already reported as a syntax error.
  @inline(never)
  mutating func find(_ table: SchemaTable, _ key: StaticString, isRequired: Bool = false) -> Int? {
    guard let node = tree.child(of: table.node, key) else {
      if isRequired && isComplete { reportMissing(table, key) }
      return nil
    }
    if case .invalid = tree[node].value { return nil }
    return node
  }

  @inline(never)
  mutating func table(_ table: SchemaTable, _ key: StaticString, label: String) -> SchemaTable? {
    guard let node = find(table, key) else { return nil }
    guard case .table = tree[node].value else {
      reportKind(table, key, node, "a table")
      return nil
    }
    return SchemaTable(node: node, label: label)
  }

  /// The elements of an array of tables.
  mutating func tables(
    _ table: SchemaTable, _ key: StaticString, label: String, limit: Int
  ) -> [SchemaTable] {
    guard let node = find(table, key) else { return [] }
    guard case .array = tree[node].value else {
      reportKind(table, key, node, "an array of tables, \(label)")
      return []
    }
    var found: [SchemaTable] = []
    for element in tree.children(of: node) {
      guard case .table = tree[element].value else {
        reportKind(table, key, element, "an array of tables, \(label)")
        continue
      }
      guard found.count < limit else {
        report(element, "more than \(limit) \(label) tables")
        break
      }
      found.append(SchemaTable(node: element, label: label))
    }
    return found
  }

  // MARK: Values

  @inline(never)
  mutating func string(
    _ table: SchemaTable, _ key: StaticString, isRequired: Bool = false
  ) -> (text: ByteString, node: Int)? {
    guard let node = find(table, key, isRequired: isRequired), let text = string(table, at: node)
    else { return nil }
    return (text, node)
  }

  /// The string that a key of a table has.
  mutating func string(_ table: SchemaTable, at node: Int) -> ByteString? {
    guard case .string(let text) = tree[node].value else {
      reportKind(table, named: tree[node].key, node, "a string")
      return nil
    }
    return text
  }

  @inline(never)
  mutating func boolean(_ table: SchemaTable, _ key: StaticString) -> Bool? {
    guard let node = find(table, key) else { return nil }
    guard case .boolean(let value) = tree[node].value else {
      reportKind(table, key, node, "true or false")
      return nil
    }
    return value
  }

  @inline(never)
  mutating func integer(
    _ table: SchemaTable, _ key: StaticString, _ range: ClosedRange<Int64>,
    isRequired: Bool = false
  ) -> Int64? {
    guard let node = find(table, key, isRequired: isRequired) else { return nil }
    return integer(table, at: node, range)
  }

  /// The integer that a key of a table has.
  mutating func integer(
    _ table: SchemaTable, at node: Int, _ range: ClosedRange<Int64>
  ) -> Int64? {
    guard case .integer(let value) = tree[node].value else {
      reportKind(table, named: tree[node].key, node, "an integer")
      return nil
    }
    guard range.contains(value) else {
      reportRange(table, node, "\(value)", "\(range.lowerBound)", "\(range.upperBound)")
      return nil
    }
    return value
  }

  @inline(never)
  mutating func duration(
    _ table: SchemaTable, _ key: StaticString, _ range: ClosedRange<Interval>
  ) -> Interval? {
    let form = "a duration such as \"250ms\", \"15s\" or \"24h\""
    guard let (text, node) = quantity(table, key, form) else { return nil }
    guard let value = parseDuration(text) else {
      reportForm(table, node, form, text)
      return nil
    }
    guard range.contains(value) else {
      reportRange(
        table, node, durationText(value), durationText(range.lowerBound),
        durationText(range.upperBound))
      return nil
    }
    return value
  }

  @inline(never)
  mutating func size(
    _ table: SchemaTable, _ key: StaticString, _ range: ClosedRange<UInt64>
  ) -> UInt64? {
    let form = "a size such as \"512B\", \"64KiB\" or \"8MiB\""
    guard let (text, node) = quantity(table, key, form) else { return nil }
    guard let value = parseSize(text) else {
      reportForm(table, node, form, text)
      return nil
    }
    guard range.contains(value) else {
      reportRange(
        table, node, sizeText(value), sizeText(range.lowerBound), sizeText(range.upperBound))
      return nil
    }
    return value
  }

  /// The index of one of a closed set of words.
  @inline(never)
  mutating func choice(_ table: SchemaTable, _ key: StaticString, _ names: StaticString) -> Int? {
    choice(table, key, words(names))
  }

  @inline(never)
  mutating func choice(_ table: SchemaTable, _ key: StaticString, _ names: [ByteString]) -> Int? {
    guard let (text, node) = string(table, key) else { return nil }
    if let index = names.firstIndex(of: text) { return index }
    reportForm(table, node, alternatives(names), text, suggestion(text, among: names))
    return nil
  }

  /// The text of a number with a unit.
  private mutating func quantity(
    _ table: SchemaTable, _ key: StaticString, _ form: String
  ) -> (text: ByteString, node: Int)? {
    guard let node = find(table, key) else { return nil }
    guard case .string(let text) = tree[node].value else {
      reportKind(table, key, node, form)
      return nil
    }
    return (text, node)
  }

  @inline(never)
  private mutating func reportForm(
    _ table: SchemaTable, _ node: Int, _ form: String, _ text: ByteString, _ hint: String = ""
  ) {
    report(node, "\(subject(node, table)) must be \(form), found \(quoted(text))\(hint)")
  }

  @inline(never)
  private mutating func reportRange(
    _ table: SchemaTable, _ node: Int, _ value: String, _ low: String, _ high: String
  ) {
    report(
      node,
      "\(subject(node, table)) is \(value), but must be from \(low) to \(high)")
  }

  /// `, did you mean 'x'?` when a name is near enough to be meant.
  @inline(never)
  func suggestion(_ text: ByteString, among names: [ByteString]) -> String {
    guard let name = nearest(text, among: names),
      editDistance(Array(text.bytes.prefix(64)), name.bytes) <= max(2, name.count / 2)
    else { return "" }
    return ", did you mean \(quoted(name))?"
  }
}

import Primitives

/// The files as one tree. All nodes live in one array and refer to each other by index, so that a
/// table can grow while it is looked at, and files can be merged by relinking.
package struct TOMLTree: Sendable {
  package private(set) var nodes: [TOMLNode] = []
  package private(set) var fileNames: [ByteString] = []
  /// The bytes of each file, to turn offsets into lines and columns.
  package private(set) var sources: [[UInt8]] = []
  private(set) var keys = 0
  private(set) var elements = 0
  /// A file has so many problems that it was not read to its end.
  var isCut = false

  package init() {}

  package subscript(_ node: Int) -> TOMLNode {
    get { nodes[node] }
    set { nodes[node] = newValue }
  }

  mutating func addSource(_ name: ByteString, _ bytes: [UInt8]) -> Int {
    fileNames.append(name)
    sources.append(bytes)
    return sources.count - 1
  }

  /// A table that hangs nowhere: a root, or what stands behind a wrong header.
  mutating func addDetached(file: Int, offset: Int) -> Int {
    nodes.append(TOMLNode(key: ByteString(), file: file, offset: offset, depth: 0))
    nodes[nodes.count - 1].value = .table
    nodes[nodes.count - 1].form = .header
    return nodes.count - 1
  }

  /// A new last child of a table (`key`) or of an array (no key); nil: a limit is reached.
  mutating func addChild(_ parent: Int, key: ByteString?, file: Int, offset: Int) -> Int? {
    guard nodes[parent].depth < ConfigurationLimits.nestingMax else { return nil }
    guard key == nil || keys < ConfigurationLimits.keysMax else { return nil }
    guard key != nil || elements < ConfigurationLimits.elementsMax else { return nil }
    if key != nil { keys += 1 } else { elements += 1 }
    nodes.append(
      TOMLNode(
        key: key ?? ByteString(), file: file, offset: offset, depth: nodes[parent].depth + 1))
    link(nodes.count - 1, under: parent)
    return nodes.count - 1
  }

  /// Makes a node the last child of a table or array.
  mutating func link(_ node: Int, under parent: Int) {
    nodes[node].next = nil
    if let last = nodes[parent].lastChild {
      nodes[last].next = node
    } else {
      nodes[parent].firstChild = node
    }
    nodes[parent].lastChild = node
  }

  /// The members of a table, or the elements of an array, in the order of the file.
  package func children(of node: Int) -> [Int] {
    var found: [Int] = []
    var next = nodes[node].firstChild
    while let child = next {
      found.append(child)
      next = nodes[child].next
    }
    return found
  }

  /// The member of a table with this key.
  package func child(of table: Int, _ key: StaticString) -> Int? {
    child(of: table, named: ByteString(key))
  }

  /// The member of a table with a key that is no constant.
  package func child(of table: Int, named key: ByteString) -> Int? {
    let hash = TOMLNode.hash(key)
    var next = nodes[table].firstChild
    while let child = next {
      if nodes[child].keyHash == hash && nodes[child].key == key { return child }
      next = nodes[child].next
    }
    return nil
  }

  /// Line and column (Unicode scalars), both from 1. A byte that is not UTF-8 counts as one column.
  package func position(file: Int, offset: Int) -> (line: Int, column: Int) {
    var line = 1
    var column = 1
    let bytes = sources[file]
    for index in 0..<min(offset, bytes.count) {
      if bytes[index] == UInt8(ascii: "\n") {
        line += 1
        column = 1
      } else if bytes[index] & 0xC0 != 0x80 {
        column += 1
      }
    }
    return (line, column)
  }
}

/// One key with its value, one array element, or a root.
package struct TOMLNode: Sendable {
  package var key: ByteString
  package var value: TOMLValue = .invalid
  /// How a table or an array came about: decides what may still be added to it.
  var form: TOMLForm = .closed
  var file: Int
  /// Where the key begins.
  var keyOffset: Int
  /// Where the value begins; for a table the `[` of its header.
  var offset: Int
  let depth: Int
  let keyHash: UInt32
  var firstChild: Int?
  var lastChild: Int?
  var next: Int?

  init(key: ByteString, file: Int, offset: Int, depth: Int) {
    self.key = key
    self.file = file
    self.keyOffset = offset
    self.offset = offset
    self.depth = depth
    self.keyHash = TOMLNode.hash(key)
  }

  /// FNV-1a: only tells keys apart quickly, so that 4096 keys in one table stay cheap.
  static func hash(_ key: ByteString) -> UInt32 {
    var hash: UInt32 = 2_166_136_261
    for byte in key.bytes { hash = (hash ^ UInt32(byte)) &* 16_777_619 }
    return hash
  }
}

/// The value of a node. Tables and arrays are the node's children.
package enum TOMLValue: Sendable {
  /// The value had a syntax error, which is already reported.
  case invalid
  case table
  case array
  case string(ByteString)
  case integer(Int64)
  case float(Double)
  case boolean(Bool)
  case dateTime(TOMLDateTime)

  /// For "expected a string, found an integer".
  var kind: String {
    switch self {
    case .invalid: return "an invalid value"
    case .table: return "a table"
    case .array: return "an array"
    case .string: return "a string"
    case .integer: return "an integer"
    case .float: return "a float"
    case .boolean: return "a boolean"
    case .dateTime: return "a date or time"
    }
  }
}

/// How a table or an array came about (TOML 1.0, "Table" and "Array of Tables").
enum TOMLForm: Sendable, Equatable {
  /// A value, an inline table or an array in brackets: nothing may be added.
  case closed
  /// A super-table of some header: a header or dotted keys may still define it, once.
  case implicit
  /// Defined by its own header.
  case header
  /// Defined by dotted keys below one header: only dotted keys there may add to it.
  case dotted(section: Int)
  /// `[[name]]`: more elements may follow.
  case arrayOfTables
}

/// A date, a time of day, or both, with an offset or without.
package struct TOMLDateTime: Sendable, Equatable {
  package struct Date: Sendable, Equatable {
    package var year: UInt16
    package var month: UInt8
    package var day: UInt8
  }
  package struct Time: Sendable, Equatable {
    package var hour: UInt8
    package var minute: UInt8
    package var second: UInt8
    /// Further digits are cut, as TOML 1.0 says.
    package var nanosecond: UInt32
  }
  package var date: Date?
  package var time: Time?
  /// Minutes east of UTC; nil: local.
  package var offset: Int16?
}

import Primitives

/// From the bytes of the files to a `Configuration`. Reads no file itself.
public enum ConfigurationLoader {
  /// A whole configuration, or everything that is wrong with the files.
  public enum Outcome: Sendable {
    case valid(Configuration, warnings: [Diagnostic])
    /// At least one, in the order of the files, and in each by place.
    case invalid([Diagnostic])
  }

  /// The first file is the main one, the others extend it in their order: arrays of tables are
  /// appended, tables are merged key by key, and of a key set twice the later file's value holds.
  public static func load(files: [(name: ByteString, bytes: [UInt8])]) -> Outcome {
    precondition(!files.isEmpty, "configuration: a main file is needed")
    guard files.count <= ConfigurationLimits.filesMax else {
      let limit = ConfigurationLimits.filesMax
      return .invalid([
        Diagnostic(
          file: files[limit].name, line: 1, column: 1,
          message: "more than \(limit) configuration files")
      ])
    }
    var (tree, root, errors) = TOMLTree.read(files)
    var reader = SchemaReader(tree: tree, isComplete: errors.isEmpty)
    let configuration = reader.read(root)
    if errors.isEmpty, reader.errors.isEmpty {
      reader.checkBudget(configuration, SchemaTable(node: root, label: ""))
    }
    errors += reader.errors
    guard errors.isEmpty else { return .invalid(tree.diagnostics(errors)) }
    return .valid(configuration, warnings: tree.diagnostics(reader.warnings))
  }

  /// `FILE:LINE:COLUMN: ` of the value of a key, for what is found out about it later: its names from the
  /// outermost table in. Of a key that is not there it is the place of its table; of no table, empty.
  public static func place(
    of key: [ByteString], in files: [(name: ByteString, bytes: [UInt8])]
  ) -> String {
    let (tree, root, _) = TOMLTree.read(files)
    var node = root
    for name in key {
      guard let child = tree.child(of: node, named: name) else { break }
      node = child
    }
    guard node != root else { return "" }
    let found = Finding(file: tree[node].file, offset: tree[node].offset, message: "")
    return tree.diagnostics([found])[0].description
  }
}

extension TOMLTree {
  /// The files as one tree: its root, and the syntax errors.
  package static func parse(
    _ files: [(name: ByteString, bytes: [UInt8])]
  ) -> (tree: TOMLTree, root: Int, errors: [Diagnostic]) {
    let (tree, root, errors) = read(files)
    return (tree, root, tree.diagnostics(errors))
  }

  static func read(
    _ files: [(name: ByteString, bytes: [UInt8])]
  ) -> (tree: TOMLTree, root: Int, errors: [Finding]) {
    var tree = TOMLTree()
    var errors: [Finding] = []
    var root = 0
    for (name, bytes) in files {
      let file = tree.addSource(name, bytes)
      var parser = TOMLParser(file: file, bytes: bytes, into: tree)
      parser.parseDocument()
      errors += parser.findings
      tree = parser.tree
      if parser.findings.count > ConfigurationLimits.diagnosticsMax { tree.isCut = true }
      if file == 0 { root = parser.root } else { tree.merge(parser.root, into: root) }
    }
    return (tree, root, errors)
  }

  /// Findings in file order, with line and column.
  func diagnostics(_ findings: [Finding]) -> [Diagnostic] {
    let limit = ConfigurationLimits.diagnosticsMax
    var sorted = Array(findings.indices)
    sorted.heapSort { left, right in
      let (first, second) = (findings[left], findings[right])
      return (first.file, first.offset, left) < (second.file, second.offset, right)
    }
    var found: [Diagnostic] = []
    for index in sorted.prefix(limit) {
      let finding = findings[index]
      let place = position(file: finding.file, offset: finding.offset)
      found.append(
        Diagnostic(
          file: fileNames[finding.file], line: place.line, column: place.column,
          message: finding.message))
    }
    if sorted.count > limit, var last = found.last {
      let least = isCut ? "at least " : ""
      last.message = "further problems that are not shown: \(least)\(sorted.count - limit)"
      found.append(last)
    }
    return found
  }
}

extension SchemaReader {
  /// The whole tree. What is referred to is read before what refers to it.
  mutating func read(_ node: Int) -> Configuration {
    let root = SchemaTable(node: node, label: "")
    checkKeys(
      root,
      "node memory spool tls xds serial mqtt stream reports admin log", later: "downlink")
    var configuration = Configuration(node: readNode(root))
    configuration.memory = readMemory(root)
    configuration.spool = readSpool(root, budget: configuration.memory.budget)
    configuration.tls = readTLS(root)
    configuration.xds = readXDS(root)
    let streams = streamTables(root)
    for table in streams { configuration.streams.append(readStream(table)) }
    checkListeners(configuration, root)
    configuration.serial = readSerial(root)
    configuration.mqtt = readMQTT(root, node: configuration.node)
    configuration.reports = readReports(root)
    configuration.admin = readAdmin(root)
    configuration.log = readLog(root)
    for index in streams.indices where !usedStreams[index] {
      warn(streams[index].node, "no source feeds the stream \(quoted(streamNames[index]))")
    }
    for index in tlsNames.indices where !usedTLS[index] {
      guard let tls = tree.child(of: node, "tls"),
        let table = tree.child(of: tls, named: tlsNames[index])
      else { continue }
      warn(table, "nothing uses [tls." + tlsNames[index].description + "]")
    }
    return configuration
  }
}

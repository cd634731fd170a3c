extension TOMLTree {
  /// Extends one table with another, from a later file: tables key by key, arrays of tables by
  /// appending, anything else by taking the later value.
  mutating func merge(_ later: Int, into earlier: Int) {
    for child in children(of: later) {
      guard let existing = self.child(of: earlier, named: self[child].key) else {
        link(child, under: earlier)
        continue
      }
      if case .table = self[existing].value, case .table = self[child].value {
        merge(child, into: existing)
      } else if isArrayOfTables(existing) && isArrayOfTables(child) {
        for element in children(of: child) { link(element, under: existing) }
      } else {
        replace(existing, with: child)
      }
    }
  }

  /// `[[name]]`, or what means the same in brackets. An empty array is not: it takes values away.
  private func isArrayOfTables(_ node: Int) -> Bool {
    guard case .array = self[node].value, self[node].firstChild != nil else { return false }
    for element in children(of: node) {
      guard case .table = self[element].value else { return false }
    }
    return true
  }

  /// Puts a node in another's place in the same table.
  private mutating func replace(_ node: Int, with other: Int) {
    var replacement = self[other]
    replacement.next = self[node].next
    self[node] = replacement
  }
}

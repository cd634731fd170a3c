import Primitives

/// Columns for a terminal, as wide as they must be.
struct TextTable {
  private var rows: [[String]]

  init(_ head: [String]) { rows = [head] }

  mutating func add(_ row: [String]) { rows.append(row) }

  /// Nothing, when there is no row but the head.
  func append(to text: inout [UInt8]) {
    guard rows.count > 1 else { return }
    var widths = [Int](repeating: 0, count: rows[0].count)
    for row in rows {
      for column in row.indices { widths[column] = max(widths[column], Self.width(row[column])) }
    }
    text.append(0x0A)
    for row in rows {
      for column in row.indices {
        text.append(row[column])
        // The last column needs no filling.
        guard column < row.count - 1 else { break }
        for _ in Self.width(row[column])..<widths[column] + 2 { text.append(0x20) }
      }
      text.append(0x0A)
    }
  }

  /// Scalars, which is what most terminals count.
  private static func width(_ cell: String) -> Int { cell.unicodeScalars.count }
}

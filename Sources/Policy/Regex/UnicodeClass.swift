import Primitives

/// `\p{…}`: general categories (`Lu`), groups of them (`L`), and `Any`. Scripts are not there: their names
/// and ranges would be as large as all the rest of this module's data.
enum UnicodeClass {
  /// In the order of their letters in the table: `G` to `Z`, then `g` on.
  private static let names: StaticString =
    "CcCfCoCsLlLmLoLtLuMcMeMnNdNlNoPcPdPePfPiPoPsScSkSmSoZlZpZs"

  /// Nil: no such class.
  static func named(_ name: [UInt8]) -> RuneSet? {
    var set = RuneSet()
    if ByteString(name) == "Any" {
      set.insert(0, RuneSet.highest)
      return set
    }
    guard name.count == 1 || name.count == 2 else { return nil }
    let members = members(name)
    guard members != 0 else { return nil }
    visit { (low, high, category) in
      if category < 32, members >> category & 1 == 1 { set.insert(low, high) }
    }
    return set
  }

  /// A bit for each category that the name is, or begins.
  private static func members(_ name: [UInt8]) -> UInt32 {
    let all = ByteString(names).bytes
    var members: UInt32 = 0
    for category in 0..<all.count / 2
    where all[2 * category] == name[0] && (name.count == 1 || all[2 * category + 1] == name[1]) {
      members |= 1 << UInt32(category)
    }
    return members
  }

  /// Calls `body` with each run of one category. A run is its length in hexadecimal digits, none for 1,
  /// and a letter.
  private static func visit(_ body: (UInt32, UInt32, UInt32) -> Void) {
    let table = UnicodeTables.categories
    var start: UInt32 = 0
    var length: UInt32 = 0
    for index in 0..<table.utf8CodeUnitCount {
      let byte = table.byte(index)
      if let digit = hexadecimalValue(byte) {
        length = length * 16 + UInt32(digit)
        continue
      }
      let end = start + max(length, 1)
      // Letters behind `Z` go on at `g`.
      body(start, end - 1, UInt32(byte <= 0x5A ? byte - 0x47 : byte - 0x67 + 20))
      (start, length) = (end, 0)
    }
  }
}

/// Letters that differ in case alone (Unicode's simple case folding).
enum CaseFolding {
  /// Calls `body` with ranges that hold the other cases of all letters from `low` to `high`.
  static func visit(_ low: UInt32, _ high: UInt32, _ body: (UInt32, UInt32) -> Void) {
    let table = UnicodeTables.folding
    var index = 0
    var start: UInt32 = 0
    // START, `.` or `:` for a step of 1 or 2, COUNT, `+` or `-`, DISTANCE, `;`.
    while index < table.utf8CodeUnitCount {
      start += number(table, &index)
      let step: UInt32 = table.byte(index) == UInt8(ascii: ":") ? 2 : 1
      index += 1
      let count = number(table, &index)
      let isUp = table.byte(index) == UInt8(ascii: "+")
      index += 1
      let distance = number(table, &index)
      index += 1
      let last = start + (count - 1) * step
      guard start <= high, last >= low else { continue }
      var first = max(start, low)
      if step == 2, (first - start) % 2 == 1 { first += 1 }
      let end = min(last, high)
      while first <= end {
        let run = step == 1 ? end : first
        body(
          isUp ? first + distance : first - distance, isUp ? run + distance : run - distance)
        first = step == 1 ? end + 1 : first + 2
      }
    }
  }

  private static func number(_ table: StaticString, _ index: inout Int) -> UInt32 {
    var value: UInt32 = 0
    while let digit = hexadecimalValue(table.byte(index)) {
      value = value * 16 + UInt32(digit)
      index += 1
    }
    return value
  }
}

extension StaticString {
  fileprivate func byte(_ index: Int) -> UInt8 {
    precondition(index < utf8CodeUnitCount, "UnicodeTables: read behind the end")
    return unsafe utf8Start[index]
  }
}

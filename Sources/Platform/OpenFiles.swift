import CLinux
import Primitives

/// The descriptors that a `FileStorage` keeps open, a bounded number of them.
struct OpenFiles: ~Copyable {
  struct Entry {
    var file: StorageFile
    var descriptor: Int32
    /// Written through since its last sync.
    var isDirty = false
    var lastUse: UInt64
  }

  private var entries: [Entry] = []
  private var uses: UInt64 = 0

  init() { entries.reserveCapacity(openFilesMax) }

  deinit {
    for entry in entries { _ = spoke_close(entry.descriptor) }
  }

  mutating func find(_ file: StorageFile) -> Int32? {
    guard let index = index(of: file) else { return nil }
    uses += 1
    entries[index].lastUse = uses
    return entries[index].descriptor
  }

  /// The one to close before another may be opened, if there are that many: clean ones first, then
  /// the one used longest ago.
  func victim() -> Entry? {
    guard entries.count >= openFilesMax else { return nil }
    var choice = entries[0]
    for entry in entries.dropFirst() {
      if entry.isDirty != choice.isDirty ? choice.isDirty : entry.lastUse < choice.lastUse {
        choice = entry
      }
    }
    return choice
  }

  mutating func insert(_ file: StorageFile, _ descriptor: Int32) {
    precondition(entries.count < openFilesMax, "OpenFiles: one too many")
    uses += 1
    entries.append(Entry(file: file, descriptor: descriptor, lastUse: uses))
  }

  mutating func close(_ file: StorageFile) {
    guard let index = index(of: file) else { return }
    _ = spoke_close(entries[index].descriptor)
    entries.remove(at: index)
  }

  mutating func markDirty(_ file: StorageFile) {
    if let index = index(of: file) { entries[index].isDirty = true }
  }

  mutating func markClean(_ file: StorageFile) {
    if let index = index(of: file) { entries[index].isDirty = false }
  }

  private func index(of file: StorageFile) -> Int? {
    for index in entries.indices where entries[index].file == file { return index }
    return nil
  }
}

extension StorageFile {
  var name: ByteString {
    switch self {
    case .segment(let logClass, let number, let level):
      let stem = "\(logClass)-\(decimal(number, digits: 10))"
      return ByteString(level == 0 ? "\(stem).seg" : "\(stem)-\(level).seg")
    case .cursor: return "cursor"
    case .newCursor: return "cursor.new"
    case .deadLetter: return "dead-letter.seg"
    }
  }

  func withName<Result>(_ body: (UnsafePointer<CChar>) -> Result) -> Result {
    name.withCString(body)
  }

  /// Nil for every name that is not exactly one of ours.
  init?(name: ByteString) {
    for file in [StorageFile.cursor, .newCursor, .deadLetter] where name == file.name {
      self = file
      return
    }
    guard name.count == 16 || name.count == 18,
      let number = leadingNumber(ByteString(Array(name.bytes[2...]))),
      name.bytes[0] >= UInt8(ascii: "0"), name.bytes[0] <= UInt8(ascii: "3")
    else { return nil }
    var level: UInt8 = 0
    if name.count == 18 {
      level = name.bytes[13] &- UInt8(ascii: "0")
      guard level >= 1, level <= 3 else { return nil }
    }
    self = .segment(
      logClass: name.bytes[0] - UInt8(ascii: "0"), number: number, level: level)
    if self.name != name { return nil }
  }
}

/// The decimal number that a name starts with.
func leadingNumber(_ name: ByteString) -> UInt32? {
  var value: UInt32 = 0
  var digits = 0
  for byte in name.bytes {
    guard byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") else { break }
    let (product, overflow) = value.multipliedReportingOverflow(by: 10)
    let (sum, carry) = product.addingReportingOverflow(UInt32(byte - UInt8(ascii: "0")))
    if overflow || carry { return nil }
    value = sum
    digits += 1
  }
  return digits == 0 ? nil : value
}

/// A number with leading zeros.
func decimal(_ value: UInt32, digits: Int) -> String {
  let text = String(value)
  return String(repeating: "0", count: max(0, digits - text.utf8.count)) + text
}

/// Four classes that are written, the one that is drained, the cursor and the dead letters, and one
/// to spare. More files than that only cost an `open`.
let openFilesMax = 8

import Primitives

/// The static table (RFC 7541, appendix A), with a small hash of its names, built once.
struct StaticTable: Sendable {
  static let shared = StaticTable()

  /// Entry `index` of the specification is field `index - 1`.
  let list: HeaderList
  /// Open addressing by the hash of the name: the index of the first entry with that name, or 0.
  /// 256 slots for 52 names: a probe seldom takes a second step, and always ends.
  private let slots: [UInt8]

  static let count = 61

  private init() {
    let list = Self.parse()
    precondition(list.count == Self.count, "HPACK: the static table has 61 entries")
    var slots = [UInt8](repeating: 0, count: 256)
    for index in 1...Self.count {
      let name = list.bytes.span.extracting(list.fields[index - 1].name)
      if index > 1, equal(name, list.bytes.span.extracting(list.fields[index - 2].name)) {
        continue
      }
      var slot = Int(hash(name) & 255)
      while slots[slot] != 0 { slot = (slot + 1) & 255 }
      slots[slot] = UInt8(index)
    }
    self.list = list
    self.slots = slots
  }

  /// The index of the first entry with this name, and of the one with this value too; 0 for none.
  func find(name: Span<UInt8>, nameHash: UInt32, value: Span<UInt8>) -> (name: Int, field: Int) {
    var slot = Int(nameHash & 255)
    while slots[slot] != 0 {
      let first = Int(slots[slot])
      if equal(name, list.bytes.span.extracting(list.fields[first - 1].name)) {
        return (first, field(from: first, name: name, value: value))
      }
      slot = (slot + 1) & 255
    }
    return (0, 0)
  }

  /// Entries with the same name stand side by side.
  private func field(from first: Int, name: Span<UInt8>, value: Span<UInt8>) -> Int {
    var index = first
    repeat {
      if equal(value, list.bytes.span.extracting(list.fields[index - 1].value)) { return index }
      index += 1
    } while index <= Self.count
      && equal(name, list.bytes.span.extracting(list.fields[index - 1].name))
    return 0
  }

  /// One entry a line: the name, and its value behind the first space.
  private static func parse() -> HeaderList {
    withBytes(of: staticEntries) { parse($0) }
  }

  private static func parse(_ text: Span<UInt8>) -> HeaderList {
    var list = HeaderList()
    var start = 0
    while start < text.count {
      var end = start
      var space = text.count
      while end < text.count, text[end] != 0x0A {
        if text[end] == 0x20, space > end { space = end }
        end += 1
      }
      let nameEnd = min(space, end)
      list.append(
        name: text.extracting(start..<nameEnd),
        value: text.extracting(min(nameEnd + 1, end)..<end), indexing: .yes)
      start = end + 1
    }
    return list
  }
}

/// Continued from `state`, eight octets a step, in the manner of FNV-1a (Fowler, Noll, Vo); the last step takes
/// some of them again. A peer that makes hashes collide wins nothing: every search behind it is bounded.
func hash(_ bytes: Span<UInt8>, from state: UInt32 = 0x811C_9DC5) -> UInt32 {
  let count = bytes.count
  var hash = UInt64(count) << 32 | UInt64(state)
  if count >= 8 {
    var offset = 0
    while offset < count - 8 {
      mix(bytes.word(at: offset), into: &hash)
      offset += 8
    }
    mix(bytes.word(at: count - 8), into: &hash)
  } else if count >= 4 {
    mix(UInt64(bytes.half(at: 0)) << 32 | UInt64(bytes.half(at: count - 4)), into: &hash)
  } else if count > 0 {
    let (first, middle, last) = (bytes[0], bytes[count / 2], bytes[count - 1])
    mix(UInt64(first) << 16 | UInt64(middle) << 8 | UInt64(last), into: &hash)
  }
  return UInt32(truncatingIfNeeded: hash)
}

/// The upper half of the product depends on all octets, the lower one on the first ones alone.
@inline(__always)
private func mix(_ word: UInt64, into hash: inout UInt64) {
  hash = (hash ^ word) &* 0x9E37_79B9_7F4A_7C15
  hash ^= hash >> 32
}

private let staticEntries: StaticString = """
  :authority
  :method GET
  :method POST
  :path /
  :path /index.html
  :scheme http
  :scheme https
  :status 200
  :status 204
  :status 206
  :status 304
  :status 400
  :status 404
  :status 500
  accept-charset
  accept-encoding gzip, deflate
  accept-language
  accept-ranges
  accept
  access-control-allow-origin
  age
  allow
  authorization
  cache-control
  content-disposition
  content-encoding
  content-language
  content-length
  content-location
  content-range
  content-type
  cookie
  date
  etag
  expect
  expires
  from
  host
  if-match
  if-modified-since
  if-none-match
  if-range
  if-unmodified-since
  last-modified
  link
  location
  max-forwards
  proxy-authenticate
  proxy-authorization
  range
  referer
  refresh
  retry-after
  server
  set-cookie
  strict-transport-security
  transfer-encoding
  user-agent
  vary
  via
  www-authenticate
  """

import Primitives

/// What the paths of a virtual host's routes need to be, in one piece of memory: most routes of a long
/// list are told from the request's path without a look at the routes themselves.
struct PathTable: Equatable, Sendable {
  private struct Entry: Equatable {
    /// Of a prefix or of a whole path in `texts`; nothing is known of the others.
    var start: UInt32
    var length: UInt32
    var isWhole: Bool
  }
  private var entries: [Entry] = []
  private var texts: [UInt8] = []

  init() {}

  init(_ routes: [Route]) {
    entries.reserveCapacity(routes.count)
    for route in routes {
      var entry = Entry(start: UInt32(texts.count), length: 0, isWhole: false)
      var text = ByteString()
      switch route.path {
      case .prefix(let prefix, caseSensitive: true): text = prefix
      case .separatedPrefix(let prefix, caseSensitive: true): text = prefix
      case .path(let path, caseSensitive: true):
        text = path
        entry.isWhole = true
      case .regex(let expression): text = expression.literalPrefix
      case .prefix, .separatedPrefix, .path: break
      }
      entry.length = UInt32(text.count)
      texts.append(contentsOf: text.bytes)
      entries.append(entry)
    }
  }

  /// The first route from `index` on whose path may match the first `end` bytes of `path`.
  func next(from index: Int, _ path: [UInt8], end: Int) -> Int? {
    var index = index
    while index < entries.count {
      let entry = entries[index]
      let length = Int(entry.length)
      if entry.isWhole ? length == end : length <= end {
        // From its end: the routes of one list tend to begin alike.
        var offset = length
        while offset > 0, path[offset - 1] == texts[Int(entry.start) + offset - 1] { offset -= 1 }
        if offset == 0 { return index }
      }
      index += 1
    }
    return nil
  }
}

import Primitives

/// Text from a file inside a message: in quotes, without control characters, at most 64 bytes. Of a URL the
/// user information is not shown. `isEndpoint`: the text is to be a URL, or a host and a port.
@inline(never)
func quoted(_ text: ByteString, isEndpoint: Bool = false) -> String {
  var shown: [UInt8] = []
  var isCut = false
  for scalar in text.withoutUserInfo(isEndpoint).description.unicodeScalars {
    guard shown.count < 64 else {
      isCut = true
      break
    }
    if scalar.value < 0x20 || (0x7F...0x9F).contains(scalar.value) {
      shown.append("\\u00" + hexByte(UInt8(scalar.value)))
    } else {
      shown.append(contentsOf: UTF8.encode(scalar)!)
    }
  }
  return "'" + ByteString(shown).description + (isCut ? "…'" : "'")
}

extension ByteString {
  /// `***` instead of what stands between `//` and the last `@`: it may be a password. What is to be an
  /// endpoint may lack the scheme or its slashes: then everything before the `@` may be one.
  fileprivate func withoutUserInfo(_ isEndpoint: Bool) -> ByteString {
    guard let end = bytes.lastIndex(of: UInt8(ascii: "@")) else { return self }
    var slashes = 0
    while slashes < end, bytes[slashes] != UInt8(ascii: "/") || bytes[slashes + 1] != bytes[slashes]
    {
      slashes += 1
    }
    if slashes == end, !isEndpoint { return self }
    let scheme = bytes[..<slashes].dropLast()
    let isURL =
      slashes < end && scheme.allSatisfy { ASCII.isAlphanumeric($0) }
      && bytes[scheme.count] == UInt8(ascii: ":")
    let start = isURL || !isEndpoint ? slashes + 2 : 0
    return ByteString(Array(bytes[..<start]) + Array("***".utf8) + Array(bytes[end...]))
  }
}

/// Two hexadecimal digits.
func hexByte(_ byte: UInt8) -> String {
  let digits = Array("0123456789ABCDEF".utf8)
  return ByteString([digits[Int(byte >> 4)], digits[Int(byte & 15)]]).description
}

/// The words of a constant, with a space between them.
func words(_ text: StaticString) -> [ByteString] {
  ByteString(text).bytes.split(separator: UInt8(ascii: " ")).map { ByteString(Array($0)) }
}

/// `'a', 'b' or 'c'`.
func alternatives(_ names: [ByteString]) -> String {
  var text = ""
  for index in names.indices {
    if index > 0 { text += index == names.count - 1 ? " or " : ", " }
    text += quoted(names[index])
  }
  return text
}

/// The name that `text` was most likely meant to be: the one with the fewest edits between them.
func nearest(_ text: ByteString, among names: [ByteString]) -> ByteString? {
  var best: ByteString?
  var bestDistance = Int.max
  // A long unknown name is no slip of the fingers; comparing its beginning is enough.
  let start = Array(text.bytes.prefix(ConfigurationLimits.nameBytesMax))
  for name in names {
    let distance = editDistance(start, name.bytes)
    if distance < bestDistance {
      bestDistance = distance
      best = name
    }
  }
  return best
}

/// Insertions, deletions, replacements and swaps of neighbours (optimal string alignment), without
/// regard to case.
func editDistance(_ left: [UInt8], _ right: [UInt8]) -> Int {
  var older: [Int] = []
  var previous = Array(0...right.count)
  for row in left.indices {
    var current = [row + 1]
    for column in right.indices {
      let isSame = ASCII.lowercase(left[row]) == ASCII.lowercase(right[column])
      var cost = min(previous[column] + (isSame ? 0 : 1), previous[column + 1] + 1)
      cost = min(cost, current[column] + 1)
      if row > 0 && column > 0 && left[row] == right[column - 1] && left[row - 1] == right[column] {
        cost = min(cost, older[column - 1] + 1)
      }
      current.append(cost)
    }
    older = previous
    previous = current
  }
  return previous[right.count]
}

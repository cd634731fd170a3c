// What `?filter=` takes, a part of RE2's syntax that a statistics page is asked for, found anywhere in
// a name unless it is anchored:
//
//    pattern     = alternative *( "|" alternative )
//    alternative = [ "^" ] *( byte / "." / "\" punctuation / ".*" / ".+" ) [ "$" ]
//
// Everything else that is special in RE2 is refused by name and place, never taken literally.
// An alternative is a row of segments of fixed length with gaps (`.*`) between them. The leftmost
// place of each segment is the best one for those behind it, so nothing is ever tried twice: the
// time is the name's length times the pattern's at most.

import Primitives

/// A compiled `?filter=`.
public struct NamePattern: Sendable {
  /// Why a pattern is not taken.
  public struct Rejection: Error, Equatable, Sendable {
    /// The place of the first byte that is not understood, from 0.
    public var position: Int
    public var reason: Reason

    /// What is wrong there.
    public enum Reason: Sendable {
      case unsupported, escape, tooLong
    }

    /// A line for the answer.
    public var description: String {
      switch reason {
      case .unsupported:
        "filter: unsupported syntax at position \(position): only . .* .+ ^ $ | and \\ are special"
      case .escape: "filter: an unsupported escape at position \(position)"
      case .tooLong: "filter: longer than \(NamePattern.lengthMax) bytes"
      }
    }
  }

  /// One byte, or any.
  private enum Atom: Sendable {
    case byte(UInt8)
    case any
  }

  private struct Alternative: Sendable {
    var isAnchoredAtStart = false
    var isAnchoredAtEnd = false
    /// A gap stands between each two.
    var segments: [[Atom]] = [[]]
  }

  static let lengthMax = 512

  private var alternatives: [Alternative] = [Alternative()]

  public init(_ pattern: Span<UInt8>) throws(Rejection) {
    guard pattern.count <= Self.lengthMax else {
      throw Rejection(position: Self.lengthMax, reason: .tooLong)
    }
    var index = 0
    while index < pattern.count { index = try parse(pattern, at: index) }
  }

  /// Whether the pattern is found in `name`.
  public func matches(_ name: Span<UInt8>) -> Bool {
    for alternative in alternatives where Self.matches(alternative, name) { return true }
    return false
  }

  // MARK: Compiling

  /// Takes what begins at `index`; answers where the next begins.
  private mutating func parse(_ pattern: Span<UInt8>, at index: Int) throws(Rejection) -> Int {
    let last = alternatives.count - 1
    let rejection = Rejection(position: index, reason: .unsupported)
    // RE2 knows what stands behind `$`; it can never be found, so it is a mistake.
    if alternatives[last].isAnchoredAtEnd, pattern[index] != UInt8(ascii: "|") { throw rejection }
    switch pattern[index] {
    case UInt8(ascii: "|"):
      alternatives.append(Alternative())
    case UInt8(ascii: "^"):
      guard index == 0 || pattern[index - 1] == UInt8(ascii: "|") else { throw rejection }
      alternatives[last].isAnchoredAtStart = true
    case UInt8(ascii: "$"):
      alternatives[last].isAnchoredAtEnd = true
    case UInt8(ascii: "."):
      return parseDot(pattern, at: index)
    case UInt8(ascii: "\\"):
      guard index + 1 < pattern.count, Self.isPunctuation(pattern[index + 1]) else {
        throw Rejection(position: index, reason: .escape)
      }
      append(.byte(pattern[index + 1]))
      return index + 2
    case UInt8(ascii: "*"), UInt8(ascii: "+"), UInt8(ascii: "?"), UInt8(ascii: "("),
      UInt8(ascii: ")"), UInt8(ascii: "["), UInt8(ascii: "]"), UInt8(ascii: "{"),
      UInt8(ascii: "}"):
      throw rejection
    default:
      append(.byte(pattern[index]))
    }
    return index + 1
  }

  private mutating func parseDot(_ pattern: Span<UInt8>, at index: Int) -> Int {
    let next = index + 1 < pattern.count ? pattern[index + 1] : 0
    if next == UInt8(ascii: "*") || next == UInt8(ascii: "+") {
      if next == UInt8(ascii: "+") { append(.any) }
      alternatives[alternatives.count - 1].segments.append([])
      return index + 2
    }
    append(.any)
    return index + 1
  }

  private mutating func append(_ atom: Atom) {
    let alternative = alternatives.count - 1
    let segment = alternatives[alternative].segments.count - 1
    alternatives[alternative].segments[segment].append(atom)
  }

  private static func isPunctuation(_ byte: UInt8) -> Bool {
    switch byte {
    case 0x21...0x2F, 0x3A...0x40, 0x5B...0x60, 0x7B...0x7E: true
    default: false
    }
  }

  // MARK: Matching

  private static func matches(_ alternative: Alternative, _ name: Span<UInt8>) -> Bool {
    let segments = alternative.segments
    var start = 0
    for index in segments.indices {
      let segment = segments[index]
      let isFirst = index == 0 && alternative.isAnchoredAtStart
      let isLast = index == segments.count - 1 && alternative.isAnchoredAtEnd
      let end = name.count - segment.count
      guard start <= end else { return false }
      if isLast {
        return (!isFirst || end == 0) && fits(segment, name, at: end)
      }
      if isFirst {
        guard fits(segment, name, at: 0) else { return false }
        start = segment.count
      } else {
        guard let place = place(of: segment, in: name, from: start) else { return false }
        start = place + segment.count
      }
    }
    return true
  }

  private static func place(of segment: [Atom], in name: Span<UInt8>, from start: Int) -> Int? {
    var place = start
    while place + segment.count <= name.count {
      if fits(segment, name, at: place) { return place }
      place += 1
    }
    return nil
  }

  private static func fits(_ segment: [Atom], _ name: Span<UInt8>, at place: Int) -> Bool {
    for index in segment.indices {
      if case .byte(let byte) = segment[index], name[place + index] != byte { return false }
    }
    return true
  }
}

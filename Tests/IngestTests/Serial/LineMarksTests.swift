import Ingest
import Primitives
import Testing

@Suite("Parity marks: FF FF, FF 00 x, FF 00 00")
struct LineMarksTests {
  private enum Seen: Equatable {
    case data([UInt8])
    case damaged(UInt8)
    case lineBreak
  }

  private static let stream: [UInt8] = [
    0x41, 0xFF, 0xFF, 0x42, 0xFF, 0x00, 0x43, 0x44, 0xFF, 0x00, 0x00, 0xFF, 0xFF, 0xFF, 0xFF,
    0xFF, 0x00, 0xFF, 0x00, 0x45, 0xFF, 0x00, 0x46,
  ]
  private static let meaning: [Seen] = [
    .data([0x41, 0xFF, 0x42]), .damaged(0x43), .data([0x44]), .lineBreak, .data([0xFF, 0xFF]),
    .damaged(0xFF), .data([0x00, 0x45]), .damaged(0x46),
  ]

  @Test("marks are taken out, and a real FF is one FF")
  func whole() {
    #expect(read([LineMarksTests.stream]) == LineMarksTests.meaning)
  }

  @Test("it does not matter where the reads are cut, at any two places")
  func cuts() {
    let bytes = LineMarksTests.stream
    for first in 0...bytes.count {
      for second in first...bytes.count {
        let parts = [
          Array(bytes[..<first]), Array(bytes[first..<second]), Array(bytes[second...]),
        ]
        #expect(read(parts) == LineMarksTests.meaning, "cut at \(first) and \(second)")
      }
    }
    #expect(read(bytes.map { [$0] }) == LineMarksTests.meaning)
  }

  @Test("what no driver writes, FF and another byte, is damage and not data")
  func malformed() {
    #expect(read([[0x41, 0xFF, 0x42, 0x43]]) == [.data([0x41]), .damaged(0x42), .data([0x43])])
  }

  @Test("after a hang-up in a mark the next byte is data")
  func reset() {
    var marks = LineMarks()
    var offset = 0
    let before: [UInt8] = [0xFF, 0x00]
    let nothing = marks.next(before.span, from: &offset)
    #expect(nothing == nil)
    marks.reset()
    offset = 0
    let after: [UInt8] = [0x41]
    let data = marks.next(after.span, from: &offset)
    #expect(data == .data(0..<1))
  }

  private func read(_ parts: [[UInt8]]) -> [Seen] {
    var marks = LineMarks()
    var seen: [Seen] = []
    for part in parts {
      var offset = 0
      while let mark = marks.next(part.span, from: &offset) {
        switch mark {
        case .data(let range):
          if case .data(let before) = seen.last {
            seen[seen.count - 1] = .data(before + part[range])
          } else {
            seen.append(.data(Array(part[range])))
          }
        case .damaged(let byte): seen.append(.damaged(byte))
        case .lineBreak: seen.append(.lineBreak)
        }
      }
      #expect(offset == part.count)
    }
    return seen
  }
}

@Suite("A damaged byte makes its frame bad")
struct DamageTests {
  @Test("a line with a damaged byte is bad, the lines before and after it are good")
  func line() {
    var framer = Framer(.line(delimiter: 10), baud: 9_600)
    #expect(framer.take(Array("one\ntw".utf8)) == [.frame(Array("one".utf8))])
    framer.receiveDamage()
    let rest = framer.take(Array("o\nthree\n".utf8))
    #expect(rest == [.bad(.lineError), .frame(Array("three".utf8))])
    #expect(framer.counters.badFrames(.lineError) == 1)
  }

  @Test("27: a break spoils the frame under way, and nothing when there is none")
  func lineBreak() {
    var framer = Framer(.line(delimiter: 10), baud: 9_600)
    framer.receiveBreak()
    #expect(framer.take(Array("one\ntw".utf8)) == [.frame(Array("one".utf8))])
    framer.receiveBreak()
    let rest = framer.take(Array("o\nthree\n".utf8))
    #expect(rest == [.bad(.lineError), .frame(Array("three".utf8))])
  }

  @Test("a sentence whose checksum holds in spite of a damaged byte is bad all the same")
  func sentence() {
    var framer = Framer(.nmea, baud: 9_600)
    let sentence = Array("$GPTXT,1*52\r\n".utf8)
    _ = framer.take(Array(sentence[..<5]))
    framer.receiveDamage()
    let seen = framer.take(Array(sentence[5...]) + sentence)
    #expect(seen.first == .bad(.lineError))
    #expect(framer.counters.badFrames == 1)
  }
}

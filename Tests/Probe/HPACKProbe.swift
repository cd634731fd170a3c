import HPACK
import Primitives

/// An encoder and a decoder, driven line by line:
///
///     limits TABLE LIST FIELDS      a new pair, with these limits
///     field NAME VALUE yes|no|never one more field (hexadecimal; `-` is empty)
///     encode                        → the block of the fields since the last one
///     peer-table BYTES              the peer's SETTINGS_HEADER_TABLE_SIZE
///     table BYTES                   ours, acknowledged
///     decode BLOCK                  → `field …` lines, then `complete`, `too-large` or `error`
struct HPACKProbe {
  private var encoder = HPACKEncoder(maximumTableSize: 4096)
  private var decoder = HPACKDecoder(
    maximumTableSize: 4096, maximumListSize: 65_536, maximumFields: 1_000)
  private var list = HeaderList()
  private var io = ProbeIO()

  static func run() {
    var probe = HPACKProbe()
    while let line = probe.io.readLine() {
      probe.perform(line.split(separator: 0x20).map { Array($0) })
    }
    probe.io.flush()
  }

  private mutating func perform(_ words: [[UInt8]]) {
    let verb = ByteString(words[0])
    if verb == "limits" {
      encoder = HPACKEncoder(maximumTableSize: number(words[1]))
      decoder = HPACKDecoder(
        maximumTableSize: number(words[1]), maximumListSize: number(words[2]),
        maximumFields: number(words[3]))
    } else if verb == "field" {
      let indexing = ByteString(words[3])
      list.append(
        name: bytes(words[1]).span, value: bytes(words[2]).span,
        indexing: indexing == "yes" ? .yes : indexing == "no" ? .no : .never)
    } else if verb == "encode" {
      encode()
    } else if verb == "peer-table" {
      encoder.setPeerMaximumTableSize(UInt32(number(words[1])))
    } else if verb == "table" {
      decoder.setMaximumTableSize(number(words[1]))
    } else if verb == "decode" {
      decode(bytes(words[1]))
    } else {
      ProbeIO.fail("probe hpack: no such verb: \(verb.description)")
    }
  }

  private mutating func encode() {
    var block: [UInt8] = []
    encoder.encode(list, into: &block)
    list.removeAll()
    write(block.span)
    io.output.append("\n")
  }

  private mutating func decode(_ block: [UInt8]) {
    var list = HeaderList()
    do throws(HPACKError) {
      switch try decoder.decode(block.span, into: &list) {
      case .complete:
        for index in 0..<list.count {
          io.output.append("field ")
          list.withField(index) { name, _ in write(name) }
          io.output.append(" ")
          list.withField(index) { _, value in write(value) }
          switch list.fields[index].indexing {
          case .yes: io.output.append(" yes\n")
          case .no: io.output.append(" no\n")
          case .never: io.output.append(" never\n")
          }
        }
        io.output.append("complete\n")
      case .tooLarge: io.output.append("too-large\n")
      }
    } catch {
      io.output.append("error\n")
    }
  }

  private mutating func write(_ bytes: Span<UInt8>) {
    if bytes.isEmpty { io.output.append("-") }
    Hex.append(bytes, to: &io.output)
  }

  private func bytes(_ word: [UInt8]) -> [UInt8] { word == [0x2D] ? [] : Hex.decode(word) }

  private func number(_ word: [UInt8]) -> Int {
    word.reduce(0) { $0 * 10 + Int($1 & 15) }
  }
}

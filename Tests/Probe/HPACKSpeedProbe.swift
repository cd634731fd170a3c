import HPACK
import Platform
import Primitives

/// `probe hpack-speed encode|both ROUNDS`: the standard input has header lists, a field a line as
/// `NAME VALUE`, an empty line after each list. Encodes all of them ROUNDS times, in order, with one
/// encoder, and with `both` decodes the blocks again. Prints the bytes of all blocks, and how many
/// fields came back. The caller counts the processor time.
enum HPACKSpeedProbe {
  static func run(_ arguments: [ByteString]) {
    guard arguments.count == 2, arguments[0] == "encode" || arguments[0] == "both" else {
      ProbeIO.fail("usage: probe hpack-speed encode|both ROUNDS")
    }
    let lists = readLists()
    let rounds = arguments[1].bytes.reduce(0) { $0 * 10 + Int($1 & 15) }
    var encoder = HPACKEncoder(maximumTableSize: 4096)
    var decoder = HPACKDecoder(
      maximumTableSize: 4096, maximumListSize: 65_536, maximumFields: 1_000)
    var block: [UInt8] = []
    var decoded = HeaderList()
    var bytes = 0
    var fields = 0
    for _ in 0..<rounds {
      for list in lists {
        block.removeAll(keepingCapacity: true)
        encoder.encode(list, into: &block)
        bytes += block.count
        guard arguments[0] == "both" else { continue }
        decoded.removeAll()
        do throws(HPACKError) {
          guard try decoder.decode(block.span, into: &decoded) == .complete else {
            ProbeIO.fail("a list is too large")
          }
        } catch {
          ProbeIO.fail("a block cannot be decoded")
        }
        fields += decoded.count
      }
    }
    print("\(bytes) bytes, \(fields) fields")
  }

  private static func readLists() -> [HeaderList] {
    var io = ProbeIO()
    var lists: [HeaderList] = []
    var list = HeaderList()
    while let line = io.readLine() {
      if let space = line.firstIndex(of: 0x20) {
        let name = Array(line[..<space])
        let value = Array(line[(space + 1)...])
        list.append(name: name.span, value: value.span)
      } else if !list.isEmpty {
        lists.append(list)
        list.removeAll()
      }
    }
    return lists
  }
}

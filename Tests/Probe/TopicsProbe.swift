import Ingest
import Primitives

/// `probe topics`: every line of the standard input is a filter and a topic with a tab between
/// them; prints `yes`, `no`, or `invalid` for a filter that no broker takes.
enum TopicsProbe {
  static func run(_ input: ProbeInput) {
    for line in input.readLines() {
      guard let tab = line.bytes.firstIndex(of: UInt8(ascii: "\t")) else {
        input.fail("no tab in: " + line.description)
      }
      let filter = ByteString(Array(line.bytes[..<tab]))
      let topic = Array(line.bytes[(tab + 1)...])
      if TopicMap.problem(in: filter) != nil {
        print("invalid")
      } else {
        print(TopicMap(filters: [filter]).match(topic.span) == nil ? "no" : "yes")
      }
    }
  }
}

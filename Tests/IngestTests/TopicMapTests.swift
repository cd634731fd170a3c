import Ingest
import Primitives
import Testing

@Suite("Topic map")
struct TopicMapTests {
  private func matches(_ filter: ByteString, _ topic: String) -> Bool {
    TopicMap(filters: [filter]).match(bytes(topic).span) == 0
  }

  @Test("MQTT 3.1.1 §4.7.1.2: the multi-level wildcard, the parent level included")
  func multiLevel() {
    #expect(matches("sport/tennis/player1/#", "sport/tennis/player1"))
    #expect(matches("sport/tennis/player1/#", "sport/tennis/player1/ranking"))
    #expect(matches("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon"))
    #expect(matches("sport/#", "sport"))
    #expect(!matches("sport/#", "sports"))
    #expect(!matches("sport/#", "spor"))
    #expect(matches("#", "a"))
    #expect(matches("#", "a/b/c"))
    #expect(matches("+/#", "a"))
  }

  @Test("MQTT 3.1.1 §4.7.1.3: the single-level wildcard")
  func singleLevel() {
    #expect(matches("sport/tennis/+", "sport/tennis/player1"))
    #expect(!matches("sport/tennis/+", "sport/tennis/player1/ranking"))
    #expect(!matches("sport/+", "sport"))
    #expect(matches("sport/+", "sport/"))
    #expect(matches("+/+", "/finance"))
    #expect(matches("/+", "/finance"))
    #expect(!matches("+", "/finance"))
    #expect(matches("+/tennis/#", "sport/tennis/player1"))
    #expect(matches("a/+/c", "a//c"))
  }

  @Test("MQTT 3.1.1 §4.7.2: wildcards at the first level leave `$` topics alone")
  func dollar() {
    #expect(!matches("#", "$SYS/broker"))
    #expect(!matches("+/monitor/Clients", "$SYS/monitor/Clients"))
    #expect(matches("$SYS/#", "$SYS/broker"))
    #expect(matches("$SYS/monitor/+", "$SYS/monitor/Clients"))
    #expect(matches("a/#", "a/$b"))
  }

  @Test("MQTT 3.1.1 §4.7.3: case, spaces and empty levels count")
  func exact() {
    #expect(!matches("ACCOUNTS", "Accounts"))
    #expect(matches("Accounts payable", "Accounts payable"))
    #expect(!matches("/finance", "finance"))
    #expect(!matches("a", "a/"))
    #expect(!matches("a/", "a"))
    #expect(!matches("abc", "ab"))
    #expect(!matches("ab", "abc"))
    #expect(matches("telemetry/Zürich/+", "telemetry/Zürich/1"))
    #expect(!matches("#", ""))
  }

  @Test("the first filter in the file's order wins")
  func order() {
    let map = TopicMap(filters: ["a/b", "a/+", "#", "a/c"])
    #expect(map.count == 4)
    #expect(map.match(bytes("a/b").span) == 0)
    #expect(map.match(bytes("a/c").span) == 1)
    #expect(map.match(bytes("x").span) == 2)
    #expect(map.match(bytes("$x").span) == nil)
    #expect(TopicMap(filters: []).match(bytes("a").span) == nil)
  }

  @Test("a shared subscription matches by its filter")
  func shared() {
    #expect(matches("$share/gateways/telemetry/+", "telemetry/1"))
    #expect(!matches("$share/gateways/telemetry/+", "gateways/telemetry/1"))
    #expect(matches("$share/g/#", "a/b"))
    #expect(!matches("$share/g/#", "$SYS/a"))
  }

  @Test("filters that no broker takes, with the reason")
  func problems() {
    let wrong: [(ByteString, TopicFilterProblem)] = [
      ("", .empty), ("a/#/b", .multiLevelWildcard), ("a#", .multiLevelWildcard),
      ("a/b#", .multiLevelWildcard), ("#/", .multiLevelWildcard), ("##", .multiLevelWildcard),
      ("sport+", .singleLevelWildcard), ("a/+b/c", .singleLevelWildcard),
      ("++", .singleLevelWildcard), ("a\u{0}b", .nul), ("$share/", .share), ("$share/g", .share),
      ("$share/g/", .share), ("$share//a", .share), ("$share/g+/a", .share),
      ("$share/g/a#", .multiLevelWildcard),
      (ByteString([UInt8](repeating: 0x61, count: 65_536)), .tooLong),
    ]
    for (filter, problem) in wrong {
      #expect(TopicMap.problem(in: filter) == problem, "\(filter.description.prefix(20))")
    }
    let right: [ByteString] = [
      "#", "+", "/", "//", "a", "a/", "/a", "+/#", "+/+", "a/+/b/#", "$SYS/#", "$shared/x",
      "$share/g/#", ByteString([UInt8](repeating: 0x61, count: 65_535)),
    ]
    for filter in right { #expect(TopicMap.problem(in: filter) == nil) }
  }
}

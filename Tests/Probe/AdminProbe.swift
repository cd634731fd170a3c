import Gateway
import Primitives

/// Serves one connection of the admin endpoint on the standard streams. The statistics come from the
/// argument: `counter/NAME/VALUE` and `gauge/NAME/VALUE`, separated by semicolons.
struct AdminProbe {
  private var statistics: [(name: ByteString, kind: Statistics.Kind, value: UInt64)] = []
  private var connection = AdminConnection(now: Instant(nanoseconds: 0))
  private let now = Instant(nanoseconds: 0)

  static func run(_ input: ProbeInput) {
    var probe = AdminProbe()
    for line in (input.arguments.first ?? ByteString()).bytes.split(separator: 0x3B) {
      let words = line.split(separator: 0x2F).map { Array($0) }
      probe.statistics.append(
        (
          ByteString(words[1]), ByteString(words[0]) == "counter" ? .counter : .gauge,
          words[2].reduce(0) { $0 * 10 + UInt64($1 & 15) }
        ))
    }
    var io = ProbeIO()
    while !probe.connection.wantsClose, let bytes = io.readSome() { probe.take(bytes, &io) }
  }

  private mutating func take(_ bytes: [UInt8], _ io: inout ProbeIO) {
    var offset = 0
    while true {
      if let request = connection.receive(bytes.span, from: &offset, now: now) {
        connection.respond(page(request), now: now)
      } else if !connection.hasOutput {
        return
      }
      while connection.hasOutput {
        let count = connection.withOutput { span in
          io.output.append(contentsOf: span)
          return span.count
        }
        connection.consumeOutput(count, now: now)
      }
      io.flush()
    }
  }

  private func page(_ request: AdminRequest) -> AdminPage {
    guard request.path == "/stats" || request.path == "/stats/prometheus" else {
      return AdminPage(status: 404, line: "no such page: \(request.path.description)")
    }
    switch StatisticsPage.Request.read(request) {
    case .refused(let page): return page
    case .accepted(let asked):
      var collected = asked.statistics()
      for entry in statistics { collected.add(named: entry.name, entry.kind, entry.value) }
      return asked.page(of: collected)
    }
  }
}

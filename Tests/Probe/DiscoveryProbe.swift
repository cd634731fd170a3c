import Primitives
import XDS

/// `probe ads --transport sotw|delta`: drives the discovery client by the lines of the standard input,
/// with types by their place (0 LDS, 1 RDS, 2 CDS, 3 EDS, 4 SDS, 5 RTDS), and prints what it does:
///
///     subscribe TYPE NAME,…    wildcard TYPE    reject NAME TEXT    open    lose    advance MS
///     response HEX
enum DiscoveryProbe {
  static func run(_ input: ProbeInput) {
    var settings = DiscoverySettings()
    if input.option("--transport") == "delta" { settings.transport = .incremental }
    let node = NodeIdentity(
      id: "scooter-0042", cluster: "scooters", region: "eu", zone: "eu-west-1a",
      metadata: [.init(key: "hardware", value: "rev-c")])
    var owner = Owner(client: DiscoveryClient(settings, node: node, seed: 1))
    owner.client.start()
    for line in input.readLines() {
      owner.take(line.bytes.split(separator: 0x20, maxSplits: 2).map { ByteString(Array($0)) })
      owner.drain()
    }
  }

  private struct Owner {
    var client: DiscoveryClient
    var stream: UInt32 = 0
    var now = Instant(nanoseconds: 1)
    var rejected: [(ByteString, ByteString)] = []

    mutating func take(_ words: [ByteString]) {
      let word = words.first ?? ""
      let argument = words.count > 1 ? words[1] : ""
      let type = argument.bytes.first.flatMap { ResourceType(rawValue: $0 &- 0x30) }
      if word == "subscribe", let type {
        let names = words.count > 2 ? words[2].bytes.split(separator: UInt8(ascii: ",")) : []
        _ = client.subscribe(type, names.map { ByteString(Array($0)) })
      } else if word == "wildcard", let type {
        _ = client.subscribe(type, [], isWildcard: true)
      } else if word == "reject", words.count > 2 {
        rejected.append((argument, words[2]))
      } else if word == "open" {
        client.streamOpened(stream, now: now)
      } else if word == "lose" {
        client.streamClosed(stream, now: now)
      } else if word == "advance" {
        var milliseconds: Int64 = 0
        for digit in argument.bytes { milliseconds = milliseconds * 10 + Int64(digit & 15) }
        now = now + .milliseconds(milliseconds)
        client.handleTimeout(now: now)
      } else if word == "response" {
        let clocks = Clocks(now: now, wall: WallTime(nanoseconds: 0), quality: .synced)
        client.receive(Hex.decode(argument.bytes), stream: stream, clocks: clocks)
      }
    }

    mutating func drain() {
      while let action = client.nextAction(now: now) {
        switch action {
        case .open(let stream, _):
          self.stream = stream
          print("open")
        case .send(_, let message):
          var hex: [UInt8] = []
          Hex.append(message.span, to: &hex)
          print("send " + ByteString(hex).description)
        case .close: print("close")
        case .validate(_, let name):
          let text = rejected.first { $0.0 == name }?.1
          client.submitVerdict(text.map { .rejected($0) } ?? .accepted(staleAfter: .zero))
        case .applied:
          print("applied")
          client.resume()
        case .available(_, let name): print("available " + name.description)
        case .removed(_, let name): print("removed " + name.description)
        case .failed(_, let name): print("failed " + name.description)
        case .unreachable: print("unreachable")
        }
      }
    }
  }
}

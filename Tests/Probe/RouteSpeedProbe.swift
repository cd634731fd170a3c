import Policy
import Primitives

/// `probe route-speed ROUTES ROUNDS`: a virtual host with so many routes, each with a prefix of its own
/// and every fourth with a header to match, routes ROUNDS requests that take one after the other. The
/// caller counts the processor time.
enum RouteSpeedProbe {
  static func run(_ arguments: [ByteString]) {
    guard arguments.count == 2, let count = number(arguments[0]), let rounds = number(arguments[1]),
      count > 0
    else { ProbeIO.fail("usage: probe route-speed ROUTES ROUNDS") }
    let snapshot = snapshot(count)
    let heads = (0..<count).map { index in
      var head = RouteProbe.Head([])
      head.authority = "fleet.example.com"
      head.method = "POST"
      head.path = ByteString("/v1/devices/\(1000 + index)/telemetry/state?unit=si")
      head.fields = [("content-type", "application/json"), ("x-class", "c\(index % 7)")]
        .map { (ByteString($0.0), ByteString($0.1)) }
      return head
    }
    var random = SplitMix64(seed: 1)
    var found = 0
    for round in 0..<rounds {
      let decision = snapshot.route(
        listener: "up", head: heads[(round &* 7919) % count], using: &random)
      if case .forward = decision { found += 1 }
    }
    print("\(found) of \(rounds) requests found a route")
  }

  private static func number(_ text: ByteString) -> Int? {
    text.bytes.reduce(Int?.some(0)) { total, digit in
      digit >= 0x30 && digit <= 0x39 ? total.map { $0 * 10 + Int(digit & 15) } : nil
    }
  }

  private static func snapshot(_ count: Int) -> PolicySnapshot {
    var routes: [Route] = []
    for index in 0..<count {
      var route = Route(
        name: ByteString("r\(index)"), path: .prefix(ByteString("/v1/devices/\(1000 + index)/")),
        action: .forward(ForwardAction(clusters: [WeightedCluster(name: "up")])))
      if index % 4 == 0 {
        route.headers = [
          HeaderMatcher(
            name: "x-class", pattern: .text(StringMatcher(.exact(ByteString("c\(index % 7)")))))
        ]
      }
      routes.append(route)
    }
    let hosts = [
      VirtualHost(name: "fleet", domains: [.suffix(".example.com")], routes: routes),
      VirtualHost(name: "rest", domains: [.any], routes: []),
    ]
    return PolicySnapshot(
      listeners: [
        Listener(name: "up", routes: RouteConfiguration(name: "r", virtualHosts: hosts))
      ], clusters: [Cluster(name: "up", discovery: .endpoints(Assignment()))])
  }
}

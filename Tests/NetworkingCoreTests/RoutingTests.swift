import HPACK
import Policy
import Primitives
import Testing

@testable import NetworkingCore

@Suite("What routes change in requests")
struct RoutingTests {
  private func bench(_ change: (inout Route) -> Void) -> Bench {
    var snapshot = Bench.fixed()
    change(&snapshot.listeners[0].routes.virtualHosts[0].routes[0])
    return Bench(snapshot)
  }

  @Test("a direct response ends the request without a connection; a redirect says where to")
  func direct() {
    let bench = bench { $0.action = .respond(status: 410) }
    bench.submit(1)
    #expect(bench.results.map { $0.status } == [410])
    #expect(bench.results[0].details == "direct_response")
    #expect(bench.results[0].attempts == 0)
    #expect(bench.connects.isEmpty)
    bench.expectAtRest()
    var redirect = RedirectAction()
    redirect.host = "other.example.com"
    let other = self.bench { $0.action = .redirect(redirect) }
    other.submit(1)
    #expect(other.results.map { $0.status } == [301])
    #expect(
      other.results[0].details
        == "direct_response: location https://other.example.com/v1/state")
  }

  @Test("item 108: rewritten paths and hosts and mutated fields are what the peer receives")
  func rewritten() {
    let bench = bench { route in
      var action = ForwardAction(clusters: [WeightedCluster(name: "up")])
      action.pathRewrite = .prefix("/new/")
      action.hostRewrite = .literal("new.example.com")
      action.appendsForwardedHost = true
      route.action = .forward(action)
      route.mutations = HeaderMutations(
        removals: ["x-old"],
        additions: [
          HeaderAddition(name: "x-list", value: HeaderValueFormat(literal: "2")),
          HeaderAddition(
            name: "x-set", value: HeaderValueFormat(literal: "new"), action: .overwriteIfExistsOrAdd
          ),
          HeaderAddition(
            name: "x-none", value: HeaderValueFormat(literal: "x"), action: .overwriteIfExists),
          HeaderAddition(
            name: "x-set", value: HeaderValueFormat(literal: "late"), action: .addIfAbsent),
        ])
    }
    var seen: [(String, String)] = []
    bench.onRequest = { peer, stream in
      seen = peer.requests[stream]?.headers ?? []
      peer.respond(stream, 200)
    }
    var headers = HeaderList()
    for (name, value): (ByteString, ByteString) in [
      ("x-old", "1"), ("x-list", "1"), ("x-set", "a"), ("x-set", "b"),
    ] {
      headers.append(name, value)
    }
    let request = UpstreamRequest(
      listener: "up", path: "/v1/state?q=1", authority: "up.example.com", headers: headers,
      body: [1])
    _ = bench.core.submit(request, now: bench.now)
    bench.run()
    #expect(bench.results.map { $0.status } == [200])
    let fields = seen.map { "\($0.0)=\($0.1)" }
    #expect(fields.contains(":path=/new/v1/state?q=1"))
    #expect(fields.contains(":authority=new.example.com"))
    #expect(
      fields.filter { $0.hasPrefix("x-") } == [
        "x-list=1", "x-set=new", "x-list=2", "x-forwarded-host=up.example.com",
      ])
    #expect(fields[0].hasPrefix(":") && fields[3].hasPrefix(":"))
  }

  @Test("headers are matched as the request has them, the host too")
  func matched() {
    let bench = bench {
      $0.headers = [
        HeaderMatcher(name: "x-class", pattern: .text(StringMatcher(.exact("a,b")))),
        HeaderMatcher(name: "host", pattern: .text(StringMatcher(.prefix("up.")))),
        HeaderMatcher(name: ":method", pattern: .text(StringMatcher(.exact("POST")))),
      ]
    }
    var headers = HeaderList()
    headers.append("x-class", "a")
    headers.append("x-class", "b")
    for list in [headers, HeaderList()] {
      let request = UpstreamRequest(
        listener: "up", path: "/", authority: "up.example.com", headers: list)
      _ = bench.core.submit(request, now: bench.now)
      bench.run()
    }
    #expect(bench.results.map { $0.status } == [200, nil])
    #expect(bench.results[1].failure == .noRoute)
  }
}

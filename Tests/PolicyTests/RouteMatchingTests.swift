import Primitives
import Testing

@testable import Policy

@Suite("Which route takes a request")
struct RouteMatchingTests {
  @Test("item 45: the index of domains finds what a search through all of them finds")
  func domains() {
    let seed = UInt64.random(in: 0..<1 << 32)
    var random = SplitMix64(seed: seed)
    let parts: [ByteString] = ["a", "b", "-", ".", "com", ":1"]
    func name(_ count: Int) -> ByteString {
      var name = ByteString()
      for _ in 0..<count { name = name + parts[Int(random.below(UInt64(parts.count)))] }
      return name
    }
    for _ in 0..<300 {
      var hosts: [VirtualHost] = []
      for host in 0..<4 {
        var domains: [DomainPattern] = []
        for _ in 0..<random.below(6) {
          let text = name(1 + Int(random.below(4)))
          let star: ByteString = "*"
          let form = random.below(4)
          let pattern = form == 0 ? star + text : form == 1 ? text + star : form == 2 ? star : text
          domains.append(DomainPattern(pattern)!)
        }
        hosts.append(VirtualHost(name: ByteString("\(host)"), domains: domains, routes: []))
      }
      let index = DomainIndex(hosts)
      for _ in 0..<40 {
        let authority = name(Int(random.below(6)))
        let found = index.find(authority.bytes, end: authority.count, hosts)
        #expect(found == search(authority, hosts), "seed \(seed): \(authority.description)")
      }
    }
  }

  private func search(_ authority: ByteString, _ hosts: [VirtualHost]) -> DomainIndex.Place? {
    var best: DomainIndex.Place?
    var bestRank = (-1, 0)
    for host in hosts.indices {
      for domain in hosts[host].domains.indices {
        let rank: (Int, Int)
        switch hosts[host].domains[domain] {
        case .any: rank = (0, 0)
        case .exact(let name) where name == authority: rank = (3, 0)
        case .prefix(let name) where authority.count > name.count && authority.hasPrefix(name):
          rank = (1, name.count)
        case .suffix(let name)
        where authority.count > name.count
          && authority.bytes.suffix(name.count).elementsEqual(name.bytes):
          rank = (2, name.count)
        default: continue
        }
        if rank > bestRank {
          (best, bestRank) = (DomainIndex.Place(host: host, domain: domain), rank)
        }
      }
    }
    return best
  }

  @Test("item 45: with ignore_port_in_host_matching the authority's port does not count")
  func ports() {
    let host = VirtualHost(
      name: "v", domains: [.exact("a.com"), .exact("[::1]")], routes: [forward(.prefix("/"))])
    for (authority, isIgnored, isFound): (ByteString, Bool, Bool) in [
      ("a.com:80", false, false), ("a.com:80", true, true), ("a.com", true, true),
      ("[::1]:80", true, true), ("[::1]", true, true), ("[::1]:80", false, false),
      ("a.com:", true, true),
    ] {
      let snapshot = routing([host]) { $0.ignoresPort = isIgnored }
      #expect((snapshot.routed("/", authority) != nil) == isFound, "\(authority.description)")
    }
  }

  @Test("vhost_header stands in for the authority; without it only * matches")
  func hostHeader() {
    let hosts = [
      VirtualHost(name: "1", domains: [.exact("b.com")], routes: [forward(.prefix("/"))]),
      VirtualHost(name: "2", domains: [.any], routes: [forward(.prefix("/"), to: "red")]),
    ]
    let snapshot = routing(hosts) { $0.hostHeader = "x-host" }
    #expect(snapshot.routed("/", "a.com", [("x-host", "B.com")])?.cluster == 0)
    #expect(snapshot.routed("/", "b.com")?.cluster == 2)
  }

  @Test("item 46: the first route that matches wins; no other virtual host is tried")
  func order() {
    let snapshot = routing([
      forward(.prefix("/v1")), forward(.prefix("/"), to: "green"), forward(.path("/v1"), to: "red"),
    ])
    #expect(snapshot.routed("/v1")?.cluster == 0)
    #expect(snapshot.routed("/v2")?.cluster == 1)
    let hosts = [
      VirtualHost(name: "1", domains: [.exact("a.com")], routes: [forward(.path("/only"))]),
      VirtualHost(name: "2", domains: [.any], routes: [forward(.prefix("/"))]),
    ]
    #expect(routing(hosts).decision("/other") == .noRoute)
    #expect(routing([hosts[0]]).decision("/only", "b.com") == .noVirtualHost)
  }

  @Test("item 47: path_separated_prefix ends at a slash, the query or the end")
  func separated() {
    let matcher = PathMatcher.separatedPrefix("/a")
    for path: ByteString in ["/a", "/a/", "/a/b", "/a?x", "/a#x"] { #expect(matcher.matches(path)) }
    for path: ByteString in ["/ab", "/", "/A", "/a;x"] { #expect(!matcher.matches(path)) }
    #expect(PathMatcher.separatedPrefix("/a", caseSensitive: false).matches("/A/b"))
  }

  @Test("item 47: safe_regex is compared with the whole path, without the query; case counts")
  func regex() throws {
    let matcher = PathMatcher.regex(try RegularExpression("/v[0-9]+/.*"))
    for path: ByteString in ["/v1/", "/v12/state?x=/", "/v1/#"] { #expect(matcher.matches(path)) }
    for path: ByteString in ["/v1", "x/v1/", "/V1/", "/?/v1/"] { #expect(!matcher.matches(path)) }
    var snapshot = routing([forward(matcher)])
    #expect(snapshot.routed("/v1/x") != nil)
    #expect(snapshot.routed("/v1;a=/x") == nil)
    snapshot = routing([forward(.path("/v1"))])
    snapshot.listeners[0].routes.ignoresPathParameters = true
    #expect(snapshot.routed("/v1;a=/x?q") != nil)
  }

  @Test("the table of paths leaves out no route that matches, and hides no order")
  func table() throws {
    let seed = UInt64.random(in: 0..<1 << 32)
    var random = SplitMix64(seed: seed)
    let expression = try RegularExpression("/a(b|/).*")
    for _ in 0..<500 {
      var routes: [Route] = []
      func path() -> ByteString {
        var path: ByteString = "/"
        for _ in 0..<random.below(4) {
          path = path + (["a", "b", "/", "A"] as [ByteString])[Int(random.below(4))]
        }
        return path
      }
      for _ in 0..<8 {
        let isSensitive = random.below(3) > 0
        let matchers: [PathMatcher] = [
          .prefix(path(), caseSensitive: isSensitive), .path(path(), caseSensitive: isSensitive),
          .separatedPrefix(path(), caseSensitive: isSensitive), .regex(expression),
        ]
        routes.append(forward(matchers[Int(random.below(4))]))
      }
      let snapshot = routing(routes)
      for _ in 0..<10 {
        let request = path()
        let seen = RequestPath(request, ignoringParameters: false)
        let found = snapshot.route(
          of: Head(authority: "a", path: request), seen, 0, 0, using: &random)
        #expect(
          found == routes.firstIndex { $0.path.matches(request) },
          "seed \(seed): \(request.description)")
      }
    }
  }

  @Test("item 48: a header that is absent matches nothing but present_match, inverted or not")
  func absent() {
    let text = HeaderMatcher.Pattern.text(StringMatcher(.exact("")))
    for pattern in [text, .range(start: 0, end: 9), .text(StringMatcher(.contains("a")))] {
      for inverts in [false, true] {
        #expect(!HeaderMatcher(name: "x", pattern: pattern, inverts: inverts).matches(nil))
      }
    }
    for (isExpected, inverts, value, isMatched): (Bool, Bool, ByteString?, Bool) in [
      (true, false, nil, false), (true, false, "", true), (true, true, nil, true),
      (true, true, "", false), (false, false, nil, true), (false, true, nil, false),
      (false, false, "a", false), (false, true, "a", true),
    ] {
      let matcher = HeaderMatcher(name: "x", pattern: .present(isExpected), inverts: inverts)
      #expect(matcher.matches(value) == isMatched)
    }
    var empty = HeaderMatcher(name: "x", pattern: text, treatsMissingAsEmpty: true)
    #expect(empty.matches(nil))
    empty.inverts = true
    #expect(!empty.matches(nil))
  }

  @Test("item 48: ranges are of whole decimal integers, half open; what is none is outside")
  func ranges() {
    let matcher = HeaderMatcher(name: "x", pattern: .range(start: -3, end: 10))
    for text: ByteString in ["-3", "0", "9", "+9", "007"] { #expect(matcher.matches(text)) }
    for text: ByteString in ["-4", "10", "", "9.0", "1e0", " 9", "0x1", "9223372036854775808", "-"]
    {
      #expect(!matcher.matches(text), "\(text.description)")
    }
    #expect(HeaderMatcher(name: "x", pattern: .range(start: 0, end: 1), inverts: true).matches("a"))
    #expect(decimal("-9223372036854775808") == .min)
    #expect(decimal("9223372036854775807") == .max)
  }

  @Test("item 48: several values are one, joined with commas; item 49: pseudo-header fields too")
  func values() {
    var route = forward(.prefix("/"))
    route.headers = [
      HeaderMatcher(name: "x", pattern: .text(StringMatcher(.exact("a,b")))),
      HeaderMatcher(name: ":path", pattern: .text(StringMatcher(.suffix("?q")))),
      HeaderMatcher(
        name: ":method", pattern: .text(StringMatcher(.exact("post"), ignoresCase: true))),
    ]
    let snapshot = routing([route])
    #expect(snapshot.routed("/?q", "a", [("x", "a"), ("x", "b")]) != nil)
    #expect(snapshot.routed("/?q", "a", [("x", "a")]) == nil)
    #expect(snapshot.routed("/", "a", [("x", "a"), ("x", "b")]) == nil)
  }

  @Test("item 50: the first parameter of the name counts, also one without a value")
  func parameters() {
    let path = RequestPath("/p?a=1&b&a=2&c=x=y&=z#d=1", ignoringParameters: false)
    #expect(path.parameter("a") == "1")
    #expect(path.parameter("b") == "")
    #expect(path.parameter("c") == "x=y")
    #expect(path.parameter("") == "z")
    #expect(path.parameter("d") == nil)
    #expect(RequestPath("/p", ignoringParameters: false).parameter("p") == nil)
    #expect(RequestPath("/p?", ignoringParameters: false).parameter("") == nil)
    #expect(QueryParameterMatcher(name: "b").matches(""))
    #expect(!QueryParameterMatcher(name: "b", isExpected: false).matches(""))
    #expect(QueryParameterMatcher(name: "b", isExpected: false).matches(nil))
    #expect(!QueryParameterMatcher(name: "b", value: StringMatcher(.exact("B"))).matches("b"))
  }

  @Test(
    "a cookie is found among others, with or without quotes; one that is absent matches nothing")
  func cookies() {
    let field: ByteString = "a=1; b=\"two\"; c=; bb=3"
    #expect(cookie("a", in: field) == "1")
    #expect(cookie("b", in: field) == "two")
    #expect(cookie("c", in: field) == "")
    #expect(cookie("d", in: field) == nil)
    let matcher = CookieMatcher(name: "d", value: StringMatcher(.exact("x")), inverts: true)
    #expect(!matcher.matches(nil))
    #expect(matcher.matches("y"))
  }

  @Test("item 51: a share of 0 takes nobody, a whole share everybody; the runtime replaces it")
  func fractions() {
    func count(_ share: FractionalPercent, _ value: RuntimeValue? = nil) -> Int {
      var route = forward(.prefix("/"))
      route.fraction = RuntimeFraction(share, key: "k")
      var snapshot = routing([route])
      if let value {
        snapshot.runtime = Runtime(layers: [
          RuntimeLayer(name: "l", entries: [RuntimeEntry(key: "k", value: value)])
        ])
      }
      return (0..<2000).count { snapshot.routed("/", seed: UInt64($0)) != nil }
    }
    #expect(count(FractionalPercent(numerator: 0)) == 0)
    #expect(count(FractionalPercent(numerator: 1_000_000, denominator: .million)) == 2000)
    #expect(abs(count(FractionalPercent(numerator: 25)) - 500) < 100)
    // An integer counts hundredths, whatever the default counts.
    #expect(
      abs(count(FractionalPercent(numerator: 0, denominator: .million), .number(50)) - 1000) < 120)
    #expect(count(FractionalPercent(numerator: 0), .number(300)) == 2000)
    #expect(count(FractionalPercent(numerator: 100), .number(-1)) == 2000)
    #expect(
      count(FractionalPercent(numerator: 100), .fraction(FractionalPercent(numerator: 0))) == 0)
  }

  @Test("item 52: fractions and clusters are drawn independently")
  func independence() {
    var first = forward(.prefix("/")) {
      $0.clusters = [WeightedCluster(name: "blue"), WeightedCluster(name: "green")]
    }
    first.fraction = RuntimeFraction(FractionalPercent(numerator: 50))
    let snapshot = routing([first])
    let clusters = (0..<4000).compactMap { snapshot.routed("/", seed: UInt64($0))?.cluster }
    #expect(abs(clusters.count - 2000) < 200)
    #expect(abs(clusters.count { $0 == 0 } - 1000) < 150)
  }
}

import Policy
import Primitives
import Protobuf
import XDS

extension FuzzTarget {
  /// Any bytes as a route configuration: it is refused with a reason, or requests can be routed by it,
  /// within its bounds, and each of them can be explained.
  static let routeConfiguration = FuzzTarget("xds-routes", seeds: routeSeeds) { bytes in
    do throws(ResourceRejection) {
      let routes = try RouteConfiguration.decode(bytes.span)
      checkBounds(routes)
      var snapshot = PolicySnapshot(
        listeners: [Listener(name: "up", routes: routes)],
        clusters: [Cluster(name: "blue", discovery: .endpoints(Assignment()))])
      snapshot.clusters += routes.clusterNames.prefix(8).map {
        Cluster(name: $0, discovery: .endpoints(Assignment()))
      }
      for path: ByteString in ["/", "/v1/state?p=a&q", "/a;b#c"] { route(snapshot, path) }
    } catch {
      try require(!error.reason.isEmpty, "refused without a reason")
    }
  }

  /// Any bytes as a listener.
  static let listenerResource = FuzzTarget("xds-listener", seeds: listenerSeeds) { bytes in
    do throws(ResourceRejection) {
      let resource = try ListenerResource.decode(bytes.span)
      precondition(!resource.name.isEmpty, "a listener without a name")
      precondition(resource.idleTimeout >= .zero, "a negative timeout")
      if case .named(let name) = resource.source { precondition(!name.isEmpty, "no name") }
    } catch {
      try require(!error.reason.isEmpty, "refused without a reason")
    }
  }

  /// Any bytes as a runtime layer: each key can be asked for.
  static let runtimeResource = FuzzTarget("xds-runtime", seeds: runtimeSeeds) { bytes in
    do throws(ResourceRejection) {
      let layer = try RuntimeResource.decode(bytes.span).layer
      precondition(layer.entries.count <= 512, "too many keys")
      let runtime = Runtime(layers: [layer])
      for entry in layer.entries {
        precondition(runtime.value(of: entry.key) != nil || entry.key.isEmpty, "a lost key")
        _ = runtime.integer(entry.key, otherwise: 1)
        _ = runtime.share(RuntimeFraction(FractionalPercent(numerator: 1), key: entry.key))
      }
    } catch {
      try require(!error.reason.isEmpty, "refused without a reason")
    }
  }

  /// Any bytes as a regular expression, up to the first NUL, and a text: it is refused with a place
  /// within, or it matches in bounded time, and what it replaces grows no further than it may.
  static let regex = FuzzTarget("regex", longest: 256, seeds: regexSeeds) { bytes in
    let end = bytes.firstIndex(of: 0) ?? bytes.count
    let pattern = ByteString(Array(bytes[..<end]))
    let text = Array(bytes[min(end + 1, bytes.count)...])
    do throws(RegexError) {
      let expression = try RegularExpression(pattern)
      precondition(
        expression.instructionCount <= RegexLimits.instructionsMax, "a program too large")
      let isMatched = expression.matches(text.span)
      let replaced = try RegexSubstitution(expression, substitution: "<\\0>").replaceAll(text.span)
      precondition(replaced.count <= 3 * text.count + 2, "more matches than places")
      precondition(!isMatched || replaced.count >= text.count + 2, "a match was not replaced")
    } catch {
      try require(!error.reason.isEmpty, "refused without a reason")
      try require(error.offset <= pattern.count, "refused behind the end")
    }
  }

  private static func checkBounds(_ routes: RouteConfiguration) {
    var count = 0
    for host in routes.virtualHosts {
      precondition(!host.domains.isEmpty && host.domains.count <= 64, "domains")
      for route in host.routes {
        count += 1
        precondition(route.headers.count <= 32, "header matchers")
        guard case .forwarding(let shared) = route.action else { continue }
        let action = shared.value
        precondition(action.clusters.contains { $0.weight > 0 }, "no weight")
      }
    }
    precondition(count <= 512, "routes")
    precondition(routes.duplicateDomain == nil, "a domain that stands there twice")
  }

  private static func route(_ snapshot: PolicySnapshot, _ path: ByteString) {
    let head = FuzzHead(path: path)
    var random = SplitMix64(seed: 1)
    var again = random
    let decision = snapshot.route(listener: "up", head: head, using: &random)
    let steps = snapshot.explain(listener: "up", head: head, using: &again)
    precondition(steps.count > 1, "no explanation")
    switch decision {
    case .noListener: preconditionFailure("the listener is there")
    case .forward(let routed):
      precondition(snapshot.clusters.indices.contains(routed.cluster), "no such cluster")
      let path = routed.rewrite.path ?? path
      precondition(path.bytes.first == UInt8(ascii: "/"), "a path without a slash")
      for mutation in routed.rewrite.mutations {
        if case .add(let name, _, _) = mutation {
          precondition(name.bytes.first != UInt8(ascii: ":") && name != "host", "a pseudo field")
        }
      }
    case .respond(let response): precondition((200...599).contains(response.status), "a status")
    case .noVirtualHost, .noRoute, .noCluster: break
    }
  }

  private struct FuzzHead: RequestHead {
    let method: ByteString = "POST"
    let authority: ByteString = "a.example.com:443"
    let path: ByteString

    func value(of name: ByteString) -> ByteString? {
      switch name {
      case ":method": method
      case ":authority": authority
      case ":path": path
      case "x-a": "1"
      case "content-type": "application/grpc"
      case "cookie": "a=1; b=2"
      case "grpc-timeout": "1S"
      default: nil
      }
    }
  }

  // MARK: Seeds

  private static func text(_ writer: inout WireWriter, _ number: UInt32, _ text: String) {
    let bytes = Array(text.utf8)
    writer.bytes(number, bytes.span)
  }

  /// A route configuration with a little of everything.
  private static func routes(_ writer: inout WireWriter) {
    text(&writer, 1, "r")
    writer.message(2) { host in
      text(&host, 1, "v")
      for domain in ["*.example.com:443", "a.*", "*"] { text(&host, 2, domain) }
      host.message(3) { route in
        route.message(1) { match in
          text(&match, 14, "/v1")
          match.message(6) { matcher in
            text(&matcher, 1, "x-a")
            matcher.message(13) { $0.message(5) { text(&$0, 2, "[0-9]+") } }
          }
          match.message(7) { parameter in
            text(&parameter, 1, "p")
            parameter.varint(6, 1)
          }
          match.message(9) { fraction in
            fraction.message(1) { $0.varint(1, 100) }
            text(&fraction, 2, "k")
          }
        }
        route.message(2) { action in
          action.message(3) { weighted in
            for (name, weight): (String, UInt64) in [("blue", 1), ("green", 3)] {
              weighted.message(1) { cluster in
                text(&cluster, 1, name)
                cluster.message(2) { $0.varint(1, weight) }
              }
            }
          }
          action.message(32) { rewrite in
            rewrite.message(1) { text(&$0, 2, "v([0-9])") }
            text(&rewrite, 2, "w\\1")
          }
          action.message(8) { $0.varint(1, 5) }
          action.message(9) { policy in
            text(&policy, 1, "5xx,reset")
            policy.message(8) { $0.message(1) { $0.varint(1, 1) } }
          }
          action.message(30) { text(&$0, 1, "blue") }
        }
        route.message(9) { option in
          option.message(1) { header in
            text(&header, 1, "x-new")
            text(&header, 2, "%REQ(x-a?:path):9%%%")
          }
          option.varint(3, 2)
        }
      }
      host.message(3) { route in
        route.message(1) { $0.message(10) { text(&$0, 2, "(?i)/[a-z]+") } }
        route.message(3) { redirect in
          text(&redirect, 1, "b.com")
          redirect.varint(3, 3)
        }
      }
      host.message(3) { route in
        route.message(1) { text(&$0, 1, "/") }
        route.message(7) { $0.varint(1, 404) }
      }
    }
  }

  private static func routeSeeds() -> [[UInt8]] {
    var whole = WireWriter()
    routes(&whole)
    var bare = WireWriter()
    text(&bare, 1, "r")
    return [[], bare.bytes, whole.bytes]
  }

  private static func listenerSeeds() -> [[UInt8]] {
    func listener(_ manager: (inout WireWriter) -> Void) -> [UInt8] {
      var inner = WireWriter()
      manager(&inner)
      inner.message(5) { filter in
        text(&filter, 1, "router")
        filter.message(4) {
          text(&$0, 1, "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router")
        }
      }
      let value = inner.bytes
      var writer = WireWriter()
      text(&writer, 1, "up")
      writer.message(19) { api in
        api.message(1) { any in
          text(
            &any, 1,
            "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3."
              + "HttpConnectionManager")
          any.bytes(2, value.span)
        }
      }
      return writer.bytes
    }
    return [
      listener { manager in
        manager.message(3) { rds in
          rds.message(1) { $0.message(3) { _ in } }
          text(&rds, 2, "r")
        }
      }, listener { $0.message(4) { routes(&$0) } },
    ]
  }

  private static func runtimeSeeds() -> [[UInt8]] {
    var writer = WireWriter()
    text(&writer, 1, "runtime")
    func field(
      _ layer: inout WireWriter, _ name: String, _ value: (inout WireWriter) -> Void
    ) {
      layer.message(1) { entry in
        text(&entry, 1, name)
        entry.message(2, value)
      }
    }
    writer.message(2) { layer in
      field(&layer, "a") { $0.double(2, 50) }
      field(&layer, "b") { text(&$0, 3, "7") }
      field(&layer, "c") { value in
        value.message(5) { inner in
          field(&inner, "numerator") { $0.double(2, 5) }
          field(&inner, "denominator") { text(&$0, 3, "MILLION") }
        }
      }
      field(&layer, "d") { value in
        value.message(5) { inner in field(&inner, "e") { $0.varint(4, 1) } }
      }
    }
    return [writer.bytes]
  }

  private static func regexSeeds() -> [[UInt8]] {
    [
      "/v[0-9]+/(.*)\0/v1/state", "(?i)[[:alpha:]\\d-]{2,3}?|^$\0aB3", "(a|b*)*\\bc\0abbc",
      "\\p{Lu}\\Q.*\\E\\x{e9}\\C\0É.*é!", "((?:a?){3}){2,}\0aaaa",
    ].map { Array($0.utf8) }
  }
}

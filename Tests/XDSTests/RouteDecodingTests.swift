import Policy
import Primitives
import Protobuf
import Testing

@testable import XDS

/// What xds-protos cannot write: fields split, repeated, nested too deeply (the rest is in Tests/Peers).
@Suite("Decoding routes")
struct RouteDecodingTests {
  private func text(_ writer: inout WireWriter, _ number: UInt32, _ text: String) {
    let bytes = Array(text.utf8)
    writer.bytes(number, bytes.span)
  }

  private func routes(_ route: (inout WireWriter) -> Void) -> [UInt8] {
    var writer = WireWriter()
    text(&writer, 1, "r")
    writer.message(2) { host in
      text(&host, 1, "v")
      text(&host, 2, "*")
      host.message(3, route)
    }
    return writer.bytes
  }

  private func decode(_ bytes: [UInt8]) throws -> RouteConfiguration {
    try RouteConfiguration.decode(bytes.span)
  }

  private func rejection(_ bytes: [UInt8]) -> ByteString? {
    do throws(ResourceRejection) {
      _ = try RouteConfiguration.decode(bytes.span)
      return nil
    } catch {
      return error.text
    }
  }

  @Test("a message that comes in parts is merged; of a scalar and of a oneof the last one holds")
  func merged() throws {
    let bytes = routes { route in
      route.message(1) { text(&$0, 1, "/old") }
      route.message(1) { match in
        text(&match, 2, "/path")
        match.message(6) { text(&$0, 1, "x") }
      }
      route.message(1) { text(&$0, 1, "/new") }
      route.message(7) { $0.varint(1, 404) }
      route.message(2) { action in
        action.message(8) { $0.varint(1, 9) }
        text(&action, 1, "first")
      }
      route.message(2) { action in
        action.message(8) { $0.varint(2, 500_000_000) }
        text(&action, 1, "second")
      }
    }
    let route = try decode(bytes).virtualHosts[0].routes[0]
    #expect(route.path == .prefix("/new"))
    #expect(route.headers.map { $0.name } == ["x"])
    guard case .forwarding(let action) = route.action else {
      Issue.record("not forwarded")
      return
    }
    #expect(action.value.clusters.map { $0.name } == ["second"])
    #expect(action.value.timeout == .milliseconds(9_500))
  }

  @Test("an arm of a oneof that another one replaced leaves nothing behind")
  func replaced() throws {
    let bytes = routes { route in
      route.message(1) { text(&$0, 1, "/") }
      route.message(2) { action in
        text(&action, 1, "a")
        action.message(8) { $0.varint(1, 9) }
      }
      route.message(7) { $0.varint(1, 404) }
      route.message(2) { text(&$0, 1, "b") }
    }
    guard case .forwarding(let action) = try decode(bytes).virtualHosts[0].routes[0].action else {
      Issue.record("not forwarded")
      return
    }
    #expect(action.value.timeout == .seconds(15))
  }

  @Test("a text that is not UTF-8, and what is truncated, is refused with its field")
  func malformed() {
    let invalid: [UInt8] = [0xFF]
    let bytes = routes { $0.message(1) { $0.bytes(1, invalid.span) } }
    #expect(
      rejection(bytes) == "virtual_hosts[0].routes[0].match.prefix: a string that is not UTF-8")
    #expect(
      rejection(Array(routes { $0.varint(1, 1) }.dropLast()))?.description.contains("truncated")
        == true)
    var deep: [UInt8] = []
    for _ in 0..<200 {
      var writer = WireWriter()
      writer.bytes(2, deep.span)
      deep = writer.bytes
    }
    #expect(rejection(deep) != nil)
  }

  @Test("unknown fields, groups and fields of another wire type are passed over (item 44)")
  func unknown() throws {
    var bytes = routes { route in
      route.varint(900, 1)
      route.message(1) { match in
        match.varint(1, 5)
        text(&match, 1, "/")
      }
      route.message(2) { text(&$0, 1, "a") }
    }
    bytes += [0xFB, 0x3E, 0x10, 1, 0xFC, 0x3E]
    #expect(try decode(bytes).virtualHosts[0].routes.count == 1)
  }

  @Test("what is not applied is listed up to a bound, then counted")
  func notes() throws {
    var writer = WireWriter()
    text(&writer, 1, "r")
    writer.message(2) { host in
      text(&host, 1, "v")
      text(&host, 2, "*")
      for _ in 0..<100 {
        host.message(3) { route in
          route.message(1) { text(&$0, 1, "/") }
          route.message(17) { _ in }
        }
      }
    }
    let routes = try decode(writer.bytes)
    #expect(routes.virtualHosts[0].routes.isEmpty)
    #expect(routes.notApplied.count == RouteLimits.notesMax + 1)
    #expect(routes.notApplied.last == "and 36 more")
  }

  @Test("the regular expressions of one configuration have a bound together")
  func instructions() {
    var writer = WireWriter()
    text(&writer, 1, "r")
    writer.message(2) { host in
      text(&host, 1, "v")
      text(&host, 2, "*")
      for _ in 0..<35 {
        host.message(3) { route in
          route.message(1) { $0.message(10) { text(&$0, 2, "(?:abcd){240}") } }
          route.message(2) { text(&$0, 1, "a") }
        }
      }
    }
    #expect(
      rejection(writer.bytes)
        == "virtual_hosts[0].routes[34].match.safe_regex: the regular expressions have more than 32768 instructions together"
    )
  }

  @Test("the whole of 512 routes and their domains fits a small memory and is decoded")
  func large() throws {
    var writer = WireWriter()
    text(&writer, 1, "r")
    for host in 0..<64 {
      writer.message(2) { virtual in
        text(&virtual, 1, "v\(host)")
        for domain in 0..<64 { text(&virtual, 2, "d\(domain).h\(host).example.com") }
        for route in 0..<8 {
          virtual.message(3) { entry in
            entry.message(1) { text(&$0, 1, "/r\(route)/") }
            entry.message(2) { text(&$0, 1, "c\(host)") }
          }
        }
      }
    }
    let routes = try decode(writer.bytes)
    #expect(routes.clusterNames.count == 64)
    #expect(routes.virtualHosts.reduce(0) { $0 + $1.routes.count } == 512)
  }
}

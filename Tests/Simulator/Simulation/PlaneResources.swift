import Primitives
import Protobuf
import XDS

/// Resources as a control plane encodes them, with the numbers of their protos.
enum PlaneResources {
  /// A listener whose routes stand in it: everything goes to one cluster. `isGood`: else its connection
  /// manager is no message, and it must be refused.
  static func listener(_ name: ByteString, to cluster: ByteString, isGood: Bool) -> [UInt8] {
    var manager = WireWriter()
    manager.message(4) { routes in
      text(&routes, 1, "routes")
      routes.message(2) { host in
        text(&host, 1, "all")
        text(&host, 2, "*")
        host.message(3) { route in
          route.message(1) { text(&$0, 1, "/") }
          route.message(2) { text(&$0, 1, cluster) }
        }
      }
    }
    manager.message(5) { filter in
      text(&filter, 1, "router")
      any(&filter, 4, "envoy.extensions.filters.http.router.v3.Router", [])
    }
    let value = isGood ? manager.bytes : [0xFF, 0xFF]
    var listener = WireWriter()
    text(&listener, 1, name)
    listener.message(19) { api in
      any(
        &api, 1,
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager", value)
    }
    return listener.bytes
  }

  /// A cluster whose endpoints come from the same control plane.
  static func cluster(_ name: ByteString) -> [UInt8] {
    var cluster = WireWriter()
    text(&cluster, 1, name)
    cluster.varint(2, 3)
    // `eds_config { ads {} }`
    cluster.message(3) { eds in eds.message(1) { $0.message(3) { _ in } } }
    return cluster.bytes
  }

  /// The endpoints of a cluster: a host of the simulation, or none.
  static func endpoints(_ name: ByteString, host: Int?) -> [UInt8] {
    var assignment = WireWriter()
    text(&assignment, 1, name)
    guard let host else { return assignment.bytes }
    assignment.message(2) { locality in
      locality.message(1) { text(&$0, 1, "eu") }
      locality.message(2) { entry in
        entry.message(1) { endpoint in
          endpoint.message(1) { address in
            address.message(1) { socket in
              text(&socket, 2, ByteString("203.0.113.\(host + 1)"))
              socket.varint(3, 80)
            }
          }
        }
      }
      locality.message(3) { $0.varint(1, 1) }
    }
    return assignment.bytes
  }

  /// A `DiscoveryResponse`.
  static func response(
    _ type: ResourceType, version: Int, _ resources: [[UInt8]]
  ) -> [UInt8] {
    var response = WireWriter()
    text(&response, 1, ByteString("\(version)"))
    for resource in resources { any(&response, 2, type.messageName, resource) }
    let url = TypeURL.of(type.messageName)
    response.bytes(4, url.span)
    text(&response, 5, ByteString("n\(version)"))
    return response.bytes
  }

  private static func text(_ writer: inout WireWriter, _ number: UInt32, _ value: ByteString) {
    writer.bytes(number, value.bytes.span)
  }

  private static func any(
    _ writer: inout WireWriter, _ number: UInt32, _ type: StaticString, _ value: [UInt8]
  ) {
    writer.message(number) { any in
      let url = TypeURL.of(type)
      any.bytes(1, url.span)
      any.bytes(2, value.span)
    }
  }
}

import Primitives
import Protobuf
import XDS

/// Resources as a control plane encodes them, with the numbers of their protos.
public enum PlaneResources {
  /// Where the only route of a listener leads.
  public enum Destination {
    case cluster(ByteString)
    /// `direct_response` with this status.
    case status(UInt64)
    /// Nowhere: the connection manager is no message, and the listener must be refused.
    case malformed
  }

  /// A listener whose routes stand in it: one route for everything.
  public static func listener(_ name: ByteString, to destination: Destination) -> [UInt8] {
    var listener = WireWriter()
    text(&listener, 1, name)
    listener.message(19) { api in
      any(
        &api, 1,
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        manager(to: destination))
    }
    return listener.bytes
  }

  private static func manager(to destination: Destination) -> [UInt8] {
    if case .malformed = destination { return [0xFF, 0xFF] }
    var manager = WireWriter()
    manager.message(4) { routes in
      text(&routes, 1, "routes")
      routes.message(2) { host in
        text(&host, 1, "all")
        text(&host, 2, "*")
        host.message(3) { route in
          route.message(1) { text(&$0, 1, "/") }
          switch destination {
          case .cluster(let name): route.message(2) { text(&$0, 1, name) }
          case .status(let status): route.message(7) { $0.varint(1, status) }
          case .malformed: break
          }
        }
      }
    }
    manager.message(5) { filter in
      text(&filter, 1, "router")
      any(&filter, 4, "envoy.extensions.filters.http.router.v3.Router", [])
    }
    return manager.bytes
  }

  /// A cluster whose endpoints come from the same control plane.
  public static func cluster(_ name: ByteString) -> [UInt8] {
    var cluster = WireWriter()
    text(&cluster, 1, name)
    cluster.varint(2, 3)
    // `eds_config { ads {} }`
    cluster.message(3) { eds in eds.message(1) { $0.message(3) { _ in } } }
    return cluster.bytes
  }

  /// A cluster with its one endpoint in it. `type`: the number of its `DiscoveryType`, 0 is `STATIC`.
  public static func cluster(
    _ name: ByteString, type: UInt64 = 0, at address: ByteString, port: UInt64
  ) -> [UInt8] {
    var cluster = WireWriter()
    text(&cluster, 1, name)
    cluster.varint(2, type)
    cluster.message(33) { assignment in
      text(&assignment, 1, name)
      assignment.message(2) { endpoint(&$0, address, port) }
    }
    return cluster.bytes
  }

  /// The endpoints of a cluster: one at this address, or none.
  public static func endpoints(_ name: ByteString, at address: ByteString?, port: UInt64) -> [UInt8]
  {
    var assignment = WireWriter()
    text(&assignment, 1, name)
    guard let address else { return assignment.bytes }
    assignment.message(2) { locality in
      locality.message(1) { text(&$0, 1, "eu") }
      endpoint(&locality, address, port)
      locality.message(3) { $0.varint(1, 1) }
    }
    return assignment.bytes
  }

  /// `LocalityLbEndpoints.lb_endpoints`
  private static func endpoint(_ locality: inout WireWriter, _ host: ByteString, _ port: UInt64) {
    locality.message(2) { entry in
      entry.message(1) { endpoint in
        endpoint.message(1) { address in
          address.message(1) { socket in
            text(&socket, 2, host)
            socket.varint(3, port)
          }
        }
      }
    }
  }

  /// A `DiscoveryResponse`.
  public static func response(
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

  /// A field of text.
  public static func text(_ writer: inout WireWriter, _ number: UInt32, _ value: ByteString) {
    writer.bytes(number, value.bytes.span)
  }

  /// A field that is a `google.protobuf.Any`.
  public static func any(
    _ writer: inout WireWriter, _ number: UInt32, _ type: StaticString, _ value: [UInt8]
  ) {
    writer.message(number) { any in
      let url = TypeURL.of(type)
      any.bytes(1, url.span)
      any.bytes(2, value.span)
    }
  }
}

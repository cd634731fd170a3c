import GRPC
import Primitives
import Protobuf

@testable import XDS

/// Resources as a control plane encodes them, field by field, with the numbers of their protos.
enum Encode {
  static func message(_ body: (inout WireWriter) -> Void) -> [UInt8] {
    var writer = WireWriter()
    body(&writer)
    return writer.bytes
  }

  /// `ConfigSource { ads {} }`.
  static func ads(_ writer: inout WireWriter, _ number: UInt32) {
    writer.message(number) { $0.message(3) { _ in } }
  }

  static func any(
    _ writer: inout WireWriter, _ number: UInt32, _ type: StaticString, _ value: [UInt8]
  ) {
    writer.message(number) {
      $0.text(1, ByteString(TypeURL.of(type)))
      $0.bytes(2, value.span)
    }
  }

  static func duration(_ writer: inout WireWriter, _ number: UInt32, milliseconds: Int64) {
    writer.message(number) {
      $0.int64(1, milliseconds / 1000)
      $0.int64(2, milliseconds % 1000 * 1_000_000)
    }
  }

  // MARK: LDS, RDS

  /// An API listener. `routes`: the name of an RDS resource; else `inline` is its route configuration.
  static func listener(
    _ name: String, routes: String? = nil, inline: [UInt8] = [], idle: Int64? = nil
  ) -> [UInt8] {
    let manager = message { writer in
      writer.text(2, "spoke")
      if let routes {
        writer.message(3) { rds in
          ads(&rds, 1)
          rds.text(2, ByteString(routes))
        }
      } else {
        writer.bytes(4, inline.span)
      }
      writer.message(5) { filter in
        filter.text(1, "envoy.filters.http.router")
        any(&filter, 4, "envoy.extensions.filters.http.router.v3.Router", [])
      }
      if let idle { duration(&writer, 24, milliseconds: idle) }
    }
    return message { writer in
      writer.text(1, ByteString(name))
      writer.message(19) { api in
        any(
          &api, 1,
          "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
          manager)
      }
    }
  }

  /// One virtual host `*` with a route for each prefix, in order; the clusters by weight.
  static func routes(
    _ name: String, _ routes: [(prefix: String, clusters: [(String, UInt64)])]
  ) -> [UInt8] {
    message { writer in
      writer.text(1, ByteString(name))
      writer.message(2) { host in
        host.text(1, "all")
        host.text(2, "*")
        for route in routes {
          host.message(3) { entry in
            entry.message(1) { $0.bytes(1, ByteString(route.prefix).bytes.span) }
            entry.message(2) { action in self.action(&action, route.clusters) }
          }
        }
      }
    }
  }

  private static func action(_ action: inout WireWriter, _ clusters: [(String, UInt64)]) {
    if clusters.count == 1 { return action.text(1, ByteString(clusters[0].0)) }
    action.message(3) { weighted in
      for (name, weight) in clusters {
        weighted.message(1) { share in
          share.text(1, ByteString(name))
          share.message(2) { $0.varint(1, weight) }
        }
      }
    }
  }

  /// Everything goes to one cluster.
  static func routes(_ name: String, to cluster: String) -> [UInt8] {
    routes(name, [("/", [(cluster, 1)])])
  }

  /// Everything goes to the cluster that a header field names.
  static func routes(_ name: String, header: String) -> [UInt8] {
    message { writer in
      writer.text(1, ByteString(name))
      writer.message(2) { host in
        host.text(1, "all")
        host.text(2, "*")
        host.message(3) { entry in
          entry.message(1) { $0.bytes(1, ByteString("/").bytes.span) }
          entry.message(2) { $0.text(2, ByteString(header)) }
        }
      }
    }
  }

  // MARK: CDS, EDS

  /// An EDS cluster. `secret`: the validation context of its TLS comes from SDS.
  static func cluster(
    _ name: String, service: String? = nil, connectTimeout: Int64? = nil, secret: String? = nil,
    reportsLoad: Bool = false
  ) -> [UInt8] {
    message { writer in
      writer.text(1, ByteString(name))
      writer.varint(2, 3)
      writer.message(3) { eds in
        ads(&eds, 1)
        if let service { eds.text(2, ByteString(service)) }
      }
      if let connectTimeout { duration(&writer, 4, milliseconds: connectTimeout) }
      if let secret { tls(&writer, secret) }
      // `lrs_server { self {} }`
      if reportsLoad { writer.message(42) { $0.message(5) { _ in } } }
    }
  }

  private static func tls(_ writer: inout WireWriter, _ secret: String) {
    let context = message { context in
      context.message(1) { common in
        common.message(7) { sds in
          sds.text(1, ByteString(secret))
          ads(&sds, 2)
        }
      }
      context.text(2, "sni.example")
    }
    writer.message(24) { socket in
      socket.text(1, "envoy.transport_sockets.tls")
      any(
        &socket, 3, "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext", context)
    }
  }

  /// A STATIC cluster with one endpoint.
  static func staticCluster(_ name: String, port: UInt64) -> [UInt8] {
    message { writer in
      writer.text(1, ByteString(name))
      writer.varint(2, 0)
      let assignment = endpoints(name, [port])
      writer.bytes(33, assignment.span)
    }
  }

  /// A ClusterLoadAssignment with endpoints on 127.0.0.1, all in one locality; without ports it has
  /// none at all.
  static func endpoints(_ name: String, _ ports: [UInt64]) -> [UInt8] {
    message { writer in
      writer.text(1, ByteString(name))
      guard !ports.isEmpty else { return }
      writer.message(2) { locality in
        locality.message(1) { $0.text(1, "eu") }
        for port in ports {
          locality.message(2) { entry in
            entry.message(1) { endpoint in
              endpoint.message(1) { address in
                address.message(1) { socket in
                  socket.text(2, "127.0.0.1")
                  socket.varint(3, port)
                }
              }
            }
          }
        }
        locality.message(3) { $0.varint(1, 1) }
      }
    }
  }

  // MARK: SDS, RTDS

  /// A validation context with an authority of its own.
  static func validationContext(_ name: String, _ authority: String) -> [UInt8] {
    message { writer in
      writer.text(1, ByteString(name))
      writer.message(4) { context in
        context.message(1) { $0.text(3, ByteString(authority)) }
      }
    }
  }

  /// A layer of numbers.
  static func runtime(_ name: String, _ values: [(String, Double)]) -> [UInt8] {
    message { writer in
      writer.text(1, ByteString(name))
      writer.message(2) { layer in
        for (key, value) in values {
          layer.message(1) { field in
            field.text(1, ByteString(key))
            field.message(2) { $0.double(2, value) }
          }
        }
      }
    }
  }
}

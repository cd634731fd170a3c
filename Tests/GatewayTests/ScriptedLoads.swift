import GRPC
import HPACK
import HTTP2
import Policy
import Primitives
import Protobuf
import TestSupport
import XDS

@testable import Gateway

/// The load reporting service of a `ScriptedPlane`.
final class ScriptedLoads {
  /// One `ClusterStats`.
  struct Report: Equatable {
    var cluster = ""
    var service = ""
    var localities: [Locality] = []
    var dropped: UInt64 = 0
    var drops: [String: UInt64] = [:]
    var seconds: Int64 = 0

    func locality(_ zone: String) -> Locality { localities.first { $0.zone == zone } ?? Locality() }
  }

  struct Locality: Equatable {
    var zone = ""
    var issued: UInt64 = 0
    var succeeded: UInt64 = 0
    var failed: UInt64 = 0
    var active: UInt64 = 0
  }

  /// Streams that were opened, and those whose client has ended its side.
  var streams = 0
  /// The first messages.
  var nodes: [String] = []
  /// What was reported, message by message.
  var reports: [[Report]] = []
  /// The answer to a stream's first message; nil: silence.
  var response: [UInt8]?
  private(set) var peer: World.Peer?
  private var stream: UInt32 = 0
  private var deframer = MessageDeframer(limit: 1 << 20)
  private var hasNode = false

  static func response(
    _ clusters: [String] = [], all: Bool = false, seconds: Int64
  ) -> [UInt8] {
    var writer = WireWriter()
    for name in clusters { PlaneResources.text(&writer, 1, ByteString(name)) }
    writer.message(2) { $0.int64(1, seconds) }
    if all { writer.varint(4, 1) }
    return writer.bytes
  }

  /// All that was ever reported of a cluster.
  func sum(_ cluster: String, _ zone: String) -> Locality {
    var sum = Locality(zone: zone)
    for report in reports.flatMap({ $0 }) where report.cluster == cluster {
      let locality = report.locality(zone)
      sum.issued += locality.issued
      sum.succeeded += locality.succeeded
      sum.failed += locality.failed
      sum.active = locality.active
    }
    return sum
  }

  /// False: the stream is not one of load reports.
  func take(
    _ bytes: ArraySlice<UInt8>, _ request: SeenRequest?, _ stream: UInt32, _ peer: World.Peer,
    _ now: Instant
  ) -> Bool {
    guard request?.path.hasPrefix("/envoy.service.load_stats.v3") == true else { return false }
    if self.peer !== peer || self.stream != stream {
      self.peer = peer
      self.stream = stream
      deframer = MessageDeframer(limit: 1 << 20)
      hasNode = false
      streams += 1
      peer.answerCall(on: stream, now: now)
    }
    let content = Array(bytes)
    var offset = 0
    while (try? deframer.receive(content.span, from: &offset)) == true {
      if hasNode {
        reports.append(Self.read(deframer.message))
      } else {
        hasNode = true
        nodes.append(String(decoding: deframer.message, as: UTF8.self))
        if let response { send(response, now: now) }
      }
    }
    return true
  }

  func send(_ message: [UInt8], now: Instant) {
    var framed: [UInt8] = []
    MessageFraming.appendPrefix(length: message.count, to: &framed)
    framed += message
    _ = try? peer?.machine.submitData(framed.span, on: stream, endStream: false, now: now)
  }

  /// Ends the stream with a status.
  func end(_ status: String, now: Instant) {
    var trailers = HeaderList()
    trailers.append("grpc-status", ByteString(status))
    _ = try? peer?.machine.submitHeaders(trailers, on: stream, endStream: true, now: now)
  }

  // MARK: Reading

  private static func read(_ message: [UInt8]) -> [Report] {
    var found: [Report] = []
    fields(message[...]) { number, bytes, _ in
      if number == 2 { found.append(report(bytes)) }
    }
    return found
  }

  private static func report(_ bytes: ArraySlice<UInt8>) -> Report {
    var report = Report()
    fields(bytes) { number, inner, value in
      switch number {
      case 1: report.cluster = String(decoding: inner, as: UTF8.self)
      case 2: report.localities.append(locality(inner))
      case 3: report.dropped = value
      case 4: fields(inner) { number, _, value in if number == 1 { report.seconds = Int64(value) } }
      case 5:
        var category = ""
        fields(inner) { number, text, value in
          if number == 1 { category = String(decoding: text, as: UTF8.self) }
          if number == 2 { report.drops[category] = value }
        }
      case 6: report.service = String(decoding: inner, as: UTF8.self)
      default: break
      }
    }
    return report
  }

  private static func locality(_ bytes: ArraySlice<UInt8>) -> Locality {
    var locality = Locality()
    fields(bytes) { number, inner, value in
      switch number {
      case 1:
        fields(inner) { number, text, _ in
          if number == 2 { locality.zone = String(decoding: text, as: UTF8.self) }
        }
      case 2: locality.succeeded = value
      case 3: locality.active = value
      case 4: locality.failed = value
      case 8: locality.issued = value
      default: break
      }
    }
    return locality
  }

  private static func fields(
    _ bytes: ArraySlice<UInt8>, _ take: (UInt32, ArraySlice<UInt8>, UInt64) -> Void
  ) {
    let bytes = Array(bytes)
    var reader = WireReader(bytes.span)
    while let field = try? reader.next(in: bytes.span) {
      let inner = field.value.range.map { bytes[$0] } ?? []
      take(field.number, inner, field.value.uint64 ?? 0)
    }
  }
}

extension ScriptedPlane {
  private static func text(_ writer: inout WireWriter, _ number: UInt32, _ value: String) {
    PlaneResources.text(&writer, number, ByteString(value))
  }

  /// A STATIC cluster that asks for reports of its load, with one endpoint in each zone: 10.0.0.1,
  /// 10.0.0.2, …
  static func reporting(
    _ name: String, zones: [String] = ["near"], drops: [(category: String, percent: UInt64)] = [],
    breaker: UInt64? = nil, asks: Bool = true
  ) -> [UInt8] {
    var cluster = WireWriter()
    text(&cluster, 1, name)
    if let breaker {
      cluster.message(10) { $0.message(1) { $0.message(4) { $0.varint(1, breaker) } } }
    }
    cluster.message(33) { assignment in
      text(&assignment, 1, name)
      for (number, zone) in zones.enumerated() {
        assignment.message(2) { locality in
          locality.message(1) { text(&$0, 2, zone) }
          locality.message(2) { entry in
            entry.message(1) { endpoint in
              endpoint.message(1) { address in
                address.message(1) { socket in
                  text(&socket, 2, "10.0.0.\(number + 1)")
                  socket.varint(3, 80)
                }
              }
            }
          }
        }
      }
      if !drops.isEmpty {
        assignment.message(4) { policy in
          for drop in drops {
            policy.message(2) { overload in
              text(&overload, 1, drop.category)
              overload.message(2) { $0.varint(1, drop.percent) }
            }
          }
        }
      }
    }
    if asks { cluster.message(42) { $0.message(5) { _ in } } }
    return cluster.bytes
  }
}

import GRPC
import Primitives
import Protobuf
import TestSupport
import XDS

/// Where a control plane is in a world, and what it steers.
struct PlanePlan {
  /// Its place among the hosts: the last one.
  var host: Int
  /// By stream of records: its target is a listener of that name.
  var isSteered: [Bool]
  /// The daemon keeps the last good resources for its next start.
  var isCached: Bool
}

/// A control plane that serves one stream of discovery at a time, state of the world: for each steered
/// stream a listener, for each host a cluster and its endpoints. What it has changes, is taken away and
/// comes back, and now and then is not what a client may take.
struct Plane {
  /// By stream of records: the host that its listener leads to.
  var leadsTo: [Int]
  /// By stream: the listener is there, and is one that may be taken.
  var hasListener: [Bool]
  var isGood: [Bool]
  /// By host.
  var hasCluster: [Bool]
  var hasEndpoints: [Bool]
  /// By stream: hosts that it has ever been sent to.
  var named: [[Bool]]

  // The stream of discovery that is served.
  private(set) var wire = 0
  private(set) var stream: UInt32 = 0
  private var deframer = MessageDeframer(limit: 1 << 20)
  private var subscribed: [(type: ResourceType, names: [ByteString])] = []
  private var version = 0
  /// What the connection has not taken yet.
  var output: [UInt8] = []

  init(streams: [StreamPlan], hosts: Int) {
    leadsTo = streams.map { $0.host }
    hasListener = streams.map { _ in true }
    isGood = streams.map { _ in true }
    hasCluster = Array(repeating: true, count: hosts)
    hasEndpoints = Array(repeating: true, count: hosts)
    named = streams.map { stream in (0..<hosts).map { $0 == stream.host } }
  }

  mutating func lead(_ stream: Int, to host: Int) {
    leadsTo[stream] = host
    named[stream][host] = true
  }

  /// Everything is there again, and may be taken.
  mutating func mend() {
    for index in leadsTo.indices {
      hasListener[index] = true
      isGood[index] = true
    }
    for index in hasCluster.indices {
      hasCluster[index] = true
      hasEndpoints[index] = true
    }
  }

  mutating func begin(wire: Int, stream: UInt32) {
    self.wire = wire
    self.stream = stream
    deframer = MessageDeframer(limit: 1 << 20)
    subscribed = []
    output = []
  }

  func serves(_ wire: Int, _ stream: UInt32) -> Bool { self.wire == wire && self.stream == stream }

  mutating func end() { wire = 0 }

  /// Reads requests. False: they are none. `isSilent`: they are not answered, for now.
  mutating func receive(
    _ bytes: [UInt8], names: [ByteString], isSilent: Bool
  ) -> Bool {
    var offset = 0
    do throws(MessageError) {
      while try deframer.receive(bytes.span, from: &offset) {
        guard take(deframer.message, names, isSilent) else { return false }
      }
    } catch { return false }
    return true
  }

  private mutating func take(
    _ message: [UInt8], _ names: [ByteString], _ isSilent: Bool
  ) -> Bool {
    var type: ResourceType?
    var wanted: [ByteString] = []
    do throws(WireError) {
      var reader = WireReader(message.span)
      while let field = try reader.next(in: message.span) {
        guard let range = field.value.range else { continue }
        if field.number == 3 { wanted.append(ByteString(Array(message[range]))) }
        if field.number == 4 { type = ResourceType(typeURL: message.span.extracting(range)) }
      }
    } catch { return false }
    guard let type else { return false }
    let place = subscribed.firstIndex { $0.type == type }
    if let place, subscribed[place].names == wanted { return true }
    if let place {
      subscribed[place].names = wanted
    } else {
      subscribed.append((type, wanted))
    }
    if !isSilent { send(type, names) }
    return true
  }

  /// `names`: those of the streams of records.
  mutating func sendAll(_ names: [ByteString]) {
    for place in subscribed.indices { send(subscribed[place].type, names) }
  }

  mutating func send(_ type: ResourceType, _ names: [ByteString]) {
    guard wire > 0, let place = subscribed.firstIndex(where: { $0.type == type }) else { return }
    var resources: [[UInt8]] = []
    for name in subscribed[place].names {
      if let resource = resource(type, name, names) { resources.append(resource) }
    }
    version += 1
    let message = PlaneResources.response(type, version: version, resources)
    MessageFraming.appendPrefix(length: message.count, to: &output)
    output += message
  }

  private func resource(
    _ type: ResourceType, _ name: ByteString, _ names: [ByteString]
  ) -> [UInt8]? {
    switch type {
    case .listener:
      guard let stream = names.firstIndex(of: name), hasListener[stream] else { return nil }
      return PlaneResources.listener(
        name, to: isGood[stream] ? .cluster(ByteString("c\(leadsTo[stream])")) : .malformed)
    case .cluster:
      guard let host = host(name), hasCluster[host] else { return nil }
      return PlaneResources.cluster(name)
    case .endpoints:
      guard let host = host(name) else { return nil }
      let address = hasEndpoints[host] ? ByteString("203.0.113.\(host + 1)") : nil
      return PlaneResources.endpoints(name, at: address, port: 80)
    case .routeConfiguration, .secret, .runtime: return nil
    }
  }

  private func host(_ name: ByteString) -> Int? {
    hasCluster.indices.first { ByteString("c\($0)") == name }
  }
}

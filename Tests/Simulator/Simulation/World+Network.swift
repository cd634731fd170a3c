import Configuration
import Gateway
import HPACK
import HTTP2
import NetworkingCore
import Policy
import Primitives
import Spool
import TestSupport

/// Names, connections, and bytes on their way.
extension World {
  func perform(_ action: TransportAction) {
    switch action {
    case .resolve(let id, let host, _): resolve(id, host)
    case .connect(let id, let address, let security):
      connect(id, address, isPlain: security == .plain)
    case .flush(let id): if let wire = wire(of: id) { flush(wire) }
    case .close(let id): if let wire = wire(of: id) { closeByClient(wire) }
    }
  }

  func wire(_ number: Int) -> Wire? { wires.first { $0.number == number } }

  private func wire(of id: ConnectionID) -> Wire? {
    wires.first { $0.id == id && $0.run == run && !$0.isClosedByClient }
  }

  func latency(_ host: Int) -> Interval {
    let plan = plan.hosts[host]
    return plan.latency + draw.interval(.zero, plan.jitter)
  }

  func chance(_ kind: FaultKind) -> Bool {
    guard phase == .faults, draw.chance(plan.faults[kind], in: 1_000) else { return false }
    counts.add(kind)
    return true
  }

  // MARK: Names

  private func resolve(_ id: ResolutionID, _ name: ByteString) {
    let host = plan.hosts.firstIndex { $0.name == name } ?? 0
    let isFound = !chance(.nameNotFound)
    var pause = draw.interval(.milliseconds(1), .milliseconds(80))
    if chance(.nameSlow) { pause = draw.interval(.seconds(1), .seconds(40)) }
    trace.note(now, "resolve", UInt64(host), isFound ? 1 : 0)
    after(pause, .resolved(id, host: host, isFound: isFound, run: run))
  }

  func resolved(_ id: ResolutionID, _ host: Int, _ isFound: Bool) {
    guard isFound else { return gateway.resolutionFailed(id, now: clocks.now) }
    var addresses: [SocketAddress] = []
    for index in 0..<plan.hosts[host].addresses {
      addresses.append(SocketAddress(198, 51, UInt8(host), UInt8(index + 1), port: 80))
    }
    gateway.resolved(id, addresses, ttl: nil, now: clocks.now)
  }

  // MARK: Connecting

  private func connect(_ id: ConnectionID, _ address: SocketAddress, isPlain: Bool) {
    let host = hostIndex(address)
    wiresOpened += 1
    let settings = serverConfiguration(plan.hosts[host])
    let wire = Wire(
      wiresOpened, id, host: host, run: run, configuration: settings, now: now)
    wires.append(wire)
    trace.note(now, "connect", UInt64(wire.number), UInt64(host))
    if hosts[host].isDown {
      return after(latency(host), .connectFailed(wire: wire.number))
    }
    if chance(.connectIgnored) { return }
    if chance(.connectRefused) {
      return after(latency(host), .connectFailed(wire: wire.number))
    }
    after(latency(host), isPlain ? .handshaken(wire: wire.number) : .connected(wire: wire.number))
  }

  private func hostIndex(_ address: SocketAddress) -> Int {
    let bytes = address.bytes
    // 198.51.HOST.n for names, 192.0.2.(HOST + 1) for addresses.
    return bytes[0] == 198 ? Int(bytes[2]) : Int(bytes[3]) - 1
  }

  private func serverConfiguration(_ host: HostPlan) -> HTTP2Configuration {
    var settings = HTTP2Configuration()
    settings.initialWindowSize = host.window
    settings.connectionWindowSize = max(host.window, 65_535)
    settings.maxConcurrentStreams = host.streams
    settings.headerTableSize = host.tableSize
    settings.settingsTimeout = .seconds(86_400)
    return settings
  }

  /// TCP is up, TLS not yet.
  func connected(_ number: Int) {
    guard let wire = wire(number), !wire.isClosedByClient else { return forget(number) }
    gateway.tcpConnected(wire.id, now: clocks.now)
    if chance(.handshakeFailed) {
      return after(latency(wire.host), .connectFailed(wire: number))
    }
    after(latency(wire.host) + latency(wire.host), .handshaken(wire: number))
  }

  func handshaken(_ number: Int) {
    guard let wire = wire(number), !wire.isClosedByClient else { return forget(number) }
    wire.isOpen = true
    gateway.connected(wire.id, now: clocks.now)
    sendToClient(wire)
  }

  func connectFailed(_ number: Int) {
    guard let wire = wire(number), !wire.isClosedByClient else { return forget(number) }
    forget(number)
    gateway.connectionFailed(wire.id, "connection refused", now: clocks.now)
  }

  func forget(_ number: Int) { wires.removeAll { $0.number == number } }

  // MARK: Ends

  /// Our side closes. A request that is under way still arrives, and may be taken.
  func closeByClient(_ wire: Wire) {
    guard !wire.isClosedByClient else { return }
    wire.isClosedByClient = true
    trace.note(now, "closed", UInt64(wire.number))
    if wire.toServer.isEmpty || wire.isSilent || !wire.isOpen { forget(wire.number) }
  }

  /// The connection breaks, with what is under way.
  func reset(_ wire: Wire, _ reason: String) {
    forget(wire.number)
    guard !wire.isClosedByClient, isAlive, wire.run == run else { return }
    trace.note(now, "reset", UInt64(wire.number))
    if wire.isOpen {
      gateway.disconnected(wire.id, reason, now: clocks.now)
    } else {
      gateway.connectionFailed(wire.id, reason, now: clocks.now)
    }
  }

  /// The server ends the connection after what it has said.
  func serverCloses(_ number: Int) {
    guard let wire = wire(number) else { return }
    guard wire.toClient.isEmpty || wire.isClosedByClient else {
      return timeline.add(.serverCloses(wire: number), at: wire.toClient.last)
    }
    reset(wire, "closed by the peer")
  }

  // MARK: Bytes

  /// Writes what the core has until the socket is full, as the driver does.
  func flush(_ wire: Wire) {
    guard wire.isOpen, !wire.isClosedByClient else { return }
    wire.isBlocked = false
    let buffer = plan.hosts[wire.host].buffer
    while true {
      var room = max(buffer - wire.toServer.count, 0)
      if room > 1, chance(.partialWrite) { room = draw.range(1...min(room, 600)) }
      var bytes: [UInt8] = []
      gateway.withOutput(wire.id) { span in
        bytes.append(contentsOf: span.extracting(0..<min(span.count, room)))
        wire.isBlocked = span.count > 0 && room == 0
      }
      guard !bytes.isEmpty else { return }
      gateway.consumeOutput(wire.id, bytes.count, now: clocks.now)
      let due = wire.toServer.send(bytes, at: now + latency(wire.host))
      timeline.add(.toServer(wire: wire.number), at: due)
    }
  }

  func arriveAtServer(_ number: Int) {
    guard let wire = wire(number) else { return }
    guard now >= wire.stalledUntil else {
      return timeline.add(.serverReads(wire: number), at: wire.stalledUntil)
    }
    while let bytes = wire.toServer.receive(now: now) {
      if !wire.isSilent { receive(bytes, wire) }
    }
    if wire.isClosedByClient {
      if wire.toServer.isEmpty { forget(number) }
      return
    }
    sendToClient(wire)
    if wire.isBlocked, isAlive, wire.run == run { flush(wire) }
  }

  /// What the server has to say sets out.
  func sendToClient(_ wire: Wire) {
    guard !wire.isClosedByClient else { return }
    while wire.machine.hasOutput {
      var bytes: [UInt8] = []
      let most = draw.pick([17, 1_460, 16_384])
      wire.machine.withOutput { span in
        bytes.append(contentsOf: span.extracting(0..<min(span.count, most)))
      }
      wire.machine.consumeOutput(bytes.count, now: now)
      if wire.isSilent { continue }
      let due = wire.toClient.send(bytes, at: now + latency(wire.host))
      timeline.add(.toClient(wire: wire.number), at: due)
    }
    takeEvents(wire)
    if wire.machine.isClosed, !wire.isClosing {
      wire.isClosing = true
      timeline.add(.serverCloses(wire: wire.number), at: max(now, wire.toClient.last))
    }
  }

  func arriveAtClient(_ number: Int) {
    guard let wire = wire(number), !wire.isClosedByClient, isAlive, wire.run == run else { return }
    while let bytes = wire.toClient.receive(now: now) {
      if !wire.isSilent { gateway.received(wire.id, bytes.span, now: clocks.now) }
    }
  }
}

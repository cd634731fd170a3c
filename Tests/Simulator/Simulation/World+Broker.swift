import Configuration
import Gateway
import HPACK
import HTTP2
import NetworkingCore
import Policy
import Primitives
import Spool
import TestSupport

/// The MQTT connection: read, made safe, and only then acknowledged.
extension World {
  func publish(_ source: Int, _ payload: [UInt8]) {
    guard case .mqtt(let qos) = plan.sources[source].kind else { return }
    let name = plan.streams[plan.sources[source].stream].name
    broker.messages.append(
      PublishedMessage(
        source: source, topic: name.bytes + Array("/a".utf8), payload: payload,
        hash: Hash64.of(payload.span), qos: qos))
    let message = broker.messages.count - 1
    if qos == 0 {
      if broker.link != 0 { send(message, id: 0) }
    } else if broker.hasSession {
      broker.queue.append(message)
      pumpBroker()
    }
  }

  // MARK: The broker

  private func pumpBroker() {
    guard broker.link != 0 else { return }
    while broker.inFlight.count < Broker.inFlightMax, !broker.queue.isEmpty {
      let message = broker.queue.removeFirst()
      let id = broker.nextID()
      broker.inFlight.append((id, message))
      send(message, id: id)
    }
  }

  private func send(_ message: Int, id: UInt16) {
    let due = max(now + draw.interval(.microseconds(50), .milliseconds(3)), broker.lastDue)
    broker.lastDue = due
    timeline.add(.mqttMessage(link: broker.link, message: message, id: id), at: due)
  }

  func connectBroker(after pause: Interval) {
    guard !plan.sources.allSatisfy({ if case .mqtt = $0.kind { false } else { true } }) else {
      return
    }
    broker.links += 1
    client.link = broker.links
    after(pause, .mqttConnected(link: broker.links))
  }

  func mqttConnected(_ link: Int) {
    guard isAlive, !isStopping, link == client.link, !client.isConnected else { return }
    guard broker.isUp else {
      gateway.mqttDisconnected(reason: "connection refused", clocks: clocks)
      return connectBroker(after: draw.interval(.seconds(1), .seconds(10)))
    }
    trace.note(now, "mqtt up", UInt64(link), broker.hasSession ? 1 : 0)
    client.isConnected = true
    gateway.mqttConnected(sessionPresent: broker.hasSession, clocks: clocks)
    broker.hasSession = true
    broker.link = link
    broker.lastDue = now
    for (id, message) in broker.inFlight { send(message, id: id) }
    pumpBroker()
  }

  func mqttAcknowledged(_ link: Int, _ id: UInt16) {
    guard link == broker.link else { return }
    broker.inFlight.removeAll { $0.id == id }
    pumpBroker()
  }

  func brokerUp() { broker.isUp = true }

  /// The connection is gone, with what was under way on it.
  func cutBroker(_ reason: String) {
    broker.link = 0
    guard client.isConnected else { return }
    trace.note(now, "mqtt down", UInt64(client.link))
    client = BrokerClient()
    guard isAlive else { return }
    gateway.mqttDisconnected(reason: reason, clocks: clocks)
    if !isStopping { connectBroker(after: draw.scaled(.milliseconds(10), .seconds(8))) }
  }

  func loseBroker() {
    broker.link = 0
    client = BrokerClient()
  }

  // MARK: The client

  func mqttArrived(_ link: Int, _ message: Int, _ id: UInt16) {
    guard link == client.link, client.isConnected else { return }
    client.socket.append((message, id))
  }

  func serveBroker() {
    guard client.isConnected else { return }
    while !client.isPaused, !client.socket.isEmpty, client.ring.count < BrokerClient.ringMax {
      let next = client.socket.removeFirst()
      client.ring.append(next)
      guard broker.messages[next.message].qos > 0 else { continue }
      client.withheld.append(next)
      client.withheldSince = client.withheldSince ?? now
    }
    _ = handOver()
    if let since = client.withheldSince, now - since > BrokerClient.patience {
      cutBroker("keep-alive")
    }
  }

  /// What the end of a turn has made room for. True: messages were taken.
  func handOverRest() -> Bool { client.isConnected && handOver() }

  private func handOver() -> Bool {
    var hasTaken = false
    while !client.ring.isEmpty, client.isWaiting || gateway.mayReadMQTT {
      let (place, id) = client.ring[0]
      let message = broker.messages[place]
      let isTaken = gateway.receiveMQTT(
        topic: message.topic.span, payload: message.payload.span, qos: message.qos,
        messageID: id, oversize: 0, clocks: clocks)
      let made = observe(plan.sources[message.source].stream, [message.hash])
      broker.messages[place].entries += Array(made)
      client.isWaiting = !isTaken
      guard isTaken else { break }
      client.ring.removeFirst()
      hasTaken = true
    }
    return hasTaken
  }

  /// The socket would wake the daemon.
  var isBrokerReadable: Bool {
    isAlive && client.isConnected && !client.isPaused && !client.socket.isEmpty
      && client.ring.count < BrokerClient.ringMax
  }

  /// At the end of the turn: acknowledgements leave when everything read so far is safe.
  func releaseBroker() {
    guard client.isConnected else { return }
    defer { client.isPaused = client.isWaiting || !gateway.mayReceiveMQTT(now: clocks.now) }
    if !client.ring.isEmpty, !client.isWaiting, gateway.mayReadMQTT {
      complain("messages of the broker are left, and nothing wakes the daemon for them")
    }
    guard gateway.mayReleaseMQTT, client.ring.isEmpty else { return }
    guard !client.withheld.isEmpty else { return }
    for (message, id) in client.withheld { acknowledge(message, id) }
    client.withheld = []
    client.withheldSince = nil
    gateway.mqttReleased()
  }

  private func acknowledge(_ place: Int, _ id: UInt16) {
    broker.messages[place].isAcknowledged = true
    trace.note(now, "acknowledged", UInt64(place), UInt64(id))
    let message = broker.messages[place]
    if message.entries.isEmpty, !isRefusable(message) {
      complain("a message was acknowledged and never taken")
    }
    // Of several records made of it one is enough.
    if message.entries.count == 1 { ledger.promise(message.entries[0]) }
    after(
      draw.interval(.microseconds(50), .milliseconds(3)),
      .mqttAcknowledged(link: client.link, id: id))
  }

  /// Larger than any record may be: it is dropped with a report, and has no number.
  private func isRefusable(_ message: PublishedMessage) -> Bool {
    message.payload.count + message.topic.count + 8 > limits.recordBytesMax
  }

  /// SIGTERM: what is safe is acknowledged, then the connection ends.
  func closeBroker() {
    guard client.isConnected else { return }
    gateway.commit(clocks: clocks)
    if disk.isFrozen { return }
    observe(plan.reports, [])
    releaseBroker()
    loseBroker()
  }
}

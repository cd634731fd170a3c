import CLinux
import Foundation
import Primitives
import Testing

@testable import Platform

@Suite(.oneAtATime) struct MosquittoTests {
  @Test("messages arrive whole, in order, with topic, QoS and retain flag; NUL bytes included")
  func receive() throws {
    let broker = try Broker()
    let session = try MQTTSession(
      broker, id: "a", filters: [("t/+", 1), ("zero", 0)], isSafe: false)
    try session.connect()
    #expect(!session.client.status.sessionPresent)
    try broker.publish("t/1", "one")
    try broker.publish("t/2", "")
    try broker.publish("zero", "0", qos: 0)
    try session.collect(3)
    #expect(session.texts == ["t/1=one", "t/2=", "zero=0"])
    #expect(session.messages.map(\.qos) == [1, 1, 0])
    #expect(session.messages.allSatisfy { !$0.isRetained })
    #expect(session.client.status.messages == 3)
    #expect(session.client.status.unacknowledged == 2)
    session.client.transmit(everythingIsSafe: true, now: SystemClocks.now())
    #expect(session.client.status.unacknowledged == 0)
  }

  @Test("a retained message says so")
  func retained() throws {
    let broker = try Broker()
    try broker.publish("t/kept", "old", options: ["-r"])
    let session = try MQTTSession(broker, id: "a", filters: [("t/#", 1)])
    try session.connect()
    try session.collect(1)
    #expect(session.messages[0].isRetained)
  }

  @Test("what was not transmitted as safe is delivered again to the next process, all of it")
  func heldIsRedelivered() throws {
    let broker = try Broker()
    try MQTTSession(broker, id: "held", filters: [("t", 1)]).establish()
    for number in 0..<5 { try broker.publish("t", "\(number)") }
    do {
      // Ends as a killed process does: the kernel closes the socket, nothing else is sent.
      let session = try MQTTSession(broker, id: "held", filters: [("t", 1)], isSafe: false)
      try session.connect()
      #expect(session.client.status.sessionPresent)
      try session.collect(5)
      #expect(session.client.status.unacknowledged == 5)
      #expect(!session.client.interest.contains(.writable))
    }
    let next = try MQTTSession(broker, id: "held", filters: [("t", 1)])
    try next.connect()
    try next.collect(5)
    #expect(next.texts == (0..<5).map { "t=\($0)" })
    try next.acknowledgeAndWait()
    let last = try MQTTSession(broker, id: "held", filters: [("t", 1)])
    try last.connect()
    try broker.publish("t", "new")
    try last.collect(1)
    #expect(last.texts == ["t=new"])
  }

  @Test("a hold in the middle keeps exactly what came after the last safe point")
  func partlySafe() throws {
    let broker = try Broker()
    try MQTTSession(broker, id: "mid", filters: [("t", 1)]).establish()
    do {
      let session = try MQTTSession(broker, id: "mid", filters: [("t", 1)], isSafe: false)
      try session.connect()
      for number in 0..<3 { try broker.publish("t", "\(number)") }
      try session.collect(3)
      try session.acknowledgeAndWait()
      for number in 3..<6 { try broker.publish("t", "\(number)") }
      try session.collect(6)
    }
    let next = try MQTTSession(broker, id: "mid", filters: [("t", 1)])
    try next.connect()
    try next.collect(3)
    #expect(next.texts == ["t=3", "t=4", "t=5"])
  }

  @Test("a full queue or a pause stops reading; nothing is lost and the turn is bounded")
  func backPressure() throws {
    let broker = try Broker()
    try MQTTSession(broker, id: "slow", filters: [("t", 1)]).establish()
    for number in 0..<30 { try broker.publish("t", "\(number)") }
    let session = try MQTTSession(broker, id: "slow", filters: [("t", 1)], queue: 4)
    try session.connect()
    session.client.isPaused = true
    #expect(!session.client.interest.contains(.readable))
    session.client.isPaused = false
    try session.collect(30)
    #expect(session.texts == (0..<30).map { "t=\($0)" })
    #expect(session.fullestTurn <= 4)
  }

  @Test("a payload over the limit is reported without its bytes")
  func oversize() throws {
    let broker = try Broker()
    let session = try MQTTSession(broker, id: "a", filters: [("t", 1)], payloadMax: 1_001)
    try session.connect()
    try broker.publish("t", String(repeating: "x", count: 1_001))
    try broker.publish("t", String(repeating: "y", count: 1_000))
    try session.collect(2)
    #expect(session.messages.map(\.oversizeBytes) == [1_001, 0])
    #expect(session.messages.map(\.payload.count) == [0, 1_000])
  }

  @Test(
    "a message that is too long is passed over, acknowledged and reported, and the next ones come",
    arguments: [false, true])
  func tooLong(isTLS: Bool) throws {
    let files = try Certificates.shared
    let broker = try Broker(certificate: isTLS ? "good" : nil)
    func session() throws -> MQTTSession {
      var tls: MosquittoTLS?
      if isTLS {
        let context = try TLSContext(
          authorities: files.file("ca.pem"), certificate: "", key: "", minimum: .tls12)
        tls = try MosquittoTLS(context, serverName: "localhost")
      }
      return try MQTTSession(
        broker, id: "long", filters: [("t/#", 1)], isSafe: false, payloadMax: 65_536, tls: tls)
    }
    let options = isTLS ? ["--cafile", files.path("ca.pem"), "--insecure"] : []
    let file = TemporaryDirectory()
    let large = file.file("large").description
    try Data(repeating: 0x78, count: 5_000_000).write(to: URL(fileURLWithPath: large))
    try session().establish()
    func publishLarge(_ topic: String, qos: Int) throws {
      try run(
        "/usr/bin/mosquitto_pub",
        ["-h", "127.0.0.1", "-p", "\(broker.port)", "-q", "\(qos)", "-t", topic, "-f", large]
          + options)
    }
    let deep = "t" + String(repeating: "/t", count: 50)
    for topic in ["t/one", deep] {
      try publishLarge(topic, qos: 1)
      try broker.publish("t/small", topic, options: options)
    }
    // It is not acknowledged before what came with it is safe, and comes again as any other.
    for _ in 0..<2 {
      let killed = try session()
      try killed.connect()
      try killed.collect(1)
      #expect(killed.texts.first == "t/one=")
      #expect(killed.messages[0].oversizeBytes == 5_000_000)
      #expect(killed.client.status.unacknowledged > 0)
      #expect(killed.client.memory <= 4 * 65_536)
    }
    let next = try session()
    try next.connect()
    try next.turn(until: { _ in
      next.acknowledge()
      return next.messages.count >= 4
    })
    #expect(next.texts == ["t/one=", "t/small=t/one", deep + "=", "t/small=" + deep])
    try publishLarge("t/zero", qos: 0)
    try broker.publish("t/small", "behind", options: options)
    try next.turn(until: { _ in
      next.acknowledge()
      return next.messages.count >= 6
    })
    #expect(next.texts.suffix(2) == ["t/zero=", "t/small=behind"])
    #expect(next.messages[4].qos == 0)
    #expect(next.client.status.connections == 1)
    #expect(next.client.memory <= 4 * 65_536)
    try next.acknowledgeAndWait()
    let last = try session()
    try last.connect()
    try broker.publish("t/small", "new", options: options)
    try last.collect(1)
    #expect(last.texts == ["t/small=new"])
  }

  @Test("a broker that restarts is found again with growing, jittered pauses, and resubscribed")
  func reconnect() throws {
    let broker = try Broker()
    let session = try MQTTSession(broker, id: "again", filters: [("t", 1)])
    try session.connect()
    broker.stop()
    try session.turn(until: { $0.state == .waiting && !$0.status.lastFailure.isEmpty })
    // Refused until the broker is back; virtual time makes the pauses short.
    for _ in 0..<4 {
      session.skipPause()
      try session.turn(until: { $0.state == .waiting })
      #expect(session.client.status.lastFailure.contains("refused"), "\(session.client.status)")
      let pause = try #require(session.client.nextDeadline()) - session.now
      #expect(pause <= .seconds(30))
    }
    try broker.start()
    session.skipPause()
    try session.turn(until: { $0.state == .connected })
    #expect(session.client.status.connections == 2)
    session.client.transmit(everythingIsSafe: true, now: session.now)
    try session.waitForBroker()
    try broker.publish("t", "back")
    try session.collect(1)
    #expect(session.texts == ["t=back"])
  }

  @Test("a broker that accepts and says nothing is given up after 30 s")
  func silent() throws {
    let listener = try Listener(tcp: loopback(0))
    let port = try #require(listener.localAddress()).port
    let session = try MQTTSession(port: port, id: "a", filters: [])
    session.begin()
    try session.turn(milliseconds: 20)
    #expect(session.client.state == .connecting)
    session.now = session.now + .seconds(31)
    _ = session.client.handleTimeout(now: session.now)
    #expect(session.client.state == .waiting)
    #expect(session.client.status.lastFailure == "no answer within 30 s")
  }

  @Test("a refused log-in says why; the right one gets in")
  func password() throws {
    let broker = try Broker(password: true)
    let wrong = try MQTTSession(broker, id: "a", filters: [], login: ("u", "wrong"))
    wrong.begin()
    try wrong.turn(until: { $0.state == .waiting })
    #expect(wrong.client.status.lastFailure.hasPrefix("refused: Connection Refused: "))
    let right = try MQTTSession(broker, id: "a", filters: [], login: ("u", "secret"))
    try right.connect()
  }

  @Test("publications: QoS 1 is confirmed by the broker, QoS 0 when written; there is a bound")
  func publish() throws {
    let broker = try Broker()
    let session = try MQTTSession(broker, id: "a", filters: [("echo", 1)])
    try session.connect()
    let text = Array("text".utf8)
    var ids: Set<Int32> = []
    for number in 0..<32 {
      let id = session.client.publish(
        topic: "echo", payload: text.span, qos: UInt8(number % 2), isRetained: false)
      ids.insert(try #require(id))
    }
    let beyond = session.client.publish(
      topic: "echo", payload: text.span, qos: 1, isRetained: false)
    #expect(beyond == nil)
    var confirmed: Set<Int32> = []
    try session.turn(until: { client in
      while let publication = client.nextPublication() {
        #expect(publication.isDelivered)
        confirmed.insert(publication.id)
      }
      return confirmed.count == 32
    })
    #expect(confirmed == ids)
    try session.collect(32)
  }

  @Test("MQTT over TLS: chain and name are verified though libmosquitto is told only the address")
  func tls() throws {
    let files = try Certificates.shared
    let broker = try Broker(certificate: "good")
    func session(_ name: String, ca: String = "ca.pem") throws -> MQTTSession {
      let context = try TLSContext(
        authorities: files.file(ca), certificate: "", key: "", minimum: .tls12)
      return try MQTTSession(
        broker, id: "tls", filters: [("t", 1)],
        tls: MosquittoTLS(context, serverName: ByteString(name)))
    }
    for name in ["localhost", "127.0.0.1", "x.wild.example"] {
      let good = try session(name)
      try good.connect()
      try good.client.publishText("t", "hello")
      try good.collect(1)
      #expect(good.texts == ["t=hello"])
      try good.acknowledgeAndWait()
    }
    for (name, ca, reason) in [
      ("example.com", "ca.pem", "hostname mismatch"),
      ("127.0.0.2", "ca.pem", "IP address mismatch"),
      ("localhost", "other.pem", "self-signed certificate in certificate chain"),
    ] {
      let bad = try session(name, ca: ca)
      bad.begin()
      try bad.turn(until: { $0.state == .waiting })
      let text = bad.client.status.lastFailure
      let expected = "TLS handshake with \(name): certificate verify failed: \(reason): "
      #expect(text.hasPrefix(expected), "\(text)")
    }
  }

  @Test("MQTT over TLS: a refused connection and a plain peer are noticed")
  func tlsFailures() throws {
    let files = try Certificates.shared
    let context = try TLSContext(
      authorities: files.file("ca.pem"), certificate: "", key: "", minimum: .tls12)
    let tls = try MosquittoTLS(context, serverName: "localhost")
    let refused = try MQTTSession(port: try freePort(), id: "a", filters: [], tls: tls)
    refused.begin()
    try refused.turn(until: { $0.state == .waiting })
    #expect(refused.client.status.lastFailure.contains("refused"), "\(refused.client.status)")

    let listener = try Listener(tcp: loopback(0))
    let port = try #require(listener.localAddress()).port
    let closed = try MQTTSession(
      port: port, id: "a", filters: [], tls: MosquittoTLS(context, serverName: "localhost"))
    closed.begin()
    var peer: TCPSocket?
    try closed.turn(until: { client in
      if let accepted = try? listener.accept() {
        peer = accepted
        peer = nil
      }
      return client.state == .waiting
    })
    #expect(peer == nil && !closed.client.status.lastFailure.isEmpty)
  }
}

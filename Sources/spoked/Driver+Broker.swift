import Configuration
import Gateway
import Platform
import Primitives

/// The MQTT broker: read, made safe, and only then acknowledged.
extension Driver {
  /// Reads the files that the connection needs; nil: there is no broker.
  static func planBroker(_ configuration: Configuration) throws(StartError) -> BrokerPlan? {
    guard let mqtt = configuration.mqtt else { return nil }
    var settings = MosquittoSettings(
      clientID: mqtt.clientID,
      filters: mqtt.subscriptions.map { MQTTFilter(topic: $0.filter, qos: $0.qos) })
    settings.username = mqtt.username
    settings.password = try password(mqtt)
    settings.messageBytesMax = GatewayLimits.recordBytesMax
    guard mqtt.isTLS else { return BrokerPlan(configuration: mqtt, settings: settings) }
    // libmosquitto makes its sessions itself: the client has a context of its own, with the broker's
    // name fixed in it.
    let context = try TLSContexts.make(mqtt.tls.map { configuration.tls[$0] })
    do throws(TLSError) {
      let tls = try MosquittoTLS(context, serverName: mqtt.host)
      return BrokerPlan(configuration: mqtt, settings: settings, context: context, tls: tls)
    } catch {
      throw StartError(
        "mqtt: \(error.description)", exitCode: ExitCode.configuration, key: ["mqtt", "broker"])
    }
  }

  /// `former`: filters that the broker's session may hold besides those of the configuration.
  func openBroker(_ plan: BrokerPlan?, former: [ByteString] = []) throws(StartError) {
    guard let plan else { return }
    var settings = plan.settings
    settings.formerFilters = former
    remember(plan.configuration, former)
    do throws(SystemError) {
      let client = try MosquittoClient(settings, tls: plan.tls, seed: RandomSeed.next())
      lastBrokerLookup -= 1
      broker = BrokerLink(plan, client: client, lookup: lastBrokerLookup, formerFilters: former)
    } catch {
      throw StartError("mqtt: \(error.description)")
    }
  }

  private static func password(_ mqtt: MQTTConfiguration) throws(StartError) -> [UInt8] {
    guard !mqtt.passwordFile.isEmpty else { return [] }
    do throws(FileError) {
      var password = try FileReader.contents(of: mqtt.passwordFile, limit: 65_535)
      while let last = password.last, last == 0x0A || last == 0x0D { password.removeLast() }
      return password
    } catch {
      // What is no path from the root may be the password itself.
      let isPath = mqtt.passwordFile.hasPrefix("/")
      throw StartError(
        "mqtt password_file: \(isPath ? error.description : error.reason)",
        exitCode: ExitCode.configuration, key: ["mqtt", "password_file"])
    }
  }

  /// The files of its `[tls.NAME]` table were read again: its next connection uses them.
  func refreshBrokerTLS(_ plan: BrokerPlan?) {
    guard let fresh = plan?.context, let tls = broker?.tls else { return }
    do throws(TLSError) { try tls.adopt(fresh) } catch { log(.error, "mqtt: \(error.description)") }
  }

  /// Before a subscription is asked for it is written down, and one that is ended afterwards.
  private func remember(_ mqtt: MQTTConfiguration, _ former: [ByteString]) {
    do throws(FileError) {
      try subscriptions.write(mqtt.subscriptions.map { $0.filter } + former, mqtt)
    } catch {
      log(.warning, "mqtt: the subscriptions cannot be written down: \(error.description)")
    }
  }

  /// Reads what is due, tells the gateway what has changed, hands messages over.
  func serveBroker() {
    guard let broker else { return }
    if broker.client.handleTimeout(now: clocks.now) == .resolve { lookUpBroker(broker) }
    announce(broker)
    _ = handOver(broker)
  }

  /// What the end of a turn has made room for has nothing else to wait for. True: messages were taken.
  func handOverRest() -> Bool {
    guard let broker, !broker.everythingFetched else { return false }
    return handOver(broker)
  }

  func brokerReady(_ ready: Ready) {
    guard let broker else { return }
    if ready.isHangUp {
      broker.client.hangUp(now: clocks.now)
    } else {
      broker.client.receive(now: clocks.now)
    }
  }

  /// At the end of the turn: acknowledgements leave when everything read so far is safe.
  func releaseBroker() {
    guard let broker else { return }
    let isSafe = gateway.mayReleaseMQTT && broker.everythingFetched
    broker.client.transmit(everythingIsSafe: isSafe, now: clocks.now)
    if isSafe, broker.client.status.unacknowledged == 0 { gateway.mqttReleased() }
    announce(broker)
    // Not before: the turn may have made safe what was pressing.
    broker.client.isPaused = broker.waiting != nil || !gateway.mayReceiveMQTT(now: clocks.now)
    do throws(SystemError) {
      try broker.client.updateRegistration(in: loop, token: Token.mqtt.packed)
    } catch {
      log(.warning, "mqtt: \(error.description)")
    }
  }

  func closeBroker() {
    guard let broker else { return }
    gateway.commit(clocks: clocks)
    let isSafe = gateway.mayReleaseMQTT && broker.everythingFetched
    broker.client.close(everythingIsSafe: isSafe)
    do throws(SystemError) {
      try broker.client.updateRegistration(in: loop, token: Token.mqtt.packed)
    } catch {
      log(.warning, "mqtt: \(error.description)")
    }
    self.broker = nil
  }

  // MARK: Connecting

  private func lookUpBroker(_ broker: BrokerLink) {
    let (host, port) = (broker.configuration.host, broker.configuration.port)
    // Not behind names that nobody answers for, which the resolver's one thread waits for.
    if let address = SocketAddress(numeric: host, port: port) {
      return broker.client.connect(to: [address], now: clocks.now)
    }
    if !resolver.submit(id: broker.lookup, host: host, port: port) {
      broker.client.resolutionFailed("the resolver is busy", now: clocks.now)
    }
  }

  func brokerResolved(_ broker: BrokerLink, _ outcome: Resolution.Outcome) {
    switch outcome {
    case .addresses(let addresses):
      broker.client.connect(to: addresses, now: clocks.now)
    case .failed(let reason):
      broker.client.resolutionFailed(reason, now: clocks.now)
    }
  }

  /// Tells the gateway about connections that came and went since it was last told.
  private func announce(_ broker: BrokerLink) {
    let status = broker.client.status
    if let announced = broker.announced, !status.isConnected || status.connections != announced {
      broker.announced = nil
      broker.waiting = nil
    }
    if status.isConnected, broker.announced == nil {
      broker.announced = status.connections
      broker.announcedFailure = ByteString()
      broker.announcedRefusals = 0
      gateway.mqttConnected(sessionPresent: status.sessionPresent, clocks: clocks)
    }
    for filter in status.refusedFilters.dropFirst(broker.announcedRefusals) {
      gateway.mqttSubscriptionRefused(filter, clocks: clocks)
    }
    broker.announcedRefusals = status.refusedFilters.count
    if status.isConnected, status.formerFilters == 0, !broker.formerFilters.isEmpty {
      broker.formerFilters = []
      remember(broker.configuration, [])
    }
    let failure = ByteString(status.lastFailure)
    if !status.isConnected, !failure.isEmpty, failure != broker.announcedFailure {
      broker.announcedFailure = failure
      gateway.mqttDisconnected(reason: status.lastFailure, clocks: clocks)
    }
  }

  // MARK: Messages

  /// True: messages were taken.
  @inline(never)
  private func handOver(_ broker: BrokerLink) -> Bool {
    var hasTaken = false
    if let message = broker.waiting {
      guard take(message) else { return false }
      broker.waiting = nil
      hasTaken = true
    }
    while gateway.mayReadMQTT, broker.client.nextMessage(into: &broker.scratch) {
      guard take(broker.scratch) else {
        broker.waiting = broker.scratch
        break
      }
      hasTaken = true
    }
    return hasTaken
  }

  private func take(_ message: MQTTMessage) -> Bool {
    gateway.receiveMQTT(
      topic: message.topic.span, payload: message.payload.span, qos: message.qos,
      messageID: message.id, oversize: message.oversizeBytes, clocks: clocks)
  }
}

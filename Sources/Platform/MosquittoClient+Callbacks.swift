import CLinux
import CMosquitto
import Primitives

/// What libmosquitto calls, always from within one of the calls to it.
extension MosquittoClient {
  func setCallbacks() {
    mosquitto_connect_with_flags_callback_set(client) { _, context, code, flags in
      MosquittoClient.from(context).didConnect(code: code, flags: flags)
    }
    mosquitto_message_callback_set(client) { _, context, message in
      if let message { MosquittoClient.from(context).didReceive(message.pointee) }
    }
    mosquitto_subscribe_callback_set(client) { _, context, id, count, granted in
      let refused = count > 0 && granted![0] > 2
      MosquittoClient.from(context).didSubscribe(id, isRefused: refused)
    }
    mosquitto_unsubscribe_callback_set(client) { _, context, _ in
      MosquittoClient.from(context).didUnsubscribe()
    }
    mosquitto_publish_callback_set(client) { _, context, id in
      MosquittoClient.from(context).didPublish(id)
    }
  }

  /// While a connection is made libmosquitto says more in its log than in its answers. Afterwards it would
  /// write out two lines for each message, for nobody.
  func listen(isConnecting: Bool) {
    guard isConnecting else { return mosquitto_log_callback_set(client, nil) }
    mosquitto_log_callback_set(client) { _, context, level, text in
      guard level == MOSQ_LOG_ERR, let context, let text else { return }
      MosquittoClient.from(context).didLog(String(cString: text))
    }
  }

  private static func from(_ context: UnsafeMutableRawPointer?) -> MosquittoClient {
    Unmanaged<MosquittoClient>.fromOpaque(context!).takeUnretainedValue()
  }

  /// A persistent session keeps its subscriptions, but not those that the configuration has
  /// changed; subscribing again is harmless.
  private func didConnect(code: Int32, flags: Int32) {
    guard code == 0 else {
      cause = "refused: \(String(cString: mosquitto_connack_string(code)))"
      return
    }
    defer { packetEnded() }
    listen(isConnecting: false)
    status.isConnected = true
    status.sessionPresent = flags & 1 == 1
    status.connections &+= 1
    status.refusedFilters.removeAll()
    status.formerFilters = settings.formerFilters.count
    for former in settings.formerFilters {
      let answer = former.withCString { mosquitto_unsubscribe(client, nil, $0) }
      if answer != 0 { cause = "unsubscribing \(former.description) failed" }
    }
    for filter in settings.filters {
      var id: Int32 = 0
      let answer = filter.topic.withCString {
        mosquitto_subscribe(client, &id, $0, Int32(filter.qos))
      }
      if answer != 0 { status.refusedFilters.append(filter.topic) }
      subscriptionIDs.append(answer == 0 ? id : -1)
    }
  }

  private func didReceive(_ message: mosquitto_message) {
    status.messages &+= 1
    receivedBytes &+= Int(message.payloadlen)
    if message.qos > 0 { status.unacknowledged += 1 }
    let taken = messages.push(
      topic: UnsafeRawBufferPointer(
        start: message.topic, count: message.topic.map { strlen($0) } ?? 0),
      payload: message.payload, count: Int(message.payloadlen),
      limit: settings.messageBytesMax, qos: UInt8(message.qos),
      id: UInt16(truncatingIfNeeded: message.mid), isRetained: message.retain)
    // Only a TLS record that holds many packets comes here. Lost as a QoS 0 message may be;
    // a QoS 1 message is delivered again, since this connection's acknowledgements never leave.
    if !taken { cause = "more messages at once than the queue holds" }
    packetEnded()
  }

  /// Of a TLS record that holds many packets libmosquitto reads all at once.
  private func packetEnded() {
    isBetweenPackets = true
    unfinishedBytes = 0
    if isTLS { _ = lookAhead() }
  }

  private func didSubscribe(_ id: Int32, isRefused: Bool) {
    defer { packetEnded() }
    guard isRefused else { return }
    for index in subscriptionIDs.indices where subscriptionIDs[index] == id {
      status.refusedFilters.append(settings.filters[index].topic)
    }
  }

  private func didUnsubscribe() {
    defer { packetEnded() }
    if status.formerFilters > 0 { status.formerFilters -= 1 }
  }

  private func didPublish(_ id: Int32) {
    defer { packetEnded() }
    finishPublishing(isDelivered: true) { $0.id == id }
  }

  func finishPublishing(
    isDelivered: Bool, where isFinished: ((id: Int32, qos: UInt8)) -> Bool
  ) {
    for entry in publishing where isFinished(entry) {
      let fits = published.append(Publication(id: entry.id, isDelivered: isDelivered))
      precondition(fits, "MosquittoClient: more publications than were taken")
    }
    publishing.removeEach(where: isFinished)
  }

  /// The last error is the most general one, the first one is nearest to the cause.
  private func didLog(_ text: String) {
    if logged.isEmpty { logged = text }
  }
}

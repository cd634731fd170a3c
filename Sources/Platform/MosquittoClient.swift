import CLinux
import CMosquitto
import COpenSSL
import Primitives

/// libmosquitto as an MQTT 3.1.1 client with a persistent session, driven from the event loop.
///
/// libmosquitto acknowledges a QoS 1 message before the program has seen it. Here it may only queue
/// the acknowledgement, and `transmit` sends the queue when the caller says that everything received
/// so far is safe. The queue is in order, so nothing at all leaves before that; hold it for much
/// less than the keep-alive time. A connection that is lost forgets the queue, and the broker
/// delivers again.
///
/// A turn: `receive` when readable, `nextMessage` until none, make them safe, `transmit`; then
/// `updateRegistration`.
public final class MosquittoClient {
  /// Where the connection stands.
  public enum State: Equatable, Sendable {
    /// Until the next attempt.
    case waiting
    /// `handleTimeout` asked for the broker's address.
    case resolving
    case connecting
    case connected
    /// `close` was called.
    case closed
  }

  /// What `handleTimeout` wants.
  public enum Timeout: Equatable, Sendable {
    case nothing
    /// Resolve the broker's name and call `connect`, or `resolutionFailed`.
    case resolve
  }

  public private(set) var state = State.waiting
  public internal(set) var status = MosquittoStatus()
  /// Back-pressure: nothing is read while it is set, and the broker holds back what is not
  /// acknowledged.
  public var isPaused = false

  let settings: MosquittoSettings
  let client: OpaquePointer
  private let tls: MosquittoTLS?
  var messages: MessageRing
  var published: FixedQueue<Publication>
  /// Handed to libmosquitto and not answered.
  var publishing: [(id: Int32, qos: UInt8)] = []
  var subscriptionIDs: [Int32] = []
  private var isHolding = false
  /// Why this connection must end.
  var cause = ""
  /// What libmosquitto logged first about it.
  var logged = ""
  private var registration: Registration?
  private var registeredAttempt: UInt64 = 0
  /// Counts connections that were tried.
  private var attempt: UInt64 = 0
  private var random: SplitMix64
  private var attempts: UInt32 = 0
  /// Of messages, without their topics and headers.
  var receivedBytes = 0
  /// libmosquitto has read all of a packet and nothing of the next one.
  var isBetweenPackets = true
  /// What is read past it.
  var long: LongMessage?
  /// Long messages that were read past it.
  var longMessages: UInt64 = 0
  /// What is written past it, once everything before is.
  var own: [UInt8] = []
  /// What was there for reads in a row after which no packet was whole.
  var unfinishedBytes = 0
  private var since = Instant(nanoseconds: 0)
  /// Of the next attempt, of the attempt under way, or of the next look at the keep-alive.
  private var deadline = Instant(nanoseconds: 0)

  /// `tls` nil: plain MQTT. The context must be this client's own.
  public init(_ settings: MosquittoSettings, tls: MosquittoTLS?, seed: UInt64) throws(SystemError) {
    mosquitto_lib_init()
    SignalDescriptor.ignoreBrokenPipe()
    let made = settings.clientID.withCString { mosquitto_new($0, false, nil) }
    guard let made else { throw SystemError("mosquitto_new", spoke_errno()) }
    client = made
    self.settings = settings
    self.tls = tls
    messages = MessageRing(
      capacity: settings.messagesMax, bytes: settings.messagesBytesFull)
    published = FixedQueue(capacity: settings.publishedMax)
    random = SplitMix64(seed: seed)
    mosquitto_user_data_set(client, Unmanaged.passUnretained(self).toOpaque())
    setCallbacks()
    var answer = spoke_mosquitto_hold_writes(client)
    if answer == 0 { answer = spoke_mosquitto_no_delay(client) }
    if answer == 0, let tls { answer = spoke_mosquitto_use_tls(client, tls.opaqueContext) }
    if answer == 0, !settings.username.isEmpty {
      answer = settings.username.withCString { username in
        ByteString(settings.password).withCString {
          mosquitto_username_pw_set(client, username, $0)
        }
      }
    }
    if answer != 0 { throw SystemError("mosquitto", EINVAL) }
  }

  deinit { mosquitto_destroy(client) }

  /// Tells the loop what is to be watched now, at the end of every turn in which the client was
  /// called: libmosquitto closes and opens its descriptor by itself.
  public func updateRegistration(in loop: EventLoop, token: UInt64) throws(SystemError) {
    if let registration, descriptor == nil || registeredAttempt != attempt {
      loop.deregister(registration)
      self.registration = nil
    }
    guard let descriptor else { return }
    if let registration {
      try loop.modify(registration, interest: interest)
    } else {
      registration = try loop.register(descriptor, token: token, interest: interest)
      registeredAttempt = attempt
    }
  }

  /// Of the connection, if there is one. Changes with every connection, and a new one may have the
  /// number of the old one: `updateRegistration` knows.
  public var descriptor: Int32? {
    guard state == .connecting || state == .connected else { return nil }
    let descriptor = mosquitto_socket(client)
    return descriptor >= 0 ? descriptor : nil
  }

  /// What the event loop should watch the descriptor for.
  public var interest: Interest {
    guard descriptor != nil else { return [] }
    if let session = handshakingSession {
      return spoke_SSL_wants_write(session) != 0 ? .writable : .readable
    }
    var interest: Interest = isPaused || messages.isFull || !own.isEmpty ? [] : .readable
    if !isHolding && (mosquitto_want_write(client) || !own.isEmpty) { interest.insert(.writable) }
    return interest
  }

  // MARK: Time

  /// When `handleTimeout` is due.
  public func nextDeadline() -> Instant? {
    state == .closed || state == .resolving ? nil : deadline
  }

  /// Call at the deadline; it may be called at any time.
  public func handleTimeout(now: Instant) -> Timeout {
    guard now >= deadline else { return .nothing }
    switch state {
    case .waiting:
      state = .resolving
      return .resolve
    case .connecting:
      lose("no answer within \(connectTimeout.milliseconds / 1_000) s", now: now)
    case .connected:
      deadline = now + .milliseconds(Int64(settings.keepAlive) * 250)
      if long == nil {
        settle(mosquitto_loop_misc(client), now: now)
      } else if !keepAlive() {
        lose("the rest of a message does not come", now: now)
      }
    case .resolving, .closed:
      break
    }
    return .nothing
  }

  // MARK: Connecting

  /// Starts to connect to one of the broker's addresses, another one with each attempt.
  public func connect(to addresses: [SocketAddress], now: Instant) {
    guard state == .resolving else { return }
    guard !addresses.isEmpty else { return resolutionFailed("no address", now: now) }
    let address = addresses[Int(attempts) % addresses.count]
    logged = ""
    listen(isConnecting: true)
    tls?.reset()
    unfinishedBytes = 0
    isBetweenPackets = true
    long = nil
    own = []
    subscriptionIDs.removeAll(keepingCapacity: true)
    state = .connecting
    attempt += 1
    since = now
    deadline = now + connectTimeout
    // In numbers: libmosquitto would look a name up and wait for the answer.
    let answer = ByteString(address.host).withCString {
      mosquitto_connect_async(client, $0, Int32(address.port), Int32(settings.keepAlive))
    }
    if let descriptor { _ = spoke_limit_receiving(descriptor, receiveBytesMax) }
    settle(answer, now: now)
  }

  /// The broker's name has no address now.
  public func resolutionFailed(_ reason: String, now: Instant) {
    if state == .resolving { lose(reason, now: now) }
  }

  /// Says goodbye when everything received is safe, otherwise just leaves: what is not
  /// acknowledged is delivered again to the next process. Nothing can be done with it afterwards.
  public func close(everythingIsSafe: Bool) {
    if state == .connected, everythingIsSafe, mosquitto_disconnect(client) == 0 {
      _ = mosquitto_loop_write(client, 1)
    }
    state = .closed
    status.isConnected = false
  }

  // MARK: Receiving

  /// When the descriptor is ready for anything. Takes at most `packetsPerTurnMax` packets, and none while
  /// the message queue is full. Where a long message was not seen in time, libmosquitto keeps it until it
  /// is whole: that much is not waited for, and with the next connection it is the first that comes.
  public func receive(now: Instant) {
    guard let descriptor else { return }
    if state == .connecting {
      let code = spoke_socket_error(descriptor)
      if code != 0 { return lose(SystemError("connect", code).description, now: now) }
    }
    var reads = 0
    // What the socket still holds, at least: asking the kernel after every packet would cost as much
    // as reading one.
    var waiting = 0
    // libmosquitto reads one packet a call, whatever number it is given.
    repeat {
      // Acknowledgements are in the order of the messages (MQTT 3.1.1 §4.6). What OpenSSL has read does
      // not wait: nothing would say that it is there.
      guard !messages.isFull, own.isEmpty || hasDecrypted,
        state == .connecting || state == .connected
      else { return }
      reads += 1
      let wasHandshaking = handshakingSession != nil
      let before = receivedBytes
      let longBefore = longMessages
      let isUnfinished = !isBetweenPackets
      if long != nil {
        passOver()
      } else if isBetweenPackets, !wasHandshaking, !lookAhead() {
        return
      }
      if !cause.isEmpty { return lose(cause, now: now) }
      if long != nil { return }
      if longMessages != longBefore {
        waiting = max(Int(spoke_waiting_bytes(descriptor)), hasDecrypted ? 1 : 0)
        continue
      }
      let there = isUnfinished ? Int(spoke_waiting_bytes(descriptor)) : 0
      settle(mosquitto_loop_read(client, 1), now: now)
      if wasHandshaking { return }
      guard self.descriptor == descriptor else { return }
      if !isBetweenPackets { unfinishedBytes += there }
      if unfinishedBytes > settings.packetBytesMax / 4 * 5 {
        return lose("a message of more than \(settings.packetBytesMax) bytes", now: now)
      }
      let packet = receivedBytes - before
      waiting -= packet
      if packet == 0 || waiting <= 0 { waiting = Int(spoke_waiting_bytes(descriptor)) }
    } while reads < packetsPerTurnMax && waiting > 0
  }

  var isTLS: Bool { tls != nil }

  /// The event loop saw a hang-up. Reading finds it as a rule, but not during a TLS handshake, where
  /// libmosquitto would try for ever.
  public func hangUp(now: Instant) {
    receive(now: now)
    guard handshakingSession != nil else { return }
    lose("the connection was refused or closed before TLS was up", now: now)
  }

  /// The next message, exchanged for `message`, whose room is used again.
  public func nextMessage(into message: inout MQTTMessage) -> Bool { messages.pop(into: &message) }

  public var hasMessages: Bool { !messages.isEmpty }

  /// Bytes held of messages, for the memory ledger, those of one that is not whole included.
  public var memory: Int {
    messages.memory + unfinishedBytes + (long?.start.capacity ?? 0)
  }

  // MARK: Sending

  /// Writes what is queued, acknowledgements included. `everythingIsSafe`: every message that
  /// `nextMessage` gave so far is where a crash cannot lose it, and there are none left to fetch.
  /// While anything received is not, nothing is written.
  public func transmit(everythingIsSafe: Bool, now: Instant) {
    guard let descriptor else { return }
    let isSafe = everythingIsSafe && messages.isEmpty
    isHolding = status.unacknowledged > 0 && !isSafe
    guard !isHolding, handshakingSession == nil else { return }
    if mosquitto_want_write(client) {
      // libmosquitto writes each packet by itself: acknowledgements of four bytes go in one segment.
      let isCorked = status.unacknowledged > 1 && spoke_tcp_cork(descriptor, 1) == 0
      settle(mosquitto_loop_write(client, 1), now: now)
      if isCorked, let descriptor = self.descriptor { _ = spoke_tcp_cork(descriptor, 0) }
    }
    guard self.descriptor != nil, !mosquitto_want_write(client), writeOwn() else { return }
    status.unacknowledged = 0
  }

  /// Hands a message to libmosquitto, which repeats a QoS 1 message until the broker has it, over
  /// reconnections too. Nil: not connected, or as many are under way as may be.
  public func publish(
    topic: ByteString, payload: Span<UInt8>, qos: UInt8, isRetained: Bool
  ) -> Int32? {
    guard state == .connected, publishing.count + published.count < settings.publishedMax
    else { return nil }
    var id: Int32 = 0
    let answer = topic.withCString { topic in
      payload.withUnsafeBytes {
        mosquitto_publish(
          client, &id, topic, Int32($0.count), $0.baseAddress, Int32(min(qos, 1)), isRetained)
      }
    }
    guard answer == 0 else { return nil }
    publishing.append((id, min(qos, 1)))
    return id
  }

  /// What became of the next published message.
  public func nextPublication() -> Publication? { published.popFirst() }

  // MARK: The connection's end

  /// Of a TLS handshake that is not over.
  private var handshakingSession: UnsafeMutableRawPointer? {
    guard tls != nil, state == .connecting, let session = mosquitto_ssl_get(client) else {
      return nil
    }
    return spoke_SSL_is_handshaking(session) != 0 ? session : nil
  }

  /// Looks at what a call of libmosquitto answered, and whether the connection outlived it.
  private func settle(_ answer: Int32, now: Instant) {
    guard state == .connecting || state == .connected else { return }
    if state == .connecting, status.isConnected {
      state = .connected
      since = now
      deadline = now + .milliseconds(Int64(settings.keepAlive) * 250)
    }
    if answer == 0, mosquitto_socket(client) >= 0, cause.isEmpty { return }
    lose(cause.isEmpty ? reason(answer) : cause, now: now)
  }

  private func reason(_ answer: Int32) -> String {
    if !logged.isEmpty { return logged }
    if answer == Int32(MOSQ_ERR_ERRNO.rawValue) {
      return SystemError("socket", spoke_errno()).reason
    }
    if answer == 0 { return "the broker closed the connection" }
    return String(cString: mosquitto_strerror(answer))
  }

  private func lose(_ reason: String, now: Instant) {
    // libmosquitto closes its socket with the next attempt, or has done it.
    if let descriptor { _ = spoke_shutdown_both(descriptor) }
    if state == .connected, now - since >= stableAfter { attempts = 0 }
    status.isConnected = false
    status.unacknowledged = 0
    status.lastFailure = tls?.refusal() ?? reason
    isHolding = false
    cause = ""
    // The queue went with the connection; QoS 1 messages are sent again with the next one.
    finishPublishing(isDelivered: false) { $0.qos == 0 }
    state = .waiting
    // Full jitter under a doubling ceiling: a broker that comes back is not stormed.
    let ceiling = min(retryMin.nanoseconds << Int64(min(attempts, 10)), retryMax.nanoseconds)
    attempts &+= 1
    deadline = now + Interval(nanoseconds: Int64(random.below(UInt64(ceiling))))
  }
}

/// From the start of an attempt to CONNACK. A slow link with TLS needs several seconds.
private let connectTimeout = Interval.seconds(30)
private let retryMin = Interval.milliseconds(500)
private let retryMax = Interval.seconds(30)
/// A connection that lasted this long starts the back-off anew.
private let stableAfter = Interval.seconds(30)
/// Bounds one turn's work.
private let packetsPerTurnMax = 64
/// What the kernel keeps for us while nothing is read, and so what one read may bring at most.
private let receiveBytesMax: Int32 = 64 << 10

import Primitives

extension HTTP2Connection {
  /// When `handleTimeout` is due. An event that waits is due at once.
  public func nextDeadline() -> Instant? {
    if hasEvent { return Instant(nanoseconds: 0) }
    guard ending == nil else { return nil }
    guard let settingsDeadline else { return keepAlive.deadline() }
    guard let other = keepAlive.deadline() else { return settingsDeadline }
    return min(settingsDeadline, other)
  }

  /// Asks the peer whether it is there, without waiting for its silence.
  public mutating func ask(now: Instant) {
    guard ending == nil, let opaque = keepAlive.ask(now: now) else { return }
    sendPing(opaque)
  }

  private mutating func sendPing(_ opaque: UInt64) {
    sendControl(.ping, on: 0, payload: opaque, length: 8)
    keepAlive.queued(output.count)
  }

  /// Looks at the time; call it until nil.
  public mutating func handleTimeout(now: Instant) -> HTTP2Event? {
    if ending == nil, let settingsDeadline, now >= settingsDeadline {
      fail(.settingsTimeout, origin: .timeout)
    }
    if ending == nil {
      switch keepAlive.handleTimeout(now: now) {
      case .nothing: break
      case .ping(let opaque): sendPing(opaque)
      case .expired: fail(.keepAliveTimeout, origin: .timeout)
      }
    }
    return nextEvent()
  }
}

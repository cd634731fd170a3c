import Platform
import Primitives

/// What the service manager is told: that the daemon is ready, that its loop turns, and one line of
/// how things are.
struct Service {
  private let notifier = ServiceNotifier()
  private var watchdogAt: Instant?
  private var statusAt = Instant(nanoseconds: 0)
  private var status = ByteString()

  /// The line is for a person who looks now and then.
  private static let statusInterval = Interval.seconds(5)

  mutating func ready(_ line: String, now: Instant) {
    notifier.ready(status: line)
    status = ByteString(line)
    statusAt = now
    if let interval = notifier.watchdogInterval { watchdogAt = now + half(interval) }
  }

  func reloading(now: Instant) { notifier.reloading(now: now) }

  func stopping(within interval: Interval) { notifier.stopping(within: interval) }

  /// At the end of each turn: a loop that no longer comes here is not fed.
  mutating func turned(_ line: () -> String, now: Instant) {
    guard notifier.isActive else { return }
    if let due = watchdogAt, due <= now, let interval = notifier.watchdogInterval {
      notifier.watchdog()
      watchdogAt = now + half(interval)
    }
    guard now - statusAt >= Self.statusInterval else { return }
    statusAt = now
    let text = ByteString(line())
    guard text != status else { return }
    status = text
    notifier.status(text.description)
  }

  var nextDeadline: Instant? { watchdogAt }

  private func half(_ interval: Interval) -> Interval {
    Interval(nanoseconds: interval.nanoseconds / 2)
  }
}

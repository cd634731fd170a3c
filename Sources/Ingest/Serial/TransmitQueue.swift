import Primitives

/// What became of a message to a board.
public struct TransmitResult: Equatable, Sendable {
  /// How it ended.
  public enum Outcome: Equatable, Sendable {
    /// Its last byte was taken by the driver.
    case sent
    /// The board did not become ready in time. Some of it may have been sent.
    case timedOut
    /// The port hung up, or was closed.
    case portDown
  }

  /// As it was given with the message.
  public let token: UInt64
  public let outcome: Outcome
}

/// Messages on their way to a serial port, which may stop taking bytes at any time, and for good: a
/// board that holds CTS. Each message is answered once: sent, timed out or port down. One that finds
/// no room is refused at once. A message goes out whole, unless it times out on its way.
public struct TransmitQueue: Sendable {
  private struct Message: Sendable {
    var bytes: [UInt8]
    let token: UInt64
    let deadline: Instant
    var sent = 0
  }

  private var messages: [Message] = []
  private var results: [TransmitResult] = []
  private var waiting = 0

  public init() {}

  /// Takes a message that must have gone out by `deadline`. False: there is no room for it, or it is
  /// empty or longer than `bytesMax`.
  public mutating func submit(_ bytes: Span<UInt8>, token: UInt64, deadline: Instant) -> Bool {
    guard !bytes.isEmpty, messages.count + results.count < TransmitQueue.messagesMax,
      waiting + bytes.count <= TransmitQueue.bytesMax
    else { return false }
    var copy: [UInt8] = []
    copy.append(contentsOf: bytes)
    waiting += bytes.count
    messages.append(Message(bytes: copy, token: token, deadline: deadline))
    return true
  }

  public var isEmpty: Bool { messages.isEmpty }

  /// Bytes that wait, at most `bytesMax`.
  public var waitingBytes: Int { waiting }

  /// Lends what is to be written next.
  public func withOutput<Answer>(_ body: (Span<UInt8>) -> Answer) -> Answer? {
    guard let first = messages.first else { return nil }
    let bytes = first.bytes
    return body(bytes.span.extracting(first.sent..<bytes.count))
  }

  /// So many bytes of it were written; answers the message that is now complete.
  public mutating func consumeOutput(_ count: Int) -> [UInt8]? {
    precondition(!messages.isEmpty, "TransmitQueue: nothing is being sent")
    messages[0].sent += count
    waiting -= count
    precondition(messages[0].sent <= messages[0].bytes.count, "TransmitQueue: more than there was")
    guard messages[0].sent == messages[0].bytes.count else { return nil }
    let message = messages.removeFirst()
    results.append(TransmitResult(token: message.token, outcome: .sent))
    return message.bytes
  }

  /// When the next message will have waited long enough.
  public func nextDeadline() -> Instant? {
    var earliest: Instant?
    for message in messages { earliest = min(earliest ?? message.deadline, message.deadline) }
    return earliest
  }

  /// Gives up what should have been sent by now.
  public mutating func handleTimeout(now: Instant) {
    var index = 0
    while index < messages.count {
      if messages[index].deadline <= now {
        fail(index, .timedOut)
      } else {
        index += 1
      }
    }
  }

  /// Nothing of what waits can be sent any more.
  public mutating func handleHangUp() {
    while !messages.isEmpty { fail(0, .portDown) }
  }

  /// The next answer. Answers take the room of messages until they are read.
  public mutating func nextResult() -> TransmitResult? {
    results.isEmpty ? nil : results.removeFirst()
  }

  private mutating func fail(_ index: Int, _ outcome: TransmitResult.Outcome) {
    let message = messages.remove(at: index)
    waiting -= message.bytes.count - message.sent
    results.append(TransmitResult(token: message.token, outcome: outcome))
  }

  /// Messages, those not yet answered for included.
  public static let messagesMax = 8
  /// Bytes of all messages together: four seconds at 9600 baud.
  public static let bytesMax = 4_096
}

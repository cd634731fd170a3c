import Ingest
import Primitives
import Testing

@Suite("29: messages to a board that may never be ready")
struct TransmitQueueTests {
  private func at(_ seconds: UInt64) -> Instant { Instant(nanoseconds: seconds * 1_000_000_000) }

  @Test("messages leave in order, in any portions, and each is answered once")
  func order() {
    var queue = TransmitQueue()
    let first = Array("first".utf8)
    let second = Array("second".utf8)
    #expect(queue.submit(first.span, token: 1, deadline: at(5)))
    #expect(queue.submit(second.span, token: 2, deadline: at(5)))
    var line: [UInt8] = []
    while !queue.isEmpty {
      _ = queue.withOutput { line.append($0[0]) }
      _ = queue.consumeOutput(1)
    }
    #expect(line == first + second && queue.waitingBytes == 0)
    var answers: [UInt64] = []
    while let result = queue.nextResult(), result.outcome == .sent { answers.append(result.token) }
    #expect(answers == [1, 2])
  }

  @Test("a peer that is never ready: the queue is bounded, and every message is answered in time")
  func neverReady() {
    var queue = TransmitQueue()
    let message = [UInt8](repeating: 0x55, count: 1_000)
    var taken = 0
    for number in 0..<20 {
      if queue.submit(message.span, token: UInt64(number), deadline: at(5)) { taken += 1 }
    }
    #expect(taken == TransmitQueue.bytesMax / 1_000)
    #expect(queue.nextDeadline() == at(5))
    queue.handleTimeout(now: at(4))
    #expect(queue.nextResult() == nil)
    queue.handleTimeout(now: at(5))
    var outcomes: [TransmitResult.Outcome] = []
    while let result = queue.nextResult() { outcomes.append(result.outcome) }
    #expect(outcomes == Array(repeating: .timedOut, count: taken))
    #expect(queue.isEmpty && queue.waitingBytes == 0 && queue.nextDeadline() == nil)
  }

  @Test("small messages are bounded by their number, answers that nobody reads included")
  func count() {
    var queue = TransmitQueue()
    let byte: [UInt8] = [1]
    for number in 0..<TransmitQueue.messagesMax {
      #expect(queue.submit(byte.span, token: UInt64(number), deadline: at(1)))
    }
    #expect(!queue.submit(byte.span, token: 99, deadline: at(1)))
    queue.handleTimeout(now: at(1))
    #expect(!queue.submit(byte.span, token: 99, deadline: at(2)))
    _ = queue.nextResult()
    #expect(queue.submit(byte.span, token: 99, deadline: at(2)))
  }

  @Test("a hang-up answers what waits; nothing and too much are refused")
  func hangUp() {
    var queue = TransmitQueue()
    let empty: [UInt8] = []
    let large = [UInt8](repeating: 0, count: TransmitQueue.bytesMax + 1)
    #expect(!queue.submit(empty.span, token: 1, deadline: at(1)))
    #expect(!queue.submit(large.span, token: 1, deadline: at(1)))
    let message = Array("x".utf8)
    #expect(queue.submit(message.span, token: 7, deadline: at(1)))
    queue.handleHangUp()
    #expect(queue.nextResult()?.outcome == .portDown)
    #expect(queue.isEmpty)
  }
}

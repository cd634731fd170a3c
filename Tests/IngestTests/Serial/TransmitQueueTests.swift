import Ingest
import Primitives
import Testing

@Suite("29: messages to a board that may never be ready")
struct TransmitQueueTests {
  @Test("messages leave in order, in any portions, and each is answered once")
  func order() {
    var queue = TransmitQueue()
    let taken = [
      submit(&queue, Array("first".utf8), 1, 5), submit(&queue, Array("second".utf8), 2, 5),
    ]
    #expect(taken == [true, true])
    var line: [UInt8] = []
    while !queue.isEmpty {
      _ = queue.withOutput { line.append($0[0]) }
      _ = queue.consumeOutput(1)
    }
    #expect(line == Array("firstsecond".utf8))
    #expect(queue.waitingBytes == 0)
    let answers = results(&queue)
    #expect(answers == ["1 sent", "2 sent"])
  }

  @Test("a peer that is never ready: the queue is bounded, and every message is answered in time")
  func neverReady() {
    var queue = TransmitQueue()
    var taken = 0
    for number in 0..<20 {
      if submit(&queue, [UInt8](repeating: 0x55, count: 1_000), UInt64(number), 5) { taken += 1 }
    }
    #expect(taken == TransmitQueue.bytesMax / 1_000)
    #expect(queue.nextDeadline() == at(5))
    queue.handleTimeout(now: at(4))
    let early = results(&queue)
    #expect(early.isEmpty)
    queue.handleTimeout(now: at(5))
    let late = results(&queue)
    #expect(late == (0..<taken).map { "\($0) timedOut" })
    #expect(queue.isEmpty && queue.waitingBytes == 0 && queue.nextDeadline() == nil)
  }

  @Test("small messages are bounded by their number, answers that nobody reads included")
  func count() {
    var queue = TransmitQueue()
    var taken: [Bool] = []
    for number in 0...TransmitQueue.messagesMax {
      taken.append(submit(&queue, [1], UInt64(number), 1))
    }
    #expect(taken == Array(repeating: true, count: TransmitQueue.messagesMax) + [false])
    queue.handleTimeout(now: at(1))
    let before = submit(&queue, [1], 99, 2)
    _ = queue.nextResult()
    let after = submit(&queue, [1], 99, 2)
    #expect(!before && after)
  }

  @Test("a hang-up answers what waits; nothing and too much are refused")
  func hangUp() {
    var queue = TransmitQueue()
    let refused = [
      submit(&queue, [], 1, 1),
      submit(&queue, [UInt8](repeating: 0, count: TransmitQueue.bytesMax + 1), 1, 1),
    ]
    #expect(refused == [false, false])
    _ = submit(&queue, [0x78], 7, 1)
    queue.handleHangUp()
    let answers = results(&queue)
    #expect(answers == ["7 portDown"])
    #expect(queue.isEmpty)
  }

  private func at(_ seconds: UInt64) -> Instant { Instant(nanoseconds: seconds * 1_000_000_000) }

  private func submit(
    _ queue: inout TransmitQueue, _ bytes: [UInt8], _ token: UInt64, _ seconds: UInt64
  ) -> Bool {
    queue.submit(bytes.span, token: token, deadline: at(seconds))
  }

  private func results(_ queue: inout TransmitQueue) -> [String] {
    var results: [String] = []
    while let result = queue.nextResult() { results.append("\(result.token) \(result.outcome)") }
    return results
  }
}

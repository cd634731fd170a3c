import Primitives
import Testing

@testable import simulate

@Suite("Ledger")
struct LedgerTests {
  @Test("what another configuration left comes in any order, whatever its epoch; no other does")
  func orderAfterReload() {
    var ledger = Ledger(streams: 1)
    func key(_ epoch: UInt64, _ sequence: UInt64) -> RecordKey {
      RecordKey(stream: 0, epoch: epoch, sequence: sequence)
    }
    func take(_ keys: [RecordKey]) {
      for key in keys {
        _ = ledger.take(
          Entry(
            key: key, formerEpoch: key.epoch, hash: 1, takenAt: Instant(nanoseconds: 1), run: 1,
            durability: .spill, isWithoutDisk: false, isAfterEnd: false))
      }
    }
    // The epoch changed while the disk took no writes, then the number in flight did.
    take([key(1, 1), key(1, 2), key(1, 3), key(2, 4)])
    ledger.restartOrder()
    take([key(2, 5), key(2, 6)])
    for late in [key(1, 3), key(2, 4), key(1, 1), key(1, 2)] {
      ledger.deliver(late, inOrder: true, run: 1)
    }
    #expect(ledger.outOfOrder.isEmpty)
    ledger.deliver(key(2, 6), inOrder: true, run: 1)
    ledger.deliver(key(2, 5), inOrder: true, run: 1)
    #expect(ledger.outOfOrder == [key(2, 5)])
  }
}

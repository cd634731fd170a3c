import HPACK
import Primitives

/// The memory of requests. Buffers of ended requests stay with their slots for the next ones, as long
/// as they and the requests under way are together within the limit.
extension NetworkingCore {
  /// A slot is about to be filled: what it retained counts as its own again. When bytes in use and
  /// retained ones pass the limit together, the free slots give theirs back.
  mutating func useRetained(_ slot: Int) {
    retainedBytes -= capacity(slot)
    guard requestPool.used + retainedBytes > requestPool.limit else { return }
    for other in freeRequests {
      requests[other].body = []
      requests[other].headers = HeaderList()
    }
    retainedBytes = 0
    for other in requests.indices where requests[other].phase == .finished {
      retainedBytes += capacity(other)
    }
  }

  /// A request ended: its bytes are no longer needed.
  mutating func retainBuffers(_ slot: Int) {
    requestPool.giveBack(requests[slot].accountedBytes)
    requests[slot].accountedBytes = 0
    if requestPool.used + retainedBytes + capacity(slot) > requestPool.limit {
      requests[slot].body = []
      requests[slot].headers = HeaderList()
    }
    retainedBytes += capacity(slot)
  }

  private func capacity(_ slot: Int) -> Int {
    requests[slot].body.capacity + requests[slot].headers.bytes.capacity
  }
}

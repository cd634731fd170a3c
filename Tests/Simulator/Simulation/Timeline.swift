import NetworkingCore
import Primitives

/// What is going to happen outside of the gateway. Those that belong to a process carry its number:
/// after a crash they mean nothing to the next one.
enum Happening {
  /// A source makes a record.
  case emit(source: Int)
  /// Bytes of a board come out of its line.
  case line(port: Int, run: Int)
  case plug(port: Int)
  case fault(FaultKind)
  /// What a fault broke works again.
  case mended(FaultKind, number: Int)
  case start
  case closed(run: Int)
  case resolved(ResolutionID, host: Int, isFound: Bool, run: Int)
  case connected(wire: Int)
  case handshaken(wire: Int)
  case connectFailed(wire: Int)
  case toServer(wire: Int)
  case toClient(wire: Int)
  case serverReads(wire: Int)
  case answer(wire: Int, stream: UInt32, Answer)
  case serverCloses(wire: Int)
  case brokerUp
  case mqttConnected(link: Int)
  case mqttMessage(link: Int, message: Int, id: UInt16)
  case mqttAcknowledged(link: Int, id: UInt16)
}

/// What is to happen, by time; of two at the same time the one that was entered first.
struct Timeline {
  private struct Item {
    var at: Instant
    var order: UInt64
    var happening: Happening

    func precedes(_ other: Item) -> Bool {
      at < other.at || (at == other.at && order < other.order)
    }
  }

  private var heap: [Item] = []
  private var entered: UInt64 = 0

  var next: Instant? { heap.first?.at }

  mutating func add(_ happening: Happening, at: Instant) {
    entered += 1
    heap.append(Item(at: at, order: entered, happening: happening))
    var place = heap.count - 1
    while place > 0, heap[place].precedes(heap[(place - 1) / 2]) {
      heap.swapAt(place, (place - 1) / 2)
      place = (place - 1) / 2
    }
  }

  /// Takes out what is due.
  mutating func pop(due: Instant) -> Happening? {
    guard let first = heap.first, first.at <= due else { return nil }
    let last = heap.removeLast()
    if !heap.isEmpty {
      heap[0] = last
      sink()
    }
    return first.happening
  }

  private mutating func sink() {
    var place = 0
    while true {
      var least = place
      for child in [2 * place + 1, 2 * place + 2]
      where child < heap.count && heap[child].precedes(heap[least]) {
        least = child
      }
      guard least != place else { return }
      heap.swapAt(place, least)
      place = least
    }
  }
}

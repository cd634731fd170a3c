import Primitives

/// A bounded queue of messages whose arrays are used again and again.
struct MessageRing {
  private var slots: [MQTTMessage]
  private var head = 0
  private var count = 0

  init(capacity: Int) { slots = Array(repeating: MQTTMessage(), count: max(1, capacity)) }

  var isEmpty: Bool { count == 0 }
  var isFull: Bool { count == slots.count }

  /// False when full. A payload over `limit` is left out.
  mutating func push(
    topic: UnsafePointer<CChar>?, payload: UnsafeMutableRawPointer?, count bytes: Int, limit: Int,
    qos: UInt8, id: UInt16, isRetained: Bool
  ) -> Bool {
    guard !isFull else { return false }
    let place = (head + count) % slots.count
    slots[place].topic.removeAll(keepingCapacity: true)
    slots[place].payload.removeAll(keepingCapacity: true)
    if let topic {
      var byte = topic
      while byte.pointee != 0 {
        slots[place].topic.append(UInt8(bitPattern: byte.pointee))
        byte += 1
      }
    }
    slots[place].oversizeBytes = bytes > limit ? bytes : 0
    if let payload, bytes <= limit {
      slots[place].payload.append(
        contentsOf: UnsafeRawBufferPointer(start: payload, count: bytes))
    }
    slots[place].qos = qos
    slots[place].id = id
    slots[place].isRetained = isRetained
    count += 1
    return true
  }

  mutating func pop(into message: inout MQTTMessage) -> Bool {
    guard count > 0 else { return false }
    swap(&slots[head], &message)
    head = (head + 1) % slots.count
    count -= 1
    return true
  }
}

import CLinux
import Primitives

/// A bounded queue of messages whose arrays are used again and again. With `bytes` in it, it is full; the
/// message before may be as large as one may be.
struct MessageRing {
  private var slots: [MQTTMessage]
  private var head = 0
  private var count = 0
  /// Of the messages in it.
  private var bytes = 0
  private let bytesFull: Int

  init(capacity: Int, bytes: Int = .max) {
    slots = Array(repeating: MQTTMessage(), count: max(1, capacity))
    bytesFull = bytes
  }

  var isEmpty: Bool { count == 0 }
  /// Nothing more should be read.
  var isFull: Bool { count == slots.count || bytes >= bytesFull }

  /// The memory of all arrays, those of free places included.
  private(set) var memory = 0

  /// False when there is no place. A payload that is over `limit` with its topic is left out.
  mutating func push(
    topic: UnsafeRawBufferPointer, payload: UnsafeMutableRawPointer?, count bytes: Int, limit: Int,
    qos: UInt8, id: UInt16, isRetained: Bool
  ) -> Bool {
    guard count < slots.count else { return false }
    let place = (head + count) % slots.count
    let isTooLarge = topic.count + bytes > limit
    makeRoom(place, topic: topic.count, payload: isTooLarge ? 0 : bytes)
    slots[place].topic.append(contentsOf: topic)
    slots[place].oversizeBytes = isTooLarge ? bytes : 0
    if let payload, !isTooLarge {
      slots[place].payload.append(
        contentsOf: UnsafeRawBufferPointer(start: payload, count: bytes))
    }
    self.bytes += slots[place].bytes
    slots[place].qos = qos
    slots[place].id = id
    slots[place].isRetained = isRetained
    count += 1
    return true
  }

  mutating func pop(into message: inout MQTTMessage) -> Bool {
    guard count > 0 else { return false }
    bytes -= slots[head].bytes
    memory += message.memory - slots[head].memory
    swap(&slots[head], &message)
    head = (head + 1) % slots.count
    count -= 1
    return true
  }

  /// Empties a place, and lets it hold a message of that size without growing. Where all arrays together
  /// would become too large, those of the free places go first.
  private mutating func makeRoom(_ place: Int, topic: Int, payload: Int) {
    memory -= slots[place].memory
    slots[place].topic.removeAll(keepingCapacity: true)
    slots[place].payload.removeAll(keepingCapacity: true)
    let grows = topic > slots[place].topic.capacity || payload > slots[place].payload.capacity
    if grows, memory + topic + payload > bytesFull {
      for free in count..<slots.count { slots[(head + free) % slots.count] = MQTTMessage() }
      memory = 0
      for held in 0..<count { memory += slots[(head + held) % slots.count].memory }
    }
    if topic > slots[place].topic.capacity { slots[place].topic.reserveCapacity(topic) }
    if payload > slots[place].payload.capacity { slots[place].payload.reserveCapacity(payload) }
    memory += slots[place].memory
  }
}

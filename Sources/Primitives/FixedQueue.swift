/// A ring of fixed capacity, allocated once. The caller asks `isFull` first, or takes the answer.
public struct FixedQueue<Element> {
  private var slots: [Element?]
  private var head = 0
  public private(set) var count = 0

  public init(capacity: Int) {
    slots = []
    slots.reserveCapacity(capacity)
    for _ in 0..<capacity { slots.append(nil) }
  }

  public var capacity: Int { slots.count }
  public var isEmpty: Bool { count == 0 }
  public var isFull: Bool { count == slots.count }

  public var first: Element? { count == 0 ? nil : slots[head] }

  /// The element `index` places behind the first one.
  public subscript(index: Int) -> Element {
    get {
      precondition(index >= 0 && index < count, "FixedQueue: index out of range")
      return slots[position(index)]!
    }
    set {
      precondition(index >= 0 && index < count, "FixedQueue: index out of range")
      slots[position(index)] = newValue
    }
  }

  /// False when full: the element is not taken.
  public mutating func append(_ element: Element) -> Bool {
    guard !isFull else { return false }
    slots[position(count)] = element
    count += 1
    return true
  }

  /// Takes the oldest element out; nil when empty.
  public mutating func popFirst() -> Element? {
    guard count > 0 else { return nil }
    let element = slots[head]
    slots[head] = nil
    head = head + 1 == slots.count ? 0 : head + 1
    count -= 1
    return element
  }

  /// Drops all elements; the capacity stays.
  public mutating func removeAll() {
    while popFirst() != nil {}
    head = 0
  }

  private func position(_ index: Int) -> Int {
    let place = head + index
    return place >= slots.count ? place - slots.count : place
  }
}

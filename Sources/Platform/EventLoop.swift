import CLinux
import Primitives

/// What a descriptor is watched for. An empty interest takes it out of the kernel's set altogether:
/// a paused source whose peer hung up must not wake the loop over and over.
public struct Interest: OptionSet, Sendable {
  public let rawValue: UInt32
  public init(rawValue: UInt32) { self.rawValue = rawValue }

  public static let readable = Interest(rawValue: 1)
  public static let writable = Interest(rawValue: 2)
}

/// A descriptor's place in the loop. Its generation makes every registration unique, so that an
/// event of a descriptor that was closed never reaches the one that took over its number.
public struct Registration: Hashable, Sendable {
  let slot: UInt32
  let generation: UInt32

  init(slot: UInt32, generation: UInt32) {
    self.slot = slot
    self.generation = generation
  }

  init(packed: UInt64) {
    slot = UInt32(truncatingIfNeeded: packed)
    generation = UInt32(truncatingIfNeeded: packed >> 32)
  }

  var packed: UInt64 { UInt64(generation) << 32 | UInt64(slot) }
}

/// One ready descriptor, under the token that its owner gave.
public struct Ready: Equatable, Sendable {
  public let token: UInt64
  public let registration: Registration
  public let isReadable: Bool
  public let isWritable: Bool
  /// EPOLLHUP or EPOLLERR. Reading or writing tells which.
  public let isHangUp: Bool
}

/// Level-triggered epoll over a fixed number of descriptors. A turn collects at most
/// `readyPerTurnMax` of them; the kernel keeps the rest for the next turn, in turn order.
public final class EventLoop {
  private struct Slot {
    var generation: UInt32 = 0
    var descriptor: Int32 = -1
    var token: UInt64 = 0
    var interest: Interest = []
  }

  private let epoll: FileDescriptor
  private var slots: [Slot] = []
  private var freeSlots: [UInt32] = []
  private var ready: [spoke_ready]
  private var readyCount = 0
  private var readyNext = 0
  /// How often `wait` came back: the idle wake-ups.
  public private(set) var turns: UInt64 = 0

  public init(capacity: Int = descriptorsMax) throws(SystemError) {
    epoll = FileDescriptor(owning: try check("epoll_create", spoke_epoll_create()))
    ready = Array(repeating: spoke_ready(token: 0, events: 0), count: readyPerTurnMax)
    slots.reserveCapacity(capacity)
    freeSlots.reserveCapacity(capacity)
    for slot in (0..<UInt32(capacity)).reversed() {
      slots.append(Slot())
      freeSlots.append(slot)
    }
  }

  /// How many more descriptors it takes.
  public var free: Int { freeSlots.count }

  /// Watches a descriptor, which stays its owner's. Deregister it before it is closed.
  public func register(
    _ descriptor: Int32, token: UInt64, interest: Interest
  ) throws(SystemError) -> Registration {
    guard let slot = freeSlots.popLast() else { throw SystemError("epoll_ctl", ENOSPC) }
    let index = Int(slot)
    slots[index].generation &+= 1
    let registration = Registration(slot: slot, generation: slots[index].generation)
    if !interest.isEmpty {
      let answer = spoke_epoll_add(epoll.raw, descriptor, interest.rawValue, registration.packed)
      if answer < 0 {
        freeSlots.append(slot)
        throw SystemError("epoll_ctl", -answer)
      }
    }
    forget(descriptor)
    slots[index].descriptor = descriptor
    slots[index].token = token
    slots[index].interest = interest
    return registration
  }

  /// Changes what is watched for. Costs nothing when it is that already.
  public func modify(_ registration: Registration, interest: Interest) throws(SystemError) {
    guard let index = index(of: registration) else { return }
    let before = slots[index].interest
    guard interest != before else { return }
    let descriptor = slots[index].descriptor
    let events = interest.rawValue
    if before.isEmpty {
      try check("epoll_ctl", spoke_epoll_add(epoll.raw, descriptor, events, registration.packed))
    } else if interest.isEmpty {
      try check("epoll_ctl", spoke_epoll_remove(epoll.raw, descriptor))
    } else {
      try check("epoll_ctl", spoke_epoll_modify(epoll.raw, descriptor, events, registration.packed))
    }
    slots[index].interest = interest
  }

  /// Stops watching. Events of it that this turn collected already are dropped.
  public func deregister(_ registration: Registration) {
    guard let index = index(of: registration) else { return }
    // The descriptor may be closed already, when a library did it: then epoll forgot it by itself.
    if !slots[index].interest.isEmpty { _ = spoke_epoll_remove(epoll.raw, slots[index].descriptor) }
    slots[index].descriptor = -1
    freeSlots.append(registration.slot)
  }

  /// Sleeps until something is ready or the deadline has come; without a deadline, until something
  /// is ready. Never returns before the deadline without a reason, up to the kernel's timer slack.
  public func wait(until deadline: Instant?) throws(SystemError) {
    var timeout: Int64 = -1
    if let deadline { timeout = max(0, (deadline - SystemClocks.now()).nanoseconds) }
    readyCount = 0
    readyNext = 0
    let count = spoke_epoll_wait(epoll.raw, &ready, Int32(readyPerTurnMax), timeout)
    readyCount = Int(try check("epoll_wait", count))
    turns &+= 1
  }

  /// The next descriptor that `wait` found ready and that is still registered.
  public func nextReady() -> Ready? {
    while readyNext < readyCount {
      let event = ready[readyNext]
      readyNext += 1
      let registration = Registration(packed: event.token)
      guard let index = index(of: registration) else { continue }
      return Ready(
        token: slots[index].token, registration: registration,
        isReadable: event.events & UInt32(spoke_event_readable) != 0,
        isWritable: event.events & UInt32(spoke_event_writable) != 0,
        isHangUp: event.events & UInt32(spoke_event_hang_up) != 0)
    }
    return nil
  }

  /// A slot that still names this descriptor is a closed one's: the kernel let go of it, and its
  /// deregistration must not take the new one out.
  private func forget(_ descriptor: Int32) {
    for index in slots.indices where slots[index].descriptor == descriptor {
      slots[index].interest = []
    }
  }

  private func index(of registration: Registration) -> Int? {
    let index = Int(registration.slot)
    guard index < slots.count, slots[index].descriptor >= 0,
      slots[index].generation == registration.generation
    else { return nil }
    return index
  }
}

/// Serial ports, connections, listeners and admin clients together stay far below it.
public let descriptorsMax = 256

/// Bounds one turn's work. `READY_MAX` of Sockets.c is the same number.
public let readyPerTurnMax = 64

import CLinux
import Primitives
import Testing

@testable import Platform

@Suite(.oneAtATime) struct EventLoopTests {
  @Test("a ready descriptor comes back under its owner's token")
  func token() throws {
    let loop = try EventLoop(capacity: 4)
    let event = FileDescriptor(owning: spoke_eventfd())
    _ = try loop.register(event.raw, token: 42, interest: .readable)
    try loop.wait(until: Instant(nanoseconds: 0))
    #expect(loop.nextReady() == nil)
    _ = spoke_eventfd_signal(event.raw)
    try loop.wait(until: nil)
    let ready = try #require(loop.nextReady())
    #expect(ready.token == 42)
    #expect(ready.isReadable && !ready.isWritable && !ready.isHangUp)
    #expect(loop.nextReady() == nil)
  }

  @Test("a deadline is met, not early and with the precision of the clock")
  func deadline() throws {
    let loop = try EventLoop(capacity: 1)
    for microseconds in [Int64(0), 300, 1_700, 12_345] {
      // A busy machine may be late itself, but not always.
      var least = Interval.seconds(60)
      for _ in 0..<100 where least >= .milliseconds(1) {
        let deadline = SystemClocks.now() + .microseconds(microseconds)
        try loop.wait(until: deadline)
        let late = SystemClocks.now() - deadline
        #expect(late >= .zero)
        least = min(least, late)
      }
      #expect(least < .milliseconds(500))
    }
  }

  @Test("a deadline that has passed does not sleep")
  func past() throws {
    let loop = try EventLoop(capacity: 1)
    let start = SystemClocks.now()
    try loop.wait(until: Instant(nanoseconds: 1))
    #expect(SystemClocks.now() - start < .seconds(10))
  }

  @Test("an event collected before its descriptor was deregistered is dropped")
  func staleInTheSameTurn() throws {
    let loop = try EventLoop(capacity: 4)
    let first = FileDescriptor(owning: spoke_eventfd())
    let second = FileDescriptor(owning: spoke_eventfd())
    let one = try loop.register(first.raw, token: 1, interest: .readable)
    let two = try loop.register(second.raw, token: 2, interest: .readable)
    _ = spoke_eventfd_signal(first.raw)
    _ = spoke_eventfd_signal(second.raw)
    try loop.wait(until: nil)
    let ready = try #require(loop.nextReady())
    loop.deregister(ready.token == 1 ? two : one)
    #expect(loop.nextReady() == nil)
  }

  @Test("an event of a closed descriptor does not reach the one that took its number and slot")
  func staleAfterReuse() throws {
    let loop = try EventLoop(capacity: 2)
    let first = spoke_eventfd()
    let second = FileDescriptor(owning: spoke_eventfd())
    let one = try loop.register(first, token: 1, interest: .readable)
    let two = try loop.register(second.raw, token: 2, interest: .readable)
    _ = spoke_eventfd_signal(first)
    _ = spoke_eventfd_signal(second.raw)
    try loop.wait(until: nil)
    let ready = try #require(loop.nextReady())
    // The other one's event is collected; its number and its slot now go to somebody new.
    let (stale, isFirst) = ready.token == 1 ? (two, false) : (one, true)
    loop.deregister(stale)
    let reused = isFirst ? first : second.raw
    _ = spoke_eventfd_drain(reused)
    let again = try loop.register(reused, token: 3, interest: .readable)
    #expect(again.slot == stale.slot && again.generation != stale.generation)
    #expect(loop.nextReady() == nil)
    loop.deregister(again)
    _ = spoke_close(first)
  }

  @Test("an empty interest takes even a hang-up out of the loop")
  func pausedHangUp() throws {
    let listener = try Listener(tcp: loopback(0))
    let port = try #require(listener.localAddress()).port
    let client = try connect(to: port)
    var peer: TCPSocket? = try accept(listener)
    let loop = try EventLoop(capacity: 1)
    let registration = try loop.register(client.descriptor, token: 1, interest: .readable)
    try loop.modify(registration, interest: [])
    _ = peer
    peer = nil
    // Another loop sees it; this one does not.
    try wait(for: .readable, of: client.descriptor)
    try loop.wait(until: SystemClocks.now() + .milliseconds(5))
    #expect(loop.nextReady() == nil)
    try loop.modify(registration, interest: .readable)
    try loop.wait(until: patienceEnd())
    #expect(loop.nextReady()?.isReadable == true)
  }

  @Test("the loop's capacity is an answer, and a slot comes back with its deregistration")
  func capacity() throws {
    let loop = try EventLoop(capacity: 1)
    let event = FileDescriptor(owning: spoke_eventfd())
    let other = FileDescriptor(owning: spoke_eventfd())
    let registration = try loop.register(event.raw, token: 1, interest: .readable)
    #expect(throws: SystemError.self) {
      try loop.register(other.raw, token: 2, interest: .readable)
    }
    loop.deregister(registration)
    _ = try loop.register(other.raw, token: 2, interest: .readable)
    #expect(loop.free == 0)
  }

  @Test("a wall clock before its floor is unsynced, whatever the kernel says")
  func floor() {
    var clocks = SystemClocks(floor: WallTime(nanoseconds: .max))
    #expect(clocks.read().quality == .unsynced)
    let before = clocks.read().now
    #expect(clocks.read().now >= before)
  }
}

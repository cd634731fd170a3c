import CLinux
import Primitives

/// What a name resolved to, or why it did not.
public struct Resolution: Sendable {
  /// How a lookup ended.
  public enum Outcome: Sendable {
    /// In the order of RFC 6724, which the C library sorts by; never empty.
    case addresses([SocketAddress])
    case failed(String)
  }

  public let id: UInt64
  public let outcome: Outcome
}

/// `getaddrinfo`, which has no non-blocking form, on a thread of its own. The thread starts with
/// the first request, and sleeps without waking while there is none.
public final class Resolver {
  private let shared: ResolverQueue

  public init(capacity: Int = resolutionsMax) throws(SystemError) {
    shared = ResolverQueue(
      capacity: capacity, event: FileDescriptor(owning: try check("eventfd", spoke_eventfd())))
  }

  deinit { shared.stop() }

  /// Readable when `next` has something.
  public var descriptor: Int32 { shared.event.raw }

  /// Asks for the addresses of a name; a numeric address is answered the same way. False when as
  /// many requests are under way as it holds, or when the thread cannot start.
  public func submit(id: UInt64, host: ByteString, port: UInt16) -> Bool {
    shared.submit(ResolverQueue.Request(id: id, host: host, port: port))
  }

  /// The next answer; nil when there is none yet.
  public func next() -> Resolution? { shared.next() }
}

/// Asked for and not yet taken. A board has a handful of upstreams.
public let resolutionsMax = 16

/// Answers of one name beyond this are left out.
let addressesPerNameMax = 16

/// What the loop's thread and the resolver's thread share. Both hold a reference, so that a lookup
/// that outlives the `Resolver` still has where to put its answer.
private final class ResolverQueue {
  struct Request {
    var id: UInt64
    var host: ByteString
    var port: UInt16
  }

  let event: FileDescriptor
  private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
  private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
  private let capacity: Int
  private var requests: FixedQueue<Request>
  private var answers: FixedQueue<Resolution>
  /// Requests taken and answers not yet fetched: the answers always have room.
  private var underWay = 0
  private var isRunning = false
  private var isStopped = false

  init(capacity: Int, event: consuming FileDescriptor) {
    self.event = event
    self.capacity = capacity
    requests = FixedQueue(capacity: capacity)
    answers = FixedQueue(capacity: capacity)
    pthread_mutex_init(mutex, nil)
    pthread_cond_init(condition, nil)
  }

  deinit {
    pthread_cond_destroy(condition)
    pthread_mutex_destroy(mutex)
    condition.deallocate()
    mutex.deallocate()
  }

  func submit(_ request: Request) -> Bool {
    pthread_mutex_lock(mutex)
    defer { pthread_mutex_unlock(mutex) }
    guard underWay < capacity, startThread(), requests.append(request) else { return false }
    underWay += 1
    pthread_cond_signal(condition)
    return true
  }

  func next() -> Resolution? {
    pthread_mutex_lock(mutex)
    defer { pthread_mutex_unlock(mutex) }
    guard let answer = answers.popFirst() else { return nil }
    underWay -= 1
    if answers.isEmpty { _ = spoke_eventfd_drain(event.raw) }
    return answer
  }

  func stop() {
    pthread_mutex_lock(mutex)
    isStopped = true
    pthread_cond_signal(condition)
    pthread_mutex_unlock(mutex)
  }

  private func startThread() -> Bool {
    if isRunning { return true }
    let context = Unmanaged.passRetained(self)
    let answer = spoke_thread_start(
      resolverStackBytes,
      { context in
        let queue = Unmanaged<ResolverQueue>.fromOpaque(context!).takeRetainedValue()
        queue.run()
        return nil
      }, context.toOpaque())
    if answer < 0 { context.release() }
    isRunning = answer == 0
    return isRunning
  }

  /// The thread's whole life.
  private func run() {
    _ = spoke_block_all_signals()
    while let request = waitForRequest() {
      let outcome = lookUp(request)
      pthread_mutex_lock(mutex)
      let taken = answers.append(Resolution(id: request.id, outcome: outcome))
      precondition(taken, "Resolver: more answers than requests")
      pthread_mutex_unlock(mutex)
      _ = spoke_eventfd_signal(event.raw)
    }
  }

  private func waitForRequest() -> Request? {
    pthread_mutex_lock(mutex)
    defer { pthread_mutex_unlock(mutex) }
    while requests.isEmpty && !isStopped { pthread_cond_wait(condition, mutex) }
    return isStopped ? nil : requests.popFirst()
  }

  private func lookUp(_ request: Request) -> Resolution.Outcome {
    var list: UnsafeMutableRawPointer?
    let code = request.host.withCString { spoke_resolve($0, 0, &list) }
    guard code == 0 else { return .failed(String(cString: spoke_resolve_error(code))) }
    defer { spoke_addresses_free(list) }
    var addresses: [SocketAddress] = []
    var position = list
    var found = spoke_address()
    while addresses.count < addressesPerNameMax, spoke_addresses_next(&position, &found) == 1 {
      found.port = request.port
      if let address = SocketAddress(found) { addresses.append(address) }
    }
    return addresses.isEmpty ? .failed("no Internet address") : .addresses(addresses)
  }
}

/// The C library's name service modules read their files into the stack.
private let resolverStackBytes = 128 * 1024

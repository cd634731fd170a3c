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
  private struct Request {
    var id: UInt64
    var host: ByteString
    var port: UInt16
  }

  private let desk: UnsafeMutablePointer<LookupDesk>
  /// Whose answers were not taken yet; the thread looks up the first.
  private var requests: FixedQueue<Request>

  public init(capacity: Int = resolutionsMax) throws(SystemError) {
    desk = LookupDesk.open(event: try check("eventfd", spoke_eventfd()))
    requests = FixedQueue(capacity: capacity)
  }

  deinit { LookupDesk.leave(desk) }

  /// Readable when `next` has something.
  public var descriptor: Int32 { desk.pointee.event }

  /// Asks for the addresses of a name; a numeric address is answered the same way. False when as
  /// many requests are under way as it holds, or when the thread cannot start.
  public func submit(id: UInt64, host: ByteString, port: UInt16) -> Bool {
    guard !requests.isFull, LookupDesk.serve(desk) else { return false }
    if requests.isEmpty { LookupDesk.ask(desk, host) }
    return requests.append(Request(id: id, host: host, port: port))
  }

  /// The next answer; nil when there is none yet.
  public func next() -> Resolution? {
    guard let (code, list) = LookupDesk.takeAnswer(desk), let request = requests.popFirst()
    else { return nil }
    defer { spoke_addresses_free(list) }
    if let next = requests.first { LookupDesk.ask(desk, next.host) }
    return Resolution(id: request.id, outcome: outcome(code, list, port: request.port))
  }

  private func outcome(
    _ code: Int32, _ list: UnsafeMutableRawPointer?, port: UInt16
  ) -> Resolution.Outcome {
    guard code == 0 else { return .failed(String(cString: spoke_resolve_error(code))) }
    var addresses: [SocketAddress] = []
    var position = list
    var found = spoke_address()
    while addresses.count < addressesPerNameMax, spoke_addresses_next(&position, &found) == 1 {
      found.port = port
      if let address = SocketAddress(found) { addresses.append(address) }
    }
    return addresses.isEmpty ? .failed("no Internet address") : .addresses(addresses)
  }
}

/// Asked for and not yet taken. A board has a handful of upstreams.
public let resolutionsMax = 16

/// Answers of one name beyond this are left out.
let addressesPerNameMax = 16

/// Where the loop's thread leaves a name and the resolver's thread its addresses, one at a time. Plain memory,
/// which the compiler checks: references are not counted atomically (board/build), so the resolver's thread
/// touches nothing that has any. The last one to leave frees it, as a lookup may outlive the `Resolver`.
private struct LookupDesk: BitwiseCopyable {
  let event: Int32
  let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
  let changed = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
  var isRunning = false
  var isStopped = false
  /// Nobody else touches it before its answer was taken.
  var host: UnsafeMutablePointer<CChar>?
  var isAnswered = false
  var code: Int32 = 0
  var list: UnsafeMutableRawPointer?

  init(event: Int32) {
    self.event = event
    pthread_mutex_init(mutex, nil)
    pthread_cond_init(changed, nil)
  }

  static func open(event: Int32) -> UnsafeMutablePointer<LookupDesk> {
    let desk = UnsafeMutablePointer<LookupDesk>.allocate(capacity: 1)
    desk.initialize(to: LookupDesk(event: event))
    return desk
  }

  /// Whether the thread runs.
  static func serve(_ desk: UnsafeMutablePointer<LookupDesk>) -> Bool {
    guard !desk.pointee.isRunning else { return true }
    let answer = spoke_thread_start(
      resolverStackBytes,
      { context in
        LookupDesk.run(context!.assumingMemoryBound(to: LookupDesk.self))
        return nil
      }, desk)
    desk.pointee.isRunning = answer == 0
    return answer == 0
  }

  /// The answer to the name before was taken.
  static func ask(_ desk: UnsafeMutablePointer<LookupDesk>, _ name: ByteString) {
    let host = UnsafeMutablePointer<CChar>.allocate(capacity: name.count + 1)
    for index in name.bytes.indices { host[index] = CChar(bitPattern: name.bytes[index]) }
    host[name.count] = 0
    pthread_mutex_lock(desk.pointee.mutex)
    desk.pointee.host = host
    pthread_cond_signal(desk.pointee.changed)
    pthread_mutex_unlock(desk.pointee.mutex)
  }

  /// What `spoke_resolve` said; nil: nothing yet.
  static func takeAnswer(
    _ desk: UnsafeMutablePointer<LookupDesk>
  ) -> (code: Int32, list: UnsafeMutableRawPointer?)? {
    pthread_mutex_lock(desk.pointee.mutex)
    defer { pthread_mutex_unlock(desk.pointee.mutex) }
    guard desk.pointee.isAnswered else { return nil }
    let list = desk.pointee.list
    desk.pointee.host?.deallocate()
    desk.pointee.host = nil
    desk.pointee.list = nil
    desk.pointee.isAnswered = false
    _ = spoke_eventfd_drain(desk.pointee.event)
    return (desk.pointee.code, list)
  }

  static func leave(_ desk: UnsafeMutablePointer<LookupDesk>) {
    guard desk.pointee.isRunning else { return free(desk) }
    let mutex = desk.pointee.mutex
    pthread_mutex_lock(mutex)
    desk.pointee.isStopped = true
    pthread_cond_signal(desk.pointee.changed)
    pthread_mutex_unlock(mutex)
  }

  /// The thread's whole life.
  private static func run(_ desk: UnsafeMutablePointer<LookupDesk>) {
    _ = spoke_block_all_signals()
    let mutex = desk.pointee.mutex
    pthread_mutex_lock(mutex)
    while !desk.pointee.isStopped {
      guard let host = desk.pointee.host, !desk.pointee.isAnswered else {
        pthread_cond_wait(desk.pointee.changed, mutex)
        continue
      }
      pthread_mutex_unlock(mutex)
      var list: UnsafeMutableRawPointer?
      let code = spoke_resolve(host, 0, &list)
      pthread_mutex_lock(mutex)
      desk.pointee.code = code
      desk.pointee.list = list
      desk.pointee.isAnswered = true
      _ = spoke_eventfd_signal(desk.pointee.event)
    }
    pthread_mutex_unlock(mutex)
    free(desk)
  }

  private static func free(_ desk: UnsafeMutablePointer<LookupDesk>) {
    spoke_addresses_free(desk.pointee.list)
    desk.pointee.host?.deallocate()
    pthread_cond_destroy(desk.pointee.changed)
    pthread_mutex_destroy(desk.pointee.mutex)
    desk.pointee.changed.deallocate()
    desk.pointee.mutex.deallocate()
    _ = spoke_close(desk.pointee.event)
    desk.deallocate()
  }
}

/// The C library's name service modules read their files into the stack.
private let resolverStackBytes = 128 * 1024

import HTTP2
import Policy
import Primitives

/// RFC 8305, "Happy Eyeballs": the addresses of one endpoint, families taking turns. A connection to
/// the first one starts at once, to the next one when another has failed or after a pause; the first
/// that is up, TLS included, wins, and the others are closed. A family that leads nowhere costs the
/// pause and not a timeout.
struct AddressRace: Sendable {
  /// Not tried yet, in order.
  private var waiting: ArraySlice<SocketAddress>
  /// Why those that failed did, for a person.
  private(set) var failures = ""
  private var failureCount = 0
  /// Whose breakers count its connections.
  let priority: RoutingPriority

  /// Every address once, beginning with the one that worked last.
  init(_ addresses: [SocketAddress], from preferred: Int, priority: RoutingPriority) {
    self.priority = priority
    waiting = (addresses[preferred...] + addresses[..<preferred])[...]
  }

  var isExhausted: Bool { waiting.isEmpty }

  mutating func next() -> SocketAddress? { waiting.popFirst() }

  mutating func note(_ failure: String) {
    failureCount += 1
    guard failureCount <= raceFailuresMax else { return }
    failures += failures.isEmpty ? failure : "; \(failure)"
  }

  /// RFC 8305 §4: families take turns, beginning with that of the first address; otherwise the
  /// resolver's order (RFC 6724) stays. An address that is listed twice is tried once.
  static func alternate(_ addresses: [SocketAddress], limit: Int) -> [SocketAddress] {
    var preferred: [SocketAddress] = []
    var others: [SocketAddress] = []
    for address in addresses where !preferred.contains(address) && !others.contains(address) {
      if address.family == addresses[0].family {
        preferred.append(address)
      } else {
        others.append(address)
      }
    }
    var ordered: [SocketAddress] = []
    for index in 0..<max(preferred.count, others.count) {
      if index < preferred.count { ordered.append(preferred[index]) }
      if index < others.count { ordered.append(others[index]) }
    }
    return Array(ordered.prefix(limit))
  }
}

extension NetworkingCore {
  /// Starts to connect to an endpoint that no connection is being opened to.
  mutating func startRace(
    _ slot: Int, _ cluster: Int, _ endpoint: Int, _ priority: RoutingPriority
  ) {
    let preferred = Int(clusters[cluster].endpoints[endpoint].preferred)
    clusters[cluster].endpoints[endpoint].races = [
      AddressRace(clusters.span[cluster].addresses(endpoint), from: preferred, priority: priority)
    ]
    startRacer(slot, cluster, endpoint)
  }

  private mutating func startRacer(_ slot: Int, _ cluster: Int, _ endpoint: Int) {
    guard !clusters[cluster].endpoints[endpoint].races.isEmpty,
      let address = clusters[cluster].endpoints[endpoint].races[0].next()
    else { return }
    let priority = clusters[cluster].endpoints[endpoint].races[0].priority
    let id = clusters[cluster].endpoints[endpoint].id
    // Only the newest one counts the pause.
    for other in connections.indices where isRacer(other, cluster, id) {
      connections[other].nextRacer = .never
    }
    connections[slot].phase = .connecting
    connections[slot].cluster = cluster
    connections[slot].endpoint = id
    connections[slot].priority = priority
    connections[slot].address = address
    connections[slot].security = security(cluster, endpoint)
    connections[slot].wantsConnect = true
    connections[slot].deadline = now.after(clusters[cluster].configuration.connectTimeout)
    let isLast = clusters[cluster].endpoints[endpoint].races.first?.isExhausted ?? true
    connections[slot].nextRacer = isLast ? .never : now + connectionAttemptDelay
    clusters[cluster].load[priority].connections += 1
    clusters[cluster].statistics.connections += 1
    hasActions = true
  }

  private func isRacer(_ slot: Int, _ cluster: Int, _ endpoint: UInt32) -> Bool {
    connections[slot].phase == .connecting && connections[slot].cluster == cluster
      && connections[slot].endpoint == endpoint && !connections[slot].isRetired
  }

  private func racers(_ cluster: Int, _ endpoint: UInt32) -> Int {
    var count = 0
    for slot in connections.indices where isRacer(slot, cluster, endpoint) { count += 1 }
    return count
  }

  /// The newest racer had its time alone. Without a place for one more the next waits another pause.
  mutating func startNextRacer(after slot: Int) {
    let cluster = connections[slot].cluster
    guard let endpoint = clusters[cluster].endpoint(connections[slot].endpoint),
      racers(cluster, connections[slot].endpoint) < racersMax
    else {
      connections[slot].nextRacer = .never
      return
    }
    guard let place = freePlace() else {
      _ = reclaimConnection()
      connections[slot].nextRacer = now + connectionAttemptDelay
      return
    }
    startRacer(place, cluster, endpoint)
  }

  /// One address has failed: the next starts at once (RFC 8305 §5). False: there is none left, and
  /// none under way.
  mutating func continueRace(_ cluster: Int, _ endpoint: Int) -> Bool {
    let isExhausted = clusters[cluster].endpoints[endpoint].races.first?.isExhausted ?? true
    if !isExhausted, let place = freePlace() {
      startRacer(place, cluster, endpoint)
      return true
    }
    if racers(cluster, clusters[cluster].endpoints[endpoint].id) > 0 { return true }
    // There was no place for the rest: the next race begins with it.
    if !isExhausted, let next = clusters[cluster].endpoints[endpoint].races[0].next() {
      prefer(next, cluster, endpoint)
    }
    return false
  }

  private mutating func prefer(_ address: SocketAddress, _ cluster: Int, _ endpoint: Int) {
    if let place = clusters.span[cluster].addresses(endpoint).firstIndex(of: address) {
      clusters[cluster].endpoints[endpoint].preferred = UInt32(place)
    }
  }

  /// One is up: the others are closed, and it is where the next race begins.
  mutating func endRace(winner: Int) {
    let cluster = connections[winner].cluster
    let id = connections[winner].endpoint
    connections[winner].nextRacer = .never
    for slot in connections.indices where slot != winner && isRacer(slot, cluster, id) {
      connections[slot].nextRacer = .never
      release(slot, isSocketClosed: false)
    }
    guard let endpoint = clusters[cluster].endpoint(id) else { return }
    clusters[cluster].endpoints[endpoint].races = []
    prefer(connections[winner].address, cluster, endpoint)
  }

  /// The racer is given up with its race: nobody wants the endpoint any more.
  mutating func forgetRace(_ slot: Int) {
    let cluster = connections[slot].cluster
    connections[slot].nextRacer = .never
    guard let endpoint = clusters[cluster].endpoint(connections[slot].endpoint) else { return }
    clusters[cluster].endpoints[endpoint].races = []
  }
}

/// RFC 8305 §5 recommends 250 ms.
private let connectionAttemptDelay = Interval.milliseconds(250)
/// Connections to one endpoint that are being opened at once: the next address waits until one of them
/// has failed, so that a long list of addresses does not fill the table of connections.
private let racersMax = 4
/// Failures of one race that its message names.
private let raceFailuresMax = 4

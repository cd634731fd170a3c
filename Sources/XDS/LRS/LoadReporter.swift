import Primitives
import Protobuf

/// What the reporter wants of its owner. After each call the owner takes actions until there are none.
public enum LoadAction: Equatable, Sendable {
  /// Open a stream of `LoadReporter.path` to the server that discovery uses.
  case open(stream: UInt32)
  case send(stream: UInt32, message: [UInt8])
  /// Reset the stream; after the final report, once that is written. No answer is expected.
  case close(stream: UInt32)
}

/// Reports the load of the clusters to the control plane (`envoy.service.load_stats.v3`). No I/O.
///
///     idle ──▶ wanted ──▶ opening ──▶ open ──▶ the node ──▶ which clusters, how often ──▶ reports
///               ▲                       │
///               └────── waiting ◀───────┘ lost: counters go on, and are in the next report
public struct LoadReporter: Sendable {
  /// The `:path` of the stream.
  public static let path: StaticString =
    "/envoy.service.load_stats.v3.LoadReportingService/StreamLoadStats"

  private enum Phase: Equatable {
    case idle, wanted, opening
    /// The node is to be sent.
    case opened
    /// `next`: the next report; nil: the server has not answered yet.
    case open(next: Instant?)
    case waiting(until: Instant)
    /// A final report is to be sent.
    case stopping
  }

  private let node: [UInt8]
  private var phase = Phase.idle
  /// The present stream; 0: none.
  private(set) var stream: UInt32 = 0
  private var lastStream: UInt32 = 0
  private var closing: UInt32 = 0
  /// Between two reports, as the server wants it.
  public private(set) var interval = Interval.zero
  private var isReportDue = false
  /// The server wants the load of all clusters.
  public private(set) var sendsAll = false
  /// Those that it names otherwise.
  public private(set) var requested: [ByteString] = []
  private var backOff = ReconnectBackOff()
  private var random: SplitMix64
  /// Freed places are nil and used again, so that the others keep theirs.
  private(set) var clusters: [ClusterLoad?] = []
  /// Since when a cluster that is counted for the first time may have had requests: the last report.
  private var countedSince: Instant?

  /// Clusters, localities and categories that there was no room for.
  public private(set) var untracked: UInt64 = 0
  /// Messages that are not responses, or ask for an interval that is none.
  public private(set) var malformed: UInt64 = 0
  /// Reports that were sent; `requests` has the streams' first messages as well.
  public private(set) var reports: UInt64 = 0
  public private(set) var requests: UInt64 = 0
  public private(set) var responses: UInt64 = 0
  /// Streams that ended too early, and those that were opened in their place.
  public private(set) var streamsLost: UInt64 = 0
  public private(set) var retries: UInt64 = 0
  /// The server asked for a message for each endpoint, which this client does not send.
  public private(set) var refusesEndpointGranularity = false
  /// It asked for reports more often than this client sends them.
  public private(set) var isIntervalClamped = false

  public init(node: NodeIdentity, seed: UInt64) {
    self.node = node.encoded(features: NodeIdentity.loadFeatures)
    random = SplitMix64(seed: seed)
  }

  // MARK: Counting

  /// Where the requests to a locality of a cluster are counted; nil: there is no room.
  public mutating func place(
    cluster name: ByteString, service: ByteString, region: ByteString, zone: ByteString,
    subZone: ByteString, priority: UInt32, now: Instant
  ) -> LoadPlace? {
    guard let cluster = makeCluster(name, service, now: now) else { return nil }
    let localities = clusters[cluster]?.localities ?? []
    let known = localities.firstIndex {
      $0.zone == zone && $0.region == region && $0.subZone == subZone && $0.priority == priority
    }
    if let known { return LoadPlace(cluster: cluster, locality: known) }
    let fresh = LocalityLoad(region: region, zone: zone, subZone: subZone, priority: priority)
    if localities.count < LoadLimits.localitiesMax {
      clusters[cluster]?.localities.append(fresh)
      return LoadPlace(cluster: cluster, locality: localities.count)
    }
    // One that is gone, or that nobody used since the last report.
    guard let idle = localities.firstIndex(where: { !$0.isActive }) else {
      untracked += 1
      return nil
    }
    clusters[cluster]?.localities[idle] = fresh
    return LoadPlace(cluster: cluster, locality: idle)
  }

  /// Attempts at the locality, retries included. `inProgress` is how many there are now, the others are
  /// what has changed. Succeeded: a response that is not 5xx, and for gRPC the status OK.
  public mutating func add(
    _ place: LoadPlace, issued: UInt64, succeeded: UInt64, failed: UInt64, inProgress: UInt64
  ) {
    guard var load = clusters[place.cluster]?.localities[place.locality] else { return }
    load.issued += issued
    load.succeeded += succeeded
    load.failed += failed
    load.inProgress = inProgress
    clusters[place.cluster]?.localities[place.locality] = load
  }

  /// Requests were dropped before an endpoint was chosen; without a category by a circuit breaker.
  public mutating func dropped(
    cluster name: ByteString, service: ByteString, category: ByteString, count: UInt64 = 1,
    now: Instant
  ) {
    guard let cluster = makeCluster(name, service, now: now) else { return }
    clusters[cluster]?.dropped += count
    guard !category.isEmpty else { return }
    let drops = clusters[cluster]?.drops ?? []
    if let known = drops.firstIndex(where: { $0.category == category }) {
      clusters[cluster]?.drops[known].count += count
    } else if drops.count < LoadLimits.categoriesMax {
      clusters[cluster]?.drops.append(DropLoad(category: category, count: count))
    } else {
      untracked += 1
    }
  }

  /// The cluster is gone with its last request: it is reported once more.
  public mutating func remove(cluster name: ByteString, service: ByteString) {
    for index in clusters.indices
    where clusters[index]?.name == name && clusters[index]?.service == service {
      clusters[index]?.isRemoved = true
      if clusters[index]?.isReported == false { clusters[index] = nil }
    }
  }

  private mutating func makeCluster(
    _ name: ByteString, _ service: ByteString, now: Instant
  ) -> Int? {
    if let known = clusters.firstIndex(where: { $0?.name == name && $0?.service == service }) {
      clusters[known]?.isRemoved = false
      return known
    }
    var load = ClusterLoad(name: name, service: service, since: countedSince ?? now)
    load.isReported = sendsAll || requested.contains(name)
    if let free = clusters.firstIndex(where: { $0 == nil }) {
      clusters[free] = load
      return free
    }
    guard clusters.count < LoadLimits.clustersMax else {
      untracked += 1
      return nil
    }
    clusters.append(load)
    return clusters.count - 1
  }

  /// Goes on with what another one has counted and not reported.
  public mutating func inherit(_ other: LoadReporter) {
    clusters = other.clusters
    sendsAll = other.sendsAll
    requested = other.requested
    countedSince = other.countedSince
    untracked = other.untracked
    malformed = other.malformed
    reports = other.reports
    requests = other.requests
    responses = other.responses
    streamsLost = other.streamsLost
    retries = other.retries
  }

  // MARK: Events

  /// Opens the stream.
  public mutating func start() {
    if phase == .idle { phase = .wanted }
  }

  /// Sends a final report, and closes.
  public mutating func stop() {
    guard phase != .stopping else { return }
    guard isReporting else { return close() }
    phase = .stopping
    isReportDue = true
  }

  /// What was counted for this server is of no meaning to another one, or later.
  private mutating func close() {
    closing = stream
    stream = 0
    phase = .idle
    clusters = []
    countedSince = nil
  }

  /// The owner's stream can be written to.
  public mutating func streamOpened(_ stream: UInt32) {
    if stream == self.stream, phase == .opening { phase = .opened }
  }

  /// The stream ended, or could not be opened.
  public mutating func streamClosed(_ stream: UInt32, now: Instant) {
    guard stream == self.stream, stream != 0 else { return }
    streamsLost += 1
    self.stream = 0
    phase = phase == .stopping ? .idle : .waiting(until: now + backOff.delay(&random))
    isReportDue = false
  }

  /// The stream's `MessageDeframer` refused what came: the stream is closed, and opened again after
  /// a back-off.
  public mutating func messageRefused(_ stream: UInt32, now: Instant) {
    guard stream == self.stream, stream != 0 else { return }
    malformed += 1
    closing = stream
    streamClosed(stream, now: now)
  }

  /// Waits no longer: the network has changed.
  public mutating func retryNow() {
    guard case .waiting = phase else { return }
    retries += 1
    phase = .wanted
  }

  /// Whether the next action opens a stream.
  var wantsStream: Bool { phase == .wanted }
  /// Nothing more is reported.
  public var isIdle: Bool { phase == .idle }
  /// The server has said what it wants, and gets it.
  public var isReporting: Bool { if case .open(.some) = phase { true } else { false } }
  /// Something that the server asked for has not been reported.
  public var hasNews: Bool { clusters.contains { $0?.isReported == true && $0?.isActive == true } }
  /// In a word, for pages.
  public var state: StaticString {
    switch phase {
    case .idle, .stopping: "off"
    case .wanted, .opening: "connecting"
    case .opened, .open(nil): "asked"
    case .open: "reporting"
    case .waiting: "waiting"
    }
  }

  /// A message of the server.
  public mutating func receive(_ message: [UInt8], stream: UInt32, now: Instant) {
    guard stream == self.stream, case .open = phase else { return }
    let response: LoadResponse?
    do throws(WireError) {
      response = try LoadResponse(message.span)
    } catch {
      response = nil
    }
    guard let response else { return messageRefused(stream, now: now) }
    backOff.reset()
    responses += 1
    untracked += response.omitted
    refusesEndpointGranularity = response.wantsEndpoints
    sendsAll = response.sendsAll
    requested = response.clusters
    isIntervalClamped = response.interval < LoadLimits.intervalMin
    interval = max(response.interval, LoadLimits.intervalMin)
    countedSince = countedSince ?? now
    for index in clusters.indices {
      guard let load = clusters[index] else { continue }
      let isReported = sendsAll || requested.contains(load.name)
      // What was counted before anybody asked is of no meaning to the server.
      if isReported, !load.isReported { clusters[index]?.clear(now: now) }
      clusters[index]?.isReported = isReported
      if load.isRemoved, !isReported { clusters[index] = nil }
    }
    phase = .open(next: now + interval)
  }

  /// When `handleTimeout` has something to do.
  public func nextDeadline() -> Instant? {
    switch phase {
    case .waiting(let until): until
    case .open(let next): next
    default: nil
    }
  }

  /// The deadline has passed.
  public mutating func handleTimeout(now: Instant) {
    if case .waiting(let until) = phase, until <= now { retryNow() }
    if case .open(.some(let next)) = phase, next <= now {
      isReportDue = true
      phase = .open(next: now + interval)
    }
  }

  /// The next thing to do; nil: nothing until the next event.
  public mutating func nextAction(now: Instant) -> LoadAction? {
    if isReportDue {
      isReportDue = false
      return .send(stream: stream, message: report(now: now))
    }
    if phase == .stopping { close() }
    if closing != 0 {
      let stream = closing
      closing = 0
      return .close(stream: stream)
    }
    if phase == .opened {
      phase = .open(next: nil)
      requests += 1
      var writer = WireWriter()
      writer.bytes(1, node.span)
      return .send(stream: stream, message: writer.bytes)
    }
    guard phase == .wanted else { return nil }
    lastStream &+= 1
    stream = lastStream
    phase = .opening
    return .open(stream: stream)
  }

  /// Latches the counters: what is counted from here on is in the next report.
  private mutating func report(now: Instant) -> [UInt8] {
    reports += 1
    requests += 1
    countedSince = now
    var writer = WireWriter()
    for index in clusters.indices {
      guard let load = clusters[index], load.isReported else { continue }
      if load.isActive { writer.message(2) { load.encode(into: &$0, now: now) } }
      clusters[index]?.clear(now: now)
      if load.isRemoved { clusters[index] = nil }
    }
    return writer.bytes
  }
}

/// `LoadStatsResponse`: 1 clusters, 2 load_reporting_interval, 3 report_endpoint_granularity,
/// 4 send_all_clusters.
private struct LoadResponse {
  var clusters: [ByteString] = []
  var interval = Interval.zero
  var wantsEndpoints = false
  var sendsAll = false
  /// Names beyond those that are kept.
  var omitted: UInt64 = 0

  /// Nil: the interval is not above zero.
  init?(_ bytes: Span<UInt8>) throws(WireError) {
    var reader = WireReader(bytes)
    var given: Interval?
    while let field = try reader.next(in: bytes) {
      switch field.number {
      case 1:
        guard let text = try reader.text(field.value, in: bytes) else { break }
        if clusters.count < LoadLimits.namesMax {
          clusters.append(ByteString(copying: bytes.extracting(text)))
        } else {
          omitted += 1
        }
      case 2:
        guard let range = field.value.range else { break }
        given = try DiscoveryWire.duration(try reader.message(range), in: bytes)
      case 3: wantsEndpoints = field.value.bool ?? wantsEndpoints
      case 4: sendsAll = field.value.bool ?? sendsAll
      default: break
      }
    }
    guard let given else { return nil }
    interval = given
  }
}

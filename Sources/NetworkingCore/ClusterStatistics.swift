import HTTP2
import Policy
import Primitives

/// Counters of one cluster, under Envoy's names.
struct ClusterStatistics: Sendable {
  var requests: UInt64 = 0
  var completed: UInt64 = 0
  var status2xx: UInt64 = 0
  var status3xx: UInt64 = 0
  var status4xx: UInt64 = 0
  var status5xx: UInt64 = 0
  var retries: UInt64 = 0
  var retrySuccesses: UInt64 = 0
  var retryOverflows: UInt64 = 0
  var retryLimitExceeded: UInt64 = 0
  var backOffsExponential: UInt64 = 0
  var backOffsRateLimited: UInt64 = 0
  var retriesOrShadowsAbandoned: UInt64 = 0
  var timeouts: UInt64 = 0
  var perTryTimeouts: UInt64 = 0
  var perTryIdleTimeouts: UInt64 = 0
  var durationsReached: UInt64 = 0
  var maintenance: UInt64 = 0
  var pendingTotal: UInt64 = 0
  var pendingOverflows: UInt64 = 0
  var pendingFailures: UInt64 = 0
  var cancelled: UInt64 = 0
  var resetsReceived: UInt64 = 0
  var resetsSent: UInt64 = 0
  var noHealthyUpstream: UInt64 = 0
  var connections: UInt64 = 0
  var connectFailures: UInt64 = 0
  var connectTimeouts: UInt64 = 0
  var connectionOverflows: UInt64 = 0
  var connectionRequestsReached: UInt64 = 0
  var connectionDurationsReached: UInt64 = 0
  var connectionsDestroyed: UInt64 = 0
  var protocolErrors: UInt64 = 0
  var closeNotifications: UInt64 = 0
  var codec = CodecStatistics()
  var bytesReceived: UInt64 = 0
  var bytesSent: UInt64 = 0
  var resolutions: UInt64 = 0
  var resolutionFailures: UInt64 = 0
  var drops: UInt64 = 0
  var tls = TLSStatistics()

  mutating func charge(status: UInt16) {
    completed += 1
    switch status {
    case 200..<300: status2xx += 1
    case 300..<400: status3xx += 1
    case 400..<500: status4xx += 1
    default: status5xx += 1
    }
  }
}

/// What happened in TLS before a connection was up.
struct TLSStatistics: Sendable {
  var handshakes: UInt64 = 0
  var resumed: UInt64 = 0
  var failures: UInt64 = 0
  var certificatesRefused: UInt64 = 0
  var namesRefused: UInt64 = 0

  mutating func charge(_ kind: ConnectFailureKind) {
    switch kind {
    case .transport: break
    case .tls: failures += 1
    case .certificate: certificatesRefused += 1
    case .serverName: namesRefused += 1
    }
  }
}

extension NetworkingCore {
  /// Visits each cluster's statistics under Envoy's names.
  public func visitStatistics(
    _ visit: (
      _ cluster: ByteString, _ name: StaticString, _ value: UInt64, _ isGauge: Bool
    ) -> Void
  ) {
    for slot in clusters where slot.isUsed {
      let name = slot.configuration.name
      visitCounters(slot.statistics) { visit(name, $0, $1, false) }
      if slot.configuration.security != .plain {
        visitTLS(slot.statistics.tls) { visit(name, $0, $1, false) }
      }
      let load = slot.load.total
      visit(name, "upstream_rq_active", UInt64(load.active), true)
      visit(name, "upstream_rq_pending_active", UInt64(load.pending), true)
      visit(name, "upstream_cx_active", UInt64(load.connections), true)
      visitBreakers(slot) { visit(name, $0, $1, true) }
      visitMembers(slot) { visit(name, $0, $1, true) }
    }
  }

  /// 1: the next one would be rejected.
  private func visitBreakers(
    _ slot: borrowing ClusterSlot, _ visit: (_ name: StaticString, _ value: UInt64) -> Void
  ) {
    let load = slot.load[.default]
    let breakers = slot.configuration.circuitBreakers
    visit("circuit_breakers.default.cx_open", breakers.allowsConnection(load) ? 0 : 1)
    visit("circuit_breakers.default.rq_pending_open", breakers.allowsPending(load) ? 0 : 1)
    visit("circuit_breakers.default.rq_open", breakers.allowsRequest(load) ? 0 : 1)
    visit("circuit_breakers.default.rq_retry_open", breakers.allowsRetry(load) ? 0 : 1)
    let highLoad = slot.load[.high]
    let high = slot.configuration.highPriorityBreakers
    visit("circuit_breakers.high.cx_open", high.allowsConnection(highLoad) ? 0 : 1)
    visit("circuit_breakers.high.rq_pending_open", high.allowsPending(highLoad) ? 0 : 1)
    visit("circuit_breakers.high.rq_open", high.allowsRequest(highLoad) ? 0 : 1)
    visit("circuit_breakers.high.rq_retry_open", high.allowsRetry(highLoad) ? 0 : 1)
  }

  /// Healthy is what the control plane calls so and what has not failed since.
  private func visitMembers(
    _ slot: ClusterSlot, _ visit: (_ name: StaticString, _ value: UInt64) -> Void
  ) {
    let members = slot.members.endpoints
    var healthy = members.count { $0.health == .healthy }
    for state in slot.endpoints
    where state.failures > 0 && members[Int(state.member)].health == .healthy {
      healthy -= 1
    }
    visit("membership_total", UInt64(members.count))
    visit("membership_healthy", UInt64(healthy))
    visit("membership_degraded", UInt64(members.count { $0.health == .degraded }))
  }

  private func visitTLS(
    _ statistics: TLSStatistics, _ visit: (_ name: StaticString, _ value: UInt64) -> Void
  ) {
    visit("ssl.handshake", statistics.handshakes)
    visit("ssl.session_reused", statistics.resumed)
    visit("ssl.connection_error", statistics.failures)
    visit("ssl.fail_verify_error", statistics.certificatesRefused)
    visit("ssl.fail_verify_san", statistics.namesRefused)
  }

  /// Visits what peers did wrong, one statistic for each act that ever happened: how many connections
  /// and streams ended for it, in all clusters.
  public func visitCauses(_ visit: (_ name: StaticString, _ value: UInt64) -> Void) {
    for cause in HTTP2Cause.allCases where causes[Int(cause.rawValue)] > 0 {
      visit(cause.name, causes[Int(cause.rawValue)])
    }
  }

  private func visitCounters(
    _ statistics: ClusterStatistics, _ visit: (_ name: StaticString, _ value: UInt64) -> Void
  ) {
    visit("upstream_rq_total", statistics.requests)
    visit("upstream_rq_completed", statistics.completed)
    visit("upstream_rq_2xx", statistics.status2xx)
    visit("upstream_rq_3xx", statistics.status3xx)
    visit("upstream_rq_4xx", statistics.status4xx)
    visit("upstream_rq_5xx", statistics.status5xx)
    visit("upstream_rq_retry", statistics.retries)
    visit("upstream_rq_retry_success", statistics.retrySuccesses)
    visit("upstream_rq_retry_overflow", statistics.retryOverflows)
    visit("upstream_rq_retry_limit_exceeded", statistics.retryLimitExceeded)
    visit("upstream_rq_retry_backoff_exponential", statistics.backOffsExponential)
    visit("upstream_rq_retry_backoff_ratelimited", statistics.backOffsRateLimited)
    visit("retry_or_shadow_abandoned", statistics.retriesOrShadowsAbandoned)
    visit("upstream_rq_timeout", statistics.timeouts)
    visit("upstream_rq_per_try_timeout", statistics.perTryTimeouts)
    visit("upstream_rq_per_try_idle_timeout", statistics.perTryIdleTimeouts)
    visit("upstream_rq_max_duration_reached", statistics.durationsReached)
    visit("upstream_rq_maintenance_mode", statistics.maintenance)
    visit("upstream_rq_pending_total", statistics.pendingTotal)
    visit("upstream_rq_pending_overflow", statistics.pendingOverflows)
    visit("upstream_rq_pending_failure_eject", statistics.pendingFailures)
    visit("upstream_rq_drop_overload", statistics.drops)
    visit("upstream_rq_cancelled", statistics.cancelled)
    visit("upstream_rq_rx_reset", statistics.resetsReceived)
    visit("upstream_rq_tx_reset", statistics.resetsSent)
    visit("upstream_cx_none_healthy", statistics.noHealthyUpstream)
    visit("upstream_cx_total", statistics.connections)
    visit("upstream_cx_connect_fail", statistics.connectFailures)
    visit("upstream_cx_connect_timeout", statistics.connectTimeouts)
    visit("upstream_cx_overflow", statistics.connectionOverflows)
    visit("upstream_cx_max_requests", statistics.connectionRequestsReached)
    visit("upstream_cx_max_duration_reached", statistics.connectionDurationsReached)
    visit("upstream_cx_destroy", statistics.connectionsDestroyed)
    visit("upstream_cx_protocol_error", statistics.protocolErrors)
    visit("upstream_cx_close_notify", statistics.closeNotifications)
    visit("upstream_cx_rx_bytes_total", statistics.bytesReceived)
    visit("upstream_cx_tx_bytes_total", statistics.bytesSent)
    visit("update_attempt", statistics.resolutions)
    visit("update_failure", statistics.resolutionFailures)
    visitCodec(statistics.codec, visit)
  }

  private func visitCodec(
    _ codec: CodecStatistics, _ visit: (_ name: StaticString, _ value: UInt64) -> Void
  ) {
    visit("http2.header_overflow", codec.headerOverflows)
    visit("http2.inbound_empty_frames_flood", codec.emptyFrameFloods)
    visit("http2.inbound_priority_frames_flood", codec.priorityFloods)
    visit("http2.inbound_window_update_frames_flood", codec.windowUpdateFloods)
    visit("http2.outbound_control_flood", codec.controlFloods)
    visit("http2.keepalive_timeout", codec.keepAliveTimeouts)
    visit("http2.rx_messaging_error", codec.messagingErrors)
    visit("http2.tx_flush_timeout", codec.flushTimeouts)
  }
}

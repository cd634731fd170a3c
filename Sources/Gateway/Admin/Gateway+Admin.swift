import Primitives
import Spool

/// Which page answers which request.
extension Gateway where Storage: ~Copyable {
  /// Answers one request of the admin endpoint.
  public mutating func answer(
    _ request: AdminRequest, clocks: Clocks, certificates: () -> [TLSCertificates] = { [] }
  ) -> AdminPage {
    let path = request.path
    if path == "/ready" { return readyPage() }
    if path == "/clusters" { return clustersPage(request) }
    if path == "/route" { return routePage(request) }
    if path == "/spool/drain" { return drainSpool(request, clocks: clocks) }
    if path == "/stats" || path == "/stats/prometheus" { return statisticsPage(request) }
    if path == "/certs" {
      let body = CertificatesPage.body(certificates(), wall: clocks.wall)
      return AdminPage(contentType: .json, body: body)
    }
    guard let body = document(path, clocks: clocks) else {
      return AdminPage(status: 404, line: "no such page: \(path.description)")
    }
    return AdminPage(contentType: .json, body: body)
  }

  /// What waits for its commit is written, what waits for its time is sent: holds and pauses end.
  private mutating func drainSpool(_ request: AdminRequest, clocks: Clocks) -> AdminPage {
    guard request.method == .post else { return AdminPage(status: 405, line: "POST drains") }
    commit(clocks: clocks)
    retryNow(clocks: clocks)
    return AdminPage(status: 200, line: "OK")
  }

  /// Configuration, spool and sources are up when the gateway exists; an upstream is not waited for. Without
  /// its disk it works on and must not be restarted, which would lose what is in memory: 200, and the reason.
  private func readyPage() -> AdminPage {
    if draining { return AdminPage(status: 503, line: "DRAINING") }
    guard let failure = spool.statistics.failure else {
      return AdminPage(status: 200, line: "LIVE")
    }
    return AdminPage(status: 200, line: "LIVE, spool degraded: \(failure.text)")
  }

  private func statisticsPage(_ request: AdminRequest) -> AdminPage {
    switch StatisticsPage.Request.read(request) {
    case .refused(let page): return page
    case .accepted(let asked):
      var statistics = asked.statistics()
      collect(into: &statistics)
      return asked.page(of: statistics)
    }
  }

  private func document(_ path: ByteString, clocks: Clocks) -> [UInt8]? {
    if path == "/memory" { return memoryPage() }
    if path == "/server_info" { return serverInfoPage(clocks: clocks) }
    if path == "/streams" { return streamsPage() }
    if path == "/serial" { return serialPage() }
    if path == "/mqtt" { return mqttPage() }
    if path == "/spool" { return spoolPage() }
    if path == "/config_dump" { return configDumpPage() }
    if path == "/runtime" { return runtimePage() }
    if path == "/failed_requests" { return failedRequestsPage(clocks: clocks) }
    return nil
  }
}

import Configuration
import Primitives
import Spool

/// Which page answers which request.
extension Gateway where Storage: ~Copyable {
  /// The longest page, while there is no other. The rest is for requests.
  var pageBytesMax: Int {
    min(ledger[.admin].limit - MemoryNeeds.adminRequestBytes, AdminLimits.pageMax)
  }

  /// Answers one request of the admin endpoint. `room`: what the pages that are being written leave.
  public mutating func answer(
    _ request: AdminRequest, room: Int = .max, clocks: Clocks,
    certificates: () -> [TLSCertificates] = { [] }
  ) -> AdminPage {
    let page = self.page(request, clocks: clocks, certificates: certificates)
    if page.body.count > pageBytesMax {
      return AdminPage(
        status: 500,
        line:
          "the page is longer than \(pageBytesMax) bytes, a part of [memory] budget: use ?filter=")
    }
    if page.body.count > room {
      return AdminPage(
        status: 503, line: "other pages are being read, and there is no room for more")
    }
    return page
  }

  private mutating func page(
    _ request: AdminRequest, clocks: Clocks, certificates: () -> [TLSCertificates]
  ) -> AdminPage {
    let path = request.path
    if path == "/ready" { return readyPage() }
    if path == "/clusters" { return clustersPage(request) }
    if path == "/route" { return routePage(request) }
    if path == "/logging" { return loggingPage(request) }
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

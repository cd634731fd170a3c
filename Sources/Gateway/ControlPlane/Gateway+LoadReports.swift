import GRPC
import NetworkingCore
import Policy
import Primitives
import XDS

/// Load reports. The core counts the attempts at clusters that ask for it (`lrs_server`), and at no
/// others; a request costs a few additions. What has changed goes to the reporter when that is about to
/// tell the server, or hears from it which clusters it wants.
extension Gateway where Storage: ~Copyable {
  /// Reports begin with the first cluster that asks for them, and end when the last one is gone and has
  /// been reported.
  mutating func steerLoadReports(_ plane: ControlPlane, now: Instant) {
    if plane.wantsLoadReports { return plane.channel.load.start() }
    guard !plane.channel.load.isIdle else { return }
    takeLoads(plane, now: now)
    guard !core.countsLoad, plane.channel.load.isReporting || !plane.channel.load.hasNews else {
      return
    }
    plane.channel.load.stop()
  }

  /// Hands over what the core has counted since the last time.
  mutating func takeLoads(_ plane: ControlPlane, now: Instant) {
    for tally in core.takeTallies() {
      for load in tally.localities {
        let place = plane.channel.load.place(
          cluster: tally.cluster, service: tally.service, region: load.locality.region,
          zone: load.locality.zone, subZone: load.locality.subZone, priority: load.priority,
          now: now)
        guard let place else { continue }
        plane.channel.load.add(
          place, issued: load.issued, succeeded: load.succeeded, failed: load.failed,
          inProgress: load.active)
      }
      for drop in tally.drops {
        plane.channel.load.dropped(
          cluster: tally.cluster, service: tally.service, category: drop.category,
          count: drop.count, now: now)
      }
      if tally.overflows > 0 {
        plane.channel.load.dropped(
          cluster: tally.cluster, service: tally.service, category: ByteString(),
          count: tally.overflows, now: now)
      }
      if tally.isLast {
        plane.channel.load.remove(cluster: tally.cluster, service: tally.service)
      }
    }
  }

  /// Nothing is on its way upstream any more: the last report.
  mutating func closeLoadReports(clocks: Clocks) {
    guard let plane = controlPlane else { return }
    if let end = plane.partingEnds, end <= clocks.now { plane.partingEnds = nil }
    guard plane.wantsLoadReports else { return }
    plane.wantsLoadReports = false
    takeLoads(plane, now: clocks.now)
    plane.channel.load.stop()
    plane.partingEnds = clocks.now + partingMax
    carryOut(plane, clocks: clocks)
  }

  /// The last report is on its way: a connection that is closed now might take it along. The server ends
  /// the stream when it has everything.
  var isParting: Bool {
    guard let plane = controlPlane, plane.partingEnds != nil else { return false }
    return plane.calls.contains { call in
      if case .load = call.stream { true } else { false }
    }
  }

  // MARK: Seeing it

  /// Of `/config_dump`.
  func writeLoadReports(_ plane: ControlPlane, _ json: inout JSONWriter) {
    let load = plane.channel.load
    guard plane.wantsLoadReports || !load.isIdle else { return }
    json.key("load_reports")
    json.beginObject()
    json.member("state", ByteString(load.state))
    if load.interval > .zero {
      json.member("interval_ms", UInt64(load.interval.nanoseconds / 1_000_000))
      json.member("send_all_clusters", load.sendsAll)
      json.key("clusters")
      json.beginArray()
      for name in load.requested { json.string(name) }
      json.endArray()
    }
    json.member("reports", load.reports)
    if let end = plane.channel.lastLoadEnd {
      json.member("last_failure", end.text)
      json.member("last_status", ByteString(end.status.name))
    }
    write(
      "not_applied", load.refusesEndpointGranularity ? ["report_endpoint_granularity"] : [], &json)
    write("clamped", load.isIntervalClamped ? ["load_reporting_interval"] : [], &json)
    json.endObject()
  }

  /// Envoy's names.
  func addLoadReports(_ plane: ControlPlane, _ statistics: inout Statistics) {
    let load = plane.channel.load
    statistics.add("load_reporter.requests", .counter, load.requests)
    statistics.add("load_reporter.responses", .counter, load.responses)
    statistics.add("load_reporter.errors", .counter, load.streamsLost)
    statistics.add("load_reporter.retries", .counter, load.retries)
    statistics.add("spoke.xds.load_responses_malformed", .counter, load.malformed)
    statistics.add("spoke.xds.load_untracked", .counter, load.untracked)
  }
}

/// A device that stops does not wait long for a server that does not end the stream.
private let partingMax = Interval.seconds(1)

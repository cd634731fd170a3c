import Configuration
import Primitives
import Spool

/// Records that were lost outside the spool: refused at the door, or dropped from a stream's memory.
/// They are added up, so that a flood makes one report a second and not one a record.
struct Loss {
  var stream: ByteString
  var reason: DropReason
  var epoch: UInt64
  /// 0 for records that never got a number; then only `count` speaks.
  var first: UInt64
  var last: UInt64
  var count: UInt64
  var from: WallTime
  var to: WallTime
  var dueAt: Instant
}

extension Gateway where Storage: ~Copyable {
  /// A record never got a sequence number.
  mutating func reportRefused(stream: Int, reason: DropReason, clocks: Clocks) {
    lose(
      stream: stream, reason: reason, epoch: spool.epoch, sequence: 0, time: clocks.wall,
      clocks: clocks)
  }

  /// Adds a record to a report that is to be made; its number follows those before it.
  mutating func lose(
    stream: Int, reason: DropReason, epoch: UInt64, sequence: UInt64, time: WallTime,
    clocks: Clocks
  ) {
    let name = configuration.streams[stream].name
    for index in reports.losses.indices
    where reports.losses[index].stream == name && reports.losses[index].reason == reason
      && reports.losses[index].epoch == epoch
      && (reports.losses[index].first == 0) == (sequence == 0)
    {
      reports.losses[index].count += 1
      reports.losses[index].first = min(reports.losses[index].first, sequence)
      reports.losses[index].last = max(reports.losses[index].last, sequence)
      reports.losses[index].to = time
      return
    }
    reports.losses.append(
      Loss(
        stream: name, reason: reason, epoch: epoch, first: sequence, last: sequence, count: 1,
        from: time, to: time, dueAt: clocks.now + .seconds(1)))
  }

  mutating func flushLosses(clocks: Clocks) {
    var index = 0
    while index < reports.losses.count, hasRoomForReports {
      guard reports.losses[index].dueAt <= clocks.now else {
        index += 1
        continue
      }
      let loss = reports.losses.remove(at: index)
      report(loss, clocks: clocks)
    }
  }

  mutating func log(_ loss: Loss) {
    log(
      .warning,
      "stream \(loss.stream.description): \(loss.count) records "
        + (loss.first == 0 ? "refused" : "dropped, \(loss.first) to \(loss.last)")
        + ", reason \(loss.reason.text.description)")
  }

  private mutating func report(_ loss: Loss, clocks: Clocks) {
    log(loss)
    report("gap", clocks: clocks) { json in
      json.member("stream", loss.stream)
      json.member("epoch", EpochText.of(loss.epoch))
      json.member("first", loss.first)
      json.member("last", loss.last)
      json.member("count", loss.count)
      json.time("from", loss.from)
      json.time("to", loss.to)
      json.member("reason", loss.reason.text)
    }
  }

  var nextLossDeadline: Instant? {
    hasRoomForReports ? reports.losses.map { $0.dueAt }.min() : nil
  }
}

import Platform
import Primitives

/// `spool drain`: a running daemon sends what waits, at once, and this waits until nothing does.
struct SpoolDrain {
  let daemon: Daemon

  /// Without any progress for this long it gives up.
  private static let patience = Interval.seconds(60)
  private static let pause = Interval.milliseconds(250)

  func run() -> Int32 {
    var least = UInt64.max
    var until = SystemClocks.now() + Self.patience
    do throws(DaemonError) {
      _ = try daemon.post("/spool/drain")
      while true {
        let waiting = try waitingRecords()
        if waiting == 0 { return Output.print("nothing waits any more\n") }
        if waiting < least {
          least = waiting
          until = SystemClocks.now() + Self.patience
        }
        guard SystemClocks.now() < until else { break }
        SystemClocks.sleep(Self.pause)
      }
    } catch {
      return daemon.report(error)
    }
    StandardOutput.writeError(
      "spokectl: \(least) records wait, and none has left for 60 s; 'spokectl status' tells why\n")
    return ExitCode.refused
  }

  private func waitingRecords() throws(DaemonError) -> UInt64 {
    let page = try daemon.get("/streams")
    guard let value = JSONValue(parsing: page.span) else {
      throw .unreachable("/streams is not JSON")
    }
    var sum: UInt64 = 0
    for stream in value["streams"]?.elements ?? [] {
      sum += stream["backlog_records"]?.unsigned ?? 0
    }
    return sum
  }
}

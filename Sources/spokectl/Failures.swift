import Primitives

/// `spokectl failures`: requests that failed lately, and why they were not retried.
enum Failures {
  static func report(_ daemon: Daemon, json: Bool) throws(DaemonError) -> [UInt8] {
    let page = try daemon.get("/failed_requests")
    if json { return page }
    guard let value = JSONValue(parsing: page.span) else {
      throw .unreachable("/failed_requests is not JSON")
    }
    var table = TextTable(
      ["TIME", "CLUSTER", "STREAM", "STATUS", "ATTEMPTS", "NOT RETRIED", "DETAILS"])
    let requests = value["failed_requests"]?.elements ?? []
    for request in requests {
      table.add([
        Status.show(request["time"]), Status.show(request["cluster"]),
        Status.show(request["stream"]), Status.show(request["status"]),
        Status.show(request["attempts"]), Status.show(request["not_retried"]),
        Status.show(request["details"]),
      ])
    }
    var text: [UInt8] = []
    if requests.isEmpty { text.append("no request has failed\n") }
    table.append(to: &text)
    return text
  }
}

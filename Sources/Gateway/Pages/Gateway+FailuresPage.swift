import Configuration
import NetworkingCore
import Primitives

/// `/failed_requests`: the last requests of each cluster that failed, and why they were not retried, or not
/// once more.
extension Gateway where Storage: ~Copyable {
  func failedRequestsPage(clocks: Clocks) -> [UInt8] {
    var json = JSONWriter()
    json.beginObject()
    json.key("failed_requests")
    json.beginArray()
    core.visitFailedRequests { cluster, request in
      json.beginObject()
      json.member("cluster", cluster)
      if request.token & Self.callToken != 0 {
        json.member("stream", "control plane")
      } else if let stream = configuration.stream(Int(request.token)) {
        json.member("stream", stream.name)
      }
      json.time("time", clocks.wall.before(clocks.now - request.at))
      switch request.outcome {
      case .response(let status, let grpcStatus, _):
        json.member("status", UInt64(status))
        if let grpcStatus { json.member("grpc_status", UInt64(grpcStatus)) }
      case .failure: break
      }
      json.member("attempts", UInt64(request.attempts))
      json.member("not_retried", ByteString(request.retryEnd.name))
      json.member("details", request.details)
      json.endObject()
    }
    json.endArray()
    json.endObject()
    return json.bytes
  }
}

extension Configuration {
  fileprivate func stream(_ index: Int) -> StreamConfiguration? {
    streams.indices.contains(index) ? streams[index] : nil
  }
}

extension WallTime {
  fileprivate func before(_ interval: Interval) -> WallTime {
    WallTime(nanoseconds: nanoseconds - interval.nanoseconds)
  }
}

import GRPC
import NetworkingCore
import Primitives

/// What the end of a request means for the record it carried (DESIGN: "Records and their delivery").
public enum DeliveryOutcome: Equatable, Sendable {
  /// HTTP 2xx, response complete.
  case delivered
  /// Try again after a back-off, and not before `retryAfter`.
  case transient(retryAfter: Interval?)
  /// The upstream does not want this device or this path at the moment: keep everything, report,
  /// probe now and then. `status` as in `AnswerStatus`.
  case hold(status: UInt16)
  /// The upstream will never take this record: park it and go on.
  case rejected(status: UInt16)

  /// What the end of a request means. A route that is missing, and a cluster whose absence the control
  /// plane calls 404, is a matter of configuration, as a 404 of the upstream is.
  static func of(_ result: RequestResult, isCall: Bool) -> DeliveryOutcome {
    switch result.outcome {
    case .failure(.noRoute), .failure(.noCluster):
      return result.localStatus == 404 ? .hold(status: 404) : .transient(retryAfter: nil)
    case .failure, .response:
      return of(result.outcome, retriesConflict: result.wasRetriable, isCall: isCall)
    }
  }

  /// `retriesConflict`: the route's retry policy lists 409, which makes it transient. `isCall`: it was
  /// a gRPC call, whose end is its `grpc-status` alone; an upstream that gives none, a proxy say,
  /// speaks by its HTTP status.
  public static func of(
    _ outcome: RequestResult.Outcome, retriesConflict: Bool, isCall: Bool = false
  ) -> DeliveryOutcome {
    switch outcome {
    case .response(let status, let grpcStatus, let retryAfter):
      if isCall, let grpcStatus {
        return of(GRPCStatus(code: grpcStatus), retryAfter: retryAfter)
      }
      // A call without a status did not end as calls do: UNKNOWN.
      if isCall, (200...299).contains(status) { return .transient(retryAfter: retryAfter) }
      return of(status: status, retryAfter: retryAfter, retriesConflict: retriesConflict)
    case .failure(.requestTooLarge):
      // RFC 9110 §15.5.14 in all but name: it never goes out as it is.
      return .rejected(status: 413)
    case .failure(.reset) where isMutated(.trustBrokenAnswer): return .delivered
    case .failure:
      return .transient(retryAfter: nil)
    }
  }

  private static func of(_ status: GRPCStatus, retryAfter: Interval?) -> DeliveryOutcome {
    switch status {
    case .ok: .delivered
    case .unavailable, .resourceExhausted, .deadlineExceeded, .aborted, .internalError, .unknown:
      .transient(retryAfter: retryAfter)
    case .unauthenticated, .permissionDenied, .notFound, .unimplemented:
      .hold(status: status.rawValue)
    case .cancelled, .invalidArgument, .alreadyExists, .failedPrecondition, .outOfRange, .dataLoss:
      .rejected(status: status.rawValue)
    }
  }

  private static func of(
    status: UInt16, retryAfter: Interval?, retriesConflict: Bool
  ) -> DeliveryOutcome {
    switch status {
    case 200...299: .delivered
    // RFC 9110 §15.4: a redirect is never followed (a record must not wander off to a place that
    // no policy named); it is a configuration matter, as 401, 403 and 404 are.
    case 300...399, 401, 403, 404: .hold(status: status)
    case 408, 425, 429: .transient(retryAfter: retryAfter)
    case 409 where retriesConflict: .transient(retryAfter: retryAfter)
    case 400...499: .rejected(status: status)
    default: .transient(retryAfter: retryAfter)
    }
  }
}

extension RequestResult {
  /// The route's retry policy names what happened.
  var wasRetriable: Bool {
    switch retryEnd {
    case .limit, .overflow, .tooLate: true
    default: false
    }
  }

  /// No answer, because there was no way to the upstream.
  var isUnreachable: Bool {
    switch outcome {
    case .failure(.connectFailure), .failure(.resolutionFailed), .failure(.reset): true
    case .failure, .response: false
    }
  }

  /// The end of the request in words, for a log line.
  var words: String { words(isCall: false) }

  /// The same of a record's request. `isCall`: a gRPC call, which ends with a status of its own.
  func words(isCall: Bool) -> String {
    switch outcome {
    case .response(let status, let grpcStatus, _):
      if details.hasPrefix("direct_response") {
        "the route answers \(status)"
      } else if let grpcStatus, grpcStatus > 0 {
        "upstream answered \(AnswerStatus.words(grpcStatus))" + answerText
      } else {
        "upstream answered \(status)"
          + (isCall && grpcStatus == nil ? " without a grpc-status" : "")
      }
    case .failure: details.isEmpty ? "request failed" : details.description
    }
  }

  /// What a call's upstream said in `grpc-message`.
  private var answerText: String {
    guard !details.isEmpty else { return "" }
    return ": " + ByteString(GRPCMessageText.decode(details.bytes.span)).description
  }
}

/// The status that an outcome carries: an HTTP status, or below 100, where HTTP has none, a gRPC one.
enum AnswerStatus {
  static func isCall(_ status: UInt16) -> Bool { status < 100 }

  /// For a log line: `404`, `grpc-status 5 (NOT_FOUND)`.
  static func words(_ status: UInt16) -> String {
    guard isCall(status) else { return "\(status)" }
    return "grpc-status \(status) (\(GRPCStatus(code: status).name))"
  }

  /// The member of a report that holds it.
  static func member(_ status: UInt16) -> StaticString {
    isCall(status) ? "grpc_status" : "status"
  }
}

import NetworkingCore
import Primitives

/// What the end of a request means for the record it carried (DESIGN: "Records and their delivery").
public enum DeliveryOutcome: Equatable, Sendable {
  /// HTTP 2xx, response complete.
  case delivered
  /// Try again after a back-off, and not before `retryAfter`.
  case transient(retryAfter: Interval?)
  /// The upstream does not want this device or this path at the moment: keep everything, report,
  /// probe now and then.
  case hold(status: UInt16)
  /// The upstream will never take this record: park it and go on.
  case rejected(status: UInt16)

  /// `retriesConflict`: the route's retry policy lists 409, which makes it transient.
  public static func of(_ outcome: RequestResult.Outcome, retriesConflict: Bool) -> DeliveryOutcome
  {
    switch outcome {
    case .response(let status, _, let retryAfter):
      return of(status: status, retryAfter: retryAfter, retriesConflict: retriesConflict)
    case .failure(.requestTooLarge):
      // RFC 9110 §15.5.14 in all but name: it never goes out as it is.
      return .rejected(status: 413)
    case .failure:
      return .transient(retryAfter: nil)
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
  /// No answer, because there was no way to the upstream.
  var isUnreachable: Bool {
    switch outcome {
    case .failure(.connectFailure), .failure(.resolutionFailed), .failure(.reset): true
    case .failure, .response: false
    }
  }

  /// The end of the request in words, for a log line.
  var words: String {
    switch outcome {
    case .response(let status, _, _): "upstream answered \(status)"
    case .failure: details.isEmpty ? "request failed" : details.description
    }
  }
}

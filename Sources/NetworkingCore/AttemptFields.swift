import GRPC
import HPACK
import Policy
import Primitives

/// What goes out differently with each attempt of a request. Empty on the steady path: then the request's
/// own header fields are sent as they are.
struct AttemptFields: OptionSet, Sendable {
  let rawValue: UInt8
  /// `x-envoy-attempt-count`, from 1.
  static let attemptCount = AttemptFields(rawValue: 1 << 0)
  /// `x-envoy-is-timeout-retry`, in retries.
  static let timeoutRetry = AttemptFields(rawValue: 1 << 1)
  /// `grpc-timeout`: what is left of it.
  static let grpcTimeout = AttemptFields(rawValue: 1 << 2)
  /// The authority is the endpoint's hostname, if it has one.
  static let endpointHostname = AttemptFields(rawValue: 1 << 3)
  /// The authority that it replaces goes into `x-forwarded-host`.
  static let forwardedHost = AttemptFields(rawValue: 1 << 4)
}

extension NetworkingCore {
  /// Builds the header fields of this attempt.
  mutating func composeAttempt(_ request: Int) {
    let fields = requests[request].attemptFields
    let list = requests[request].headers
    var hostname = ByteString()
    if fields.contains(.endpointHostname) {
      hostname = clusters.span[requests[request].cluster].hostname(of: requests[request].endpoint)
    }
    composed.removeAll()
    for index in 0..<list.count {
      if list.nameEquals(index, ":authority"), !hostname.isEmpty {
        composed.append(name: ":authority", value: hostname.bytes.span)
      } else if !isReplaced(list, index, fields) {
        list.withField(index) { name, value in
          composed.append(name: name, value: value, indexing: list.fields[index].indexing)
        }
      }
    }
    if fields.contains(.forwardedHost), !hostname.isEmpty,
      let old = list.value(of: ":authority")
    {
      composed.append("x-forwarded-host", old)
    }
    appendNumbers(request, fields)
  }

  private func isReplaced(_ list: HeaderList, _ index: Int, _ fields: AttemptFields) -> Bool {
    (fields.contains(.attemptCount) && list.nameEquals(index, "x-envoy-attempt-count"))
      || (fields.contains(.timeoutRetry) && list.nameEquals(index, "x-envoy-is-timeout-retry"))
      || (fields.contains(.grpcTimeout) && list.nameEquals(index, "grpc-timeout"))
  }

  private mutating func appendNumbers(_ request: Int, _ fields: AttemptFields) {
    let number = requests[request].number
    if fields.contains(.attemptCount) {
      var text: [UInt8] = []
      text.append(decimal: UInt64(number))
      composed.append(name: "x-envoy-attempt-count", value: text.span)
    }
    if fields.contains(.timeoutRetry), number > 1 {
      composed.append(
        name: "x-envoy-is-timeout-retry",
        text: requests[request].followsTimeout ? "true" : "false")
    }
    if fields.contains(.grpcTimeout) {
      var text: [UInt8] = []
      GRPCTimeout.encode(requests[lead(of: request)].grpcDeadline - now, to: &text)
      composed.append(name: "grpc-timeout", value: text.span, indexing: .no)
    }
  }
}

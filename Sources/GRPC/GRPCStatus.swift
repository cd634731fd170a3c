import Primitives

/// How a call ended (grpc.io, "Status codes"). A code that is none of these counts as UNKNOWN.
public enum GRPCStatus: UInt16, Sendable {
  case ok = 0
  case cancelled = 1
  case unknown = 2
  case invalidArgument = 3
  case deadlineExceeded = 4
  case notFound = 5
  case alreadyExists = 6
  case permissionDenied = 7
  case resourceExhausted = 8
  case failedPrecondition = 9
  case aborted = 10
  case outOfRange = 11
  case unimplemented = 12
  case internalError = 13
  case unavailable = 14
  case dataLoss = 15
  case unauthenticated = 16

  /// The status that a `grpc-status` field names.
  public init(code: UInt16) { self = GRPCStatus(rawValue: code) ?? .unknown }

  /// The status of a response that has no `grpc-status` ("HTTP to gRPC status code mapping").
  public init(httpStatus: UInt16) {
    switch httpStatus {
    case 400: self = .internalError
    case 401: self = .unauthenticated
    case 403: self = .permissionDenied
    case 404: self = .unimplemented
    case 429, 502, 503, 504: self = .unavailable
    default: self = .unknown
    }
  }

  /// As the documents write it.
  public var name: StaticString {
    switch self {
    case .ok: "OK"
    case .cancelled: "CANCELLED"
    case .unknown: "UNKNOWN"
    case .invalidArgument: "INVALID_ARGUMENT"
    case .deadlineExceeded: "DEADLINE_EXCEEDED"
    case .notFound: "NOT_FOUND"
    case .alreadyExists: "ALREADY_EXISTS"
    case .permissionDenied: "PERMISSION_DENIED"
    case .resourceExhausted: "RESOURCE_EXHAUSTED"
    case .failedPrecondition: "FAILED_PRECONDITION"
    case .aborted: "ABORTED"
    case .outOfRange: "OUT_OF_RANGE"
    case .unimplemented: "UNIMPLEMENTED"
    case .internalError: "INTERNAL"
    case .unavailable: "UNAVAILABLE"
    case .dataLoss: "DATA_LOSS"
    case .unauthenticated: "UNAUTHENTICATED"
    }
  }
}

/// The value of a `grpc-message` field ("gRPC over HTTP/2", Status-Message): UTF-8 whose bytes
/// outside of space to `~`, and `%`, are percent-encoded.
public enum GRPCMessageText {
  /// Appends the field's value for a text.
  public static func encode(_ text: Span<UInt8>, to value: inout [UInt8]) {
    for index in text.indices {
      let byte = text[index]
      if byte >= 0x20, byte <= 0x7E, byte != UInt8(ascii: "%") {
        value.append(byte)
      } else {
        value.append(UInt8(ascii: "%"))
        value.append(digit(byte >> 4))
        value.append(digit(byte & 15))
      }
    }
  }

  /// The text of a field's value. A `%` that no two digits follow stands for itself, as the
  /// specification asks of a reader; what then is not UTF-8 becomes U+FFFD.
  public static func decode(_ value: Span<UInt8>) -> [UInt8] {
    var raw: [UInt8] = []
    var index = 0
    while index < value.count {
      if value[index] == UInt8(ascii: "%"), index + 2 < value.count,
        let high = hexadecimalValue(value[index + 1]), let low = hexadecimalValue(value[index + 2])
      {
        raw.append(high << 4 | low)
        index += 3
      } else {
        raw.append(value[index])
        index += 1
      }
    }
    var text: [UInt8] = []
    UTF8Sequence.append(raw.span, to: &text)
    return text
  }

  private static func digit(_ value: UInt8) -> UInt8 {
    value < 10 ? UInt8(ascii: "0") + value : UInt8(ascii: "A") + value - 10
  }
}

import Primitives

/// Why a connection is over.
public struct HTTP2Error: Error, Equatable, Sendable {
  /// Who ended it.
  public enum Origin: UInt8, Sendable {
    /// The peer sent GOAWAY and the last stream has ended.
    case peer
    /// This side: it found the peer at fault, or it was told to shut down.
    case local
    /// Nobody answered in time.
    case timeout
  }

  public var origin: Origin
  /// The code of the GOAWAY that was sent or received.
  public var code: HTTP2ErrorCode
  public var cause: HTTP2Cause

  public init(origin: Origin, code: HTTP2ErrorCode, cause: HTTP2Cause) {
    self.origin = origin
    self.code = code
    self.cause = cause
  }

  /// One line for a log.
  public var description: String {
    switch origin {
    case .peer: "peer: \(code.name): \(cause.text)"
    case .local: "local: \(code.name): \(cause.text)"
    case .timeout: "timeout: \(cause.text)"
    }
  }
}

/// What exactly was wrong. One case per act, in alphabetical order.
public enum HTTP2Cause: UInt8, Error, Sendable, CaseIterable {
  case badPreface
  case connectionSpecificField
  case connectionWindowExceeded
  case connectionWindowOverflow
  case contentLengthInvalid
  case contentLengthMismatch
  case continuationExpected
  case continuationFlood
  case continuationUnexpected
  case dataBeforeHeaders
  case emptyFrameFlood
  case fieldNameInvalid
  case fieldValueInvalid
  case firstFrameNotSettings
  case frameFlood
  case frameOnClosedStream
  case frameSizeWrong
  case frameTooLarge
  case goAway
  case goAwayFlood
  case goAwayIncreased
  case graceful
  case headerBlockTooLarge
  case headerCompression
  case headerListTooLarge
  case idleStream
  case informationalEnded
  case informationalFlood
  case keepAliveTimeout
  case lateFrameFlood
  case notHTTP2
  case outputFlood
  case paddingTooLong
  case pingFlood
  case priorityFlood
  case pseudoFieldDuplicate
  case pseudoFieldInvalid
  case pseudoFieldMissing
  case pseudoFieldMisplaced
  case pseudoFieldUnknown
  case pushRefused
  case resetFlood
  case settingInvalid
  case settingsFlood
  case settingsTimeout
  case settingWindowInvalid
  case streamClosed
  case streamIdentifierWrong
  case streamLimit
  case streamWindowExceeded
  case streamWindowOverflow
  case trailersWithoutEnd
  case windowIncrementZero
  case windowUpdateFlood
}

extension HTTP2Cause {
  /// The code that goes on the wire (RFC 9113 §7). The one place that maps causes to codes.
  public var code: HTTP2ErrorCode {
    switch self {
    case .goAway, .graceful, .keepAliveTimeout:
      .noError
    case .badPreface, .connectionSpecificField, .contentLengthInvalid, .contentLengthMismatch,
      .continuationExpected, .continuationUnexpected, .dataBeforeHeaders, .fieldNameInvalid,
      .fieldValueInvalid, .firstFrameNotSettings, .goAwayIncreased, .idleStream,
      .informationalEnded, .notHTTP2, .paddingTooLong, .pseudoFieldDuplicate, .pseudoFieldInvalid,
      .pseudoFieldMissing, .pseudoFieldMisplaced, .pseudoFieldUnknown, .pushRefused,
      .settingInvalid, .streamIdentifierWrong, .trailersWithoutEnd, .windowIncrementZero:
      .protocolError
    case .connectionWindowExceeded, .connectionWindowOverflow, .settingWindowInvalid,
      .streamWindowExceeded, .streamWindowOverflow:
      .flowControlError
    case .settingsTimeout: .settingsTimeout
    case .frameOnClosedStream, .streamClosed: .streamClosed
    case .frameSizeWrong, .frameTooLarge: .frameSizeError
    case .streamLimit: .refusedStream
    case .headerCompression: .compressionError
    case .continuationFlood, .emptyFrameFlood, .frameFlood, .goAwayFlood, .headerBlockTooLarge,
      .headerListTooLarge, .informationalFlood, .lateFrameFlood, .outputFlood, .pingFlood,
      .priorityFlood, .resetFlood, .settingsFlood, .windowUpdateFlood:
      .enhanceYourCalm
    }
  }

  /// A few words for a log and for GOAWAY's debug data.
  public var text: String {
    switch self {
    case .badPreface: "the connection preface is not HTTP/2's"
    case .connectionSpecificField: "a connection-specific header field"
    case .connectionWindowExceeded: "DATA beyond the connection's window"
    case .connectionWindowOverflow: "WINDOW_UPDATE takes the connection's window over 2^31-1"
    case .contentLengthInvalid: "content-length is not one number"
    case .contentLengthMismatch: "content-length is not the length of the content"
    case .continuationExpected: "a frame other than CONTINUATION inside a header block"
    case .continuationFlood: "too many CONTINUATION frames"
    case .continuationUnexpected: "CONTINUATION outside a header block"
    case .dataBeforeHeaders: "DATA before HEADERS"
    case .emptyFrameFlood: "too many DATA frames without content"
    case .fieldNameInvalid: "a byte that a header field's name may not have"
    case .fieldValueInvalid: "a byte that a header field's value may not have"
    case .firstFrameNotSettings: "the first frame is not SETTINGS"
    case .frameFlood: "too many frames that mean nothing"
    case .frameOnClosedStream: "a frame on a stream that the peer had ended"
    case .frameSizeWrong: "a frame whose length does not fit its type"
    case .frameTooLarge: "a frame over SETTINGS_MAX_FRAME_SIZE"
    case .goAway: "the peer said GOAWAY"
    case .goAwayFlood: "too many GOAWAY frames"
    case .goAwayIncreased: "GOAWAY raises the last stream"
    case .graceful: "shut down"
    case .headerBlockTooLarge: "a header block over the limit"
    case .headerCompression: "a header block that HPACK cannot decode"
    case .headerListTooLarge: "a header list over the limit"
    case .idleStream: "a frame on a stream that nobody opened"
    case .informationalEnded: "an informational response with END_STREAM"
    case .informationalFlood: "too many informational responses"
    case .keepAliveTimeout: "no answer to the keep-alive PING"
    case .lateFrameFlood: "too many frames on streams that are closed"
    case .notHTTP2: "the peer answered with HTTP/1"
    case .outputFlood: "the peer makes this side answer and does not read"
    case .paddingTooLong: "padding longer than its frame"
    case .pingFlood: "too many PING frames"
    case .priorityFlood: "too many PRIORITY frames"
    case .pseudoFieldDuplicate: "a pseudo-header field twice"
    case .pseudoFieldInvalid: "a pseudo-header field with a bad value"
    case .pseudoFieldMissing: "a pseudo-header field is missing"
    case .pseudoFieldMisplaced: "a pseudo-header field in the wrong place"
    case .pseudoFieldUnknown: "an unknown pseudo-header field"
    case .pushRefused: "PUSH_PROMISE though push is off"
    case .resetFlood: "too many streams reset"
    case .settingInvalid: "a setting with a bad value"
    case .settingsFlood: "too many SETTINGS"
    case .settingsTimeout: "no answer to SETTINGS"
    case .settingWindowInvalid: "SETTINGS_INITIAL_WINDOW_SIZE takes a window over 2^31-1"
    case .streamClosed: "a frame on a stream half that is closed"
    case .streamIdentifierWrong: "a frame with a stream identifier that its type cannot have"
    case .streamLimit: "too many concurrent streams"
    case .streamWindowExceeded: "DATA beyond the stream's window"
    case .streamWindowOverflow: "WINDOW_UPDATE takes the stream's window over 2^31-1"
    case .trailersWithoutEnd: "trailers without END_STREAM"
    case .windowIncrementZero: "WINDOW_UPDATE of 0"
    case .windowUpdateFlood: "too many WINDOW_UPDATE frames"
    }
  }
}

/// What the peer did wrong, by how far it reaches (RFC 9113 §5.4).
enum Fault: Error, Equatable {
  case connection(HTTP2Cause)
  case stream(UInt32, HTTP2Cause)
}

/// Why a submission was not taken. Nothing was sent and no state changed.
public enum HTTP2SubmitError: Error, Equatable, Sendable {
  /// The connection is over.
  case connectionClosed
  /// GOAWAY was sent or received, or stream identifiers have run out: open another connection.
  case draining
  /// As many streams are open as the peer, or the configuration, allows: wait.
  case streamLimit
  /// The stream is not open for sending: never opened, ended, reset or refused.
  case streamClosed
  /// The output queue is at its limit: flush it first.
  case outputFull
  /// The header list is over the own limit.
  case headerListTooLarge
  /// The header list is over the peer's SETTINGS_MAX_HEADER_LIST_SIZE, which is what it says today.
  case headerListUnwanted
  /// The header list would make a malformed message.
  case malformed(HTTP2Cause)
  /// Not legal at this point of the message: DATA before HEADERS, trailers without the end.
  case outOfOrder
}

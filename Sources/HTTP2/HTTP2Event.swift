/// What a received header block is.
public enum HeadersKind: UInt8, Sendable {
  case request
  /// A 1xx response; more follow.
  case informational
  case response
  case trailers
}

/// Who reset a stream.
public enum ResetOrigin: UInt8, Sendable {
  case peer
  /// This side, because the peer broke a rule on that stream (`HTTP2Connection.lastStreamCause`).
  case local
}

/// What the connection has to tell. A stream of a client ends with exactly one of: an event whose
/// `endStream` is true, `reset`, `refused`; or with the connection, by `closed`.
public enum HTTP2Event: Equatable, Sendable {
  /// The peer's SETTINGS were applied.
  case settings
  /// A whole header list has arrived; it is in `receivedHeaders` until the next call.
  case headers(stream: UInt32, kind: HeadersKind, endStream: Bool)
  /// Content, as a range of the bytes just passed in. `flowControlled` is what to give to
  /// `release` once the content is consumed. The range is empty for an end without content.
  case data(stream: UInt32, bytes: Range<Int>, flowControlled: Int, endStream: Bool)
  /// A stream that could not send everything can send again: windows reopened or output drained.
  case writable(stream: UInt32)
  /// The stream is over, abnormally.
  case reset(stream: UInt32, code: HTTP2ErrorCode, origin: ResetOrigin)
  /// The peer never processed the request (REFUSED_STREAM, or above GOAWAY's last stream): it is
  /// safe to send it again (RFC 9113 §8.7).
  case refused(stream: UInt32)
  /// No new streams on this connection. Streams up to `lastStream` go on.
  case goAway(lastStream: UInt32, code: HTTP2ErrorCode)
  /// The connection is over and so is every stream still on it: flush the output, then close the
  /// transport.
  case closed(HTTP2Error)
}

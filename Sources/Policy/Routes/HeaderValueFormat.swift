import Primitives

/// The value of an added header field: text with commands. `%%` is a percent sign, `%REQ(A?B):N%` the
/// value of the request's field A, or of B if there is no A, cut after N bytes.
public struct HeaderValueFormat: Equatable, Sendable {
  enum Part: Equatable, Sendable {
    case text(ByteString)
    case header(ByteString, alternative: ByteString, limit: Int)
  }
  var parts: [Part]

  /// A text without commands.
  public init(literal: ByteString) { parts = [.text(literal)] }
}

import GRPC
import Primitives

/// A stream to a control plane, as the machine that asked for it has numbered it.
public enum ChannelStream: Hashable, Sendable {
  case discovery(UInt32)
  case load(UInt32)
}

/// What the channel wants of its owner. After each call the owner takes actions until there are none.
public enum ChannelAction: Equatable, Sendable {
  /// Open a stream of that `:path` to a server, with `ControlPlaneChannel.fields`. Answer with
  /// `streamOpened` once it can be written, in the end with `streamClosed`.
  case open(ChannelStream, server: Int, path: ByteString)
  /// Write what `withOutput` lends and `consumeOutput` it, until nothing is left or the transport is
  /// full; go on by itself when the transport has room again.
  case write(ChannelStream)
  /// Everything is written: end this side of the stream. The server may end its own.
  case finish(ChannelStream)
  /// Reset the stream. It is forgotten, no answer is expected.
  case close(ChannelStream)
  /// `receive` takes again what it left of the bytes that wait.
  case read(ChannelStream)
}

/// How a stream ended, as its transport saw it.
public enum ChannelOutcome: Equatable, Sendable {
  /// The response is over. `grpcStatus`: of its trailers; nil: there is none. `message` belongs to it.
  case response(status: UInt16, grpcStatus: UInt16?, message: ByteString)
  /// There is no response, or not all of it.
  case failure(ByteString)
}

/// Why a stream ended: for the log and for `/config_dump`.
public struct ChannelEnd: Equatable, Sendable {
  public let status: GRPCStatus
  public let text: ByteString
  public let at: Instant
}

extension ChannelEnd {
  /// `deframed`: what the deframer says of the end of the body.
  init(_ outcome: ChannelOutcome, deframed: MessageError?, at: Instant) {
    switch outcome {
    case .failure(let text):
      self.init(status: .unavailable, text: text, at: at)
    case .response(200, 0, _):
      guard let deframed else {
        self.init(status: .ok, text: "the server ended the stream", at: at)
        return
      }
      self.init(deframed, at: at)
    case .response(200, nil, _):
      self.init(status: .unknown, text: "the response has no grpc-status", at: at)
    case .response(200, .some(let code), let message):
      let status = GRPCStatus(code: code)
      var text: [UInt8] = []
      text.append(text: status.name)
      if !message.isEmpty {
        text.append(text: ": ")
        UTF8Sequence.append(message.bytes.span, to: &text)
      }
      self.init(status: status, text: ByteString(text), at: at)
    case .response(let status, let code, _):
      self.init(httpStatus: status, code.map { GRPCStatus(code: $0) }, at: at)
    }
  }

  /// A status other than 200 is the word of a proxy, or of something that is no gRPC server.
  init(httpStatus: UInt16, _ status: GRPCStatus? = nil, at: Instant) {
    var text: [UInt8] = []
    text.append(text: "HTTP status ")
    text.append(decimal: UInt64(httpStatus))
    self.init(
      status: status ?? GRPCStatus(httpStatus: httpStatus), text: ByteString(text), at: at)
  }

  init(_ error: MessageError, at: Instant) {
    let text: ByteString =
      switch error {
      case .compressed: "a message is compressed, which was not agreed"
      case .invalidFlag: "what came is no gRPC message"
      case .tooLarge: "a message is longer than the limit"
      case .truncated: "the stream ended within a message"
      }
    self.init(status: error.status, text: text, at: at)
  }
}

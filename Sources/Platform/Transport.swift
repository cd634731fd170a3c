import CLinux
import Primitives

/// Why a connection is over, in words: the step and the reason.
public struct TransportError: Error, Sendable {
  public let description: String
  /// What TLS refused; nil: the socket failed.
  public let tls: TLSError.Kind?

  public init(_ error: SystemError) {
    description = error.description
    tls = nil
  }
  public init(_ error: TLSError) {
    description = error.description
    tls = error.kind
  }
}

/// A connection to an upstream: TCP, and TLS over it unless it is plain. Call `advance` when it is
/// ready until it is open; then read and write. After every call the event loop should watch for
/// `interest`.
public final class Transport {
  /// How far it is.
  public enum State: Equatable, Sendable {
    case connecting
    case handshaking
    case open
  }

  /// TLS, and for whom the certificate must be.
  public struct Security {
    public var context: TLSContext
    public var serverName: ByteString
    /// See `TLSSession`.
    public var verificationTime: Int64?
    /// See `TLSSession`.
    public var accepts: (([CertificateDetails.Name]) -> Bool)?

    public init(
      context: TLSContext, serverName: ByteString, verificationTime: Int64? = nil,
      accepts: (([CertificateDetails.Name]) -> Bool)? = nil
    ) {
      self.context = context
      self.serverName = serverName
      self.verificationTime = verificationTime
      self.accepts = accepts
    }
  }

  public private(set) var state = State.connecting
  private let socket: TCPSocket
  private let session: TLSSession?
  private var handshakeNeeds = Interest.readable
  /// What the last read or write waited for. In TLS either may wait for the other direction.
  private var readNeeds = Interest.readable
  private var writeNeeds = Interest.writable

  public init(
    connectingTo address: SocketAddress, security: Security?
  ) throws(TransportError) {
    do throws(SystemError) {
      socket = try TCPSocket(connectingTo: address)
    } catch { throw TransportError(error) }
    guard let security else {
      session = nil
      return
    }
    do throws(TLSError) {
      session = try TLSSession(
        security.context, descriptor: socket.descriptor, serverName: security.serverName,
        port: address.port, verificationTime: security.verificationTime, accepts: security.accepts)
    } catch { throw TransportError(error) }
  }

  public var descriptor: Int32 { socket.descriptor }

  /// Whether TLS went on with the session of an earlier connection.
  public var isResumed: Bool { session?.isResumed ?? false }

  /// `hasOutput`: the caller has bytes to write.
  public func interest(hasOutput: Bool) -> Interest {
    switch state {
    case .connecting: return .writable
    case .handshaking: return handshakeNeeds
    case .open: return hasOutput ? readNeeds.union(writeNeeds) : readNeeds
    }
  }

  /// Goes on with connecting. True when it is open.
  public func advance() throws(TransportError) -> Bool {
    if state == .connecting {
      do throws(SystemError) { try socket.finishConnect() } catch { throw TransportError(error) }
      state = session == nil ? .open : .handshaking
    }
    guard state == .handshaking, let session else { return state == .open }
    do throws(TLSError) {
      switch try session.handshake() {
      case .done: state = .open
      case .blocked(let interest): handshakeNeeds = interest
      }
    } catch { throw TransportError(error) }
    return state == .open
  }

  /// Fills `buffer`, all of which is scratch, from its start. Read until it is blocked, or come back
  /// by yourself: what TLS has decrypted already does not make the socket ready.
  public func read(into buffer: inout [UInt8]) throws(TransportError) -> Transfer {
    let transfer: Transfer
    if let session {
      do throws(TLSError) { transfer = try session.read(into: &buffer) } catch {
        throw TransportError(error)
      }
    } else {
      do throws(SystemError) { transfer = try socket.read(into: &buffer) } catch {
        throw TransportError(error)
      }
    }
    readNeeds = .readable
    if case .blocked(let interest) = transfer { readNeeds = interest.union(.readable) }
    return transfer
  }

  /// Takes bytes off the socket that nobody wants any more; TLS does not decrypt them. Nothing else
  /// can be read afterwards.
  public func discard(into buffer: inout [UInt8]) throws(SystemError) -> Transfer {
    try socket.read(into: &buffer)
  }

  /// Writes part or all of `bytes`. After `blocked`, the next call must begin with the same bytes.
  public func write(_ bytes: Span<UInt8>) throws(TransportError) -> Transfer {
    let transfer: Transfer
    if let session {
      do throws(TLSError) { transfer = try session.write(bytes) } catch {
        throw TransportError(error)
      }
    } else {
      do throws(SystemError) { transfer = try socket.write(bytes) } catch {
        throw TransportError(error)
      }
    }
    writeNeeds = .writable
    if case .blocked(let interest) = transfer { writeNeeds = interest }
    return transfer
  }

  /// Whether `read` may have bytes without the socket being ready.
  public var hasPendingBytes: Bool { session?.hasPendingBytes ?? false }

  /// Whether a read of `count` bytes, where there was room for `room`, took all there was: the next one
  /// would only find that out. What comes later makes the socket ready again.
  public func isDrained(after count: Int, room: Int) -> Bool {
    if let session { return !session.hasPendingBytes }
    return count < room
  }

  /// Says the end to the peer, as far as the socket takes it. The descriptor closes with the object.
  public func shutDown() {
    if let session, state == .open { session.shutDown() }
    socket.shutDownWriting()
  }
}

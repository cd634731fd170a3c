import Configuration
import Gateway
import NetworkingCore
import Platform
import Policy
import Primitives

/// The networking core's transport: name lookups, connections, bytes.
extension Driver {
  func perform(_ action: TransportAction) {
    switch action {
    case .resolve(let id, let host, let port): resolve(id, host: host, port: port)
    case .connect(let id, let address, let security): connect(id, to: address, security)
    case .flush(let id):
      if let link = link(id) { flush(link) }
    case .close(let id):
      guard let link = link(id) else { return }
      close(link)
    }
  }

  // MARK: Names

  private func resolve(_ id: ResolutionID, host: ByteString, port: UInt16) {
    if resolver.submit(id: id.rawValue, host: host, port: port) {
      lookups.append(id)
    } else {
      gateway.resolutionFailed(id, now: clocks.now)
    }
  }

  func takeResolutions() {
    while let resolution = resolver.next() {
      if let broker, broker.lookup == resolution.id {
        brokerResolved(broker, resolution.outcome)
        continue
      }
      guard let place = lookups.firstIndex(where: { $0.rawValue == resolution.id }) else {
        continue
      }
      let id = lookups.remove(at: place)
      switch resolution.outcome {
      case .addresses(let addresses):
        gateway.resolved(id, addresses, ttl: nil, now: clocks.now)
      case .failed(let reason):
        log(.warning, "name lookup: \(reason)")
        gateway.resolutionFailed(id, now: clocks.now)
      }
    }
  }

  // MARK: Connections

  private func connect(_ id: ConnectionID, to address: SocketAddress, _ security: Policy.Security) {
    let tls: Transport.Security?
    do throws(TLSError) { tls = try self.tls(security) } catch {
      return gateway.connectionFailed(id, error.description, kind: .tls, now: clocks.now)
    }
    do throws(TransportError) {
      let transport = try Transport(
        connectingTo: address, security: tls)
      linksOpened &+= 1
      let link = UpstreamLink(id: id, number: linksOpened, transport: transport)
      links.append(link)
      do throws(SystemError) {
        link.registration = try loop.register(
          transport.descriptor, token: Token.upstream(link.number).packed,
          interest: transport.interest(hasOutput: false))
      } catch {
        fail(link, error.description)
      }
    } catch {
      gateway.connectionFailed(id, error.description, now: clocks.now)
    }
  }

  private func tls(_ security: Policy.Security) throws(TLSError) -> Transport.Security? {
    // A board without a battery starts in 1970: a certificate is judged by the floor until the
    // clock has been set, so that the connection that may set it can come about.
    let isWrong = gateway.isBeforeFloor(clocks)
    let seconds = isWrong ? gateway.clockFloor.nanoseconds / 1_000_000_000 : nil
    // Rather a connection less than one that fails in the middle of something.
    guard
      security == .plain
        || TLSMemory.used + MemoryNeeds.tlsSessionBytes <= gateway.memoryLimit(.tls)
    else {
      throw TLSError("[memory] budget has no room for another TLS connection")
    }
    switch security {
    case .plain: return nil
    case .tls(let context, let serverName, _):
      return Transport.Security(
        context: contexts.context(context), serverName: serverName, verificationTime: seconds)
    case .policy(let policy):
      defer {
        if let complaint = policyTLS.complaint {
          policyTLS.complaint = nil
          log(.warning, "files of a policy have changed and are not used: \(complaint)")
        }
      }
      return try policyTLS.security(policy, verificationTime: seconds)
    case .unavailable(let reason):
      throw TLSError(reason)
    }
  }

  func upstreamReady(_ number: UInt32, _ ready: Ready) {
    guard let link = links.first(where: { $0.number == number }) else { return }
    if link.lingerEnd != nil { return hearOutRest(link) }
    if link.transport.state == .open {
      read(link)
      if links.contains(where: { $0 === link }), link.hasOutput { flush(link) }
    } else {
      advance(link)
    }
    watch(link)
  }

  private func advance(_ link: UpstreamLink) {
    let before = link.transport.state
    do throws(TransportError) {
      if try link.transport.advance() {
        gateway.connected(
          link.id, isResumed: link.transport.isResumed, now: clocks.now)
      } else if before == .connecting, link.transport.state == .handshaking {
        gateway.tcpConnected(link.id, now: clocks.now)
      }
    } catch {
      fail(link, error.description, kind: Driver.kind(error))
    }
  }

  private static func kind(_ error: TransportError) -> ConnectFailureKind {
    switch error.tls {
    case .certificate: .certificate
    case .serverName: .serverName
    case .other: .tls
    case nil: .transport
    }
  }

  /// Reads a bounded amount, so that one connection does not keep the others waiting. What TLS has
  /// decrypted already does not make the socket ready again: that much is always read.
  private func read(_ link: UpstreamLink) {
    var reads = 0
    while reads < DriverLimits.readsPerTurnMax || link.transport.hasPendingBytes {
      reads += 1
      do throws(TransportError) {
        switch try link.transport.read(into: &readBuffer) {
        case .bytes(let count):
          gateway.received(link.id, readBuffer.span.extracting(0..<count), now: clocks.now)
          if link.transport.isDrained(after: count, room: readBuffer.count) { return }
        case .blocked: return
        case .ended: return disconnect(link, "closed by the peer")
        }
      } catch {
        return disconnect(link, error.description)
      }
    }
  }

  /// Writes what the core has for this connection until the socket is full.
  func flush(_ link: UpstreamLink) {
    guard link.transport.state == .open else { return }
    link.hasOutput = false
    while true {
      var outcome = Transfer.bytes(0)
      var failure: TransportError?
      gateway.withOutput(link.id) { bytes in
        guard !bytes.isEmpty else { return }
        do throws(TransportError) { outcome = try link.transport.write(bytes) } catch {
          failure = error
        }
      }
      if let failure { return hearOut(link, failure.description) }
      switch outcome {
      case .bytes(0): return watch(link)
      case .bytes(let count): gateway.consumeOutput(link.id, count, now: clocks.now)
      case .blocked:
        link.hasOutput = true
        return watch(link)
      case .ended: return disconnect(link, "closed by the peer")
      }
    }
  }

  /// A write fails because the peer has closed. What it said before is still to be read: answers, a
  /// GOAWAY, the TLS alert that names the reason, which is worth more than "Broken pipe".
  private func hearOut(_ link: UpstreamLink, _ reason: String) {
    for _ in 0..<DriverLimits.readsPerTurnMax {
      do throws(TransportError) {
        guard case .bytes(let count) = try link.transport.read(into: &readBuffer) else { break }
        gateway.received(link.id, readBuffer.span.extracting(0..<count), now: clocks.now)
      } catch {
        return disconnect(link, error.description)
      }
    }
    disconnect(link, reason)
  }

  private func watch(_ link: UpstreamLink) {
    guard let registration = link.registration else { return }
    do throws(SystemError) {
      try loop.modify(
        registration, interest: link.transport.interest(hasOutput: link.hasOutput))
    } catch {
      disconnect(link, error.description)
    }
  }

  func link(_ id: ConnectionID) -> UpstreamLink? { links.first { $0.id == id } }
}

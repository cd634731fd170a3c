import Gateway
import NetworkingCore
import Platform
import Primitives

/// How connections to upstreams end on our side.
///
/// A socket that is closed while input is unread resets the connection, and what was written last, a
/// GOAWAY that tells the peer its mistake, may be thrown away with it. So our side says its end, and
/// what still comes is read and dropped until the peer ends too, for a bounded time and amount.
extension Driver {
  /// The core has given the connection up.
  func close(_ link: UpstreamLink) {
    // A GOAWAY may be waiting; what the socket takes at once still goes.
    flush(link)
    link.transport.shutDown()
    guard link.transport.state == .open, let registration = link.registration else {
      return forget(link)
    }
    do throws(SystemError) {
      try loop.modify(registration, interest: .readable)
    } catch {
      return forget(link)
    }
    let lingering = links.filter { $0.lingerEnd != nil }
    if lingering.count >= DriverLimits.lingeringMax { forget(lingering[0]) }
    link.lingerEnd = clocks.now + DriverLimits.lingerMax
  }

  /// Bytes that nobody waits for any more.
  func hearOutRest(_ link: UpstreamLink) {
    for _ in 0..<DriverLimits.readsPerTurnMax {
      do throws(SystemError) {
        switch try link.transport.discard(into: &readBuffer) {
        case .bytes(let count): link.bytesDiscarded += count
        case .blocked: return
        case .ended: return forget(link)
        }
      } catch {
        return forget(link)
      }
    }
    if link.bytesDiscarded > DriverLimits.lingerBytesMax { forget(link) }
  }

  /// Peers that do not end are left.
  func endLingering() {
    for link in links {
      if let end = link.lingerEnd, end <= clocks.now { forget(link) }
    }
  }

  /// What is still open when the daemon ends.
  func closeUpstreams() {
    for link in links {
      flush(link)
      link.transport.shutDown()
      forget(link)
    }
  }

  func fail(_ link: UpstreamLink, _ reason: String, kind: ConnectFailureKind = .transport) {
    forget(link)
    gateway.connectionFailed(link.id, reason, kind: kind, now: clocks.now)
  }

  func disconnect(_ link: UpstreamLink, _ reason: String) {
    forget(link)
    gateway.disconnected(link.id, reason, now: clocks.now)
  }

  private func forget(_ link: UpstreamLink) {
    if let registration = link.registration { loop.deregister(registration) }
    link.registration = nil
    links.removeEach { $0 === link }
  }
}

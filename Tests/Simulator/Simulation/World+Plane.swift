import Configuration
import Gateway
import HPACK
import HTTP2
import NetworkingCore
import Primitives
import XDS

/// The control plane: its stream, and what becomes of what it serves.
extension World {
  func isPlane(_ host: Int) -> Bool { host == plan.plane?.host }

  /// Whether the configuration, or the control plane at some time, sends a stream's records there.
  func mayArrive(_ stream: Int, _ host: Int) -> Bool {
    guard let plane, plan.plane?.isSteered[stream] == true else {
      return plan.streams[stream].host == host
    }
    return plane.named[stream][host]
  }

  /// A stream of discovery begins.
  func beginDiscovery(_ stream: UInt32, _ wire: Wire) {
    trace.note(now, "discovery", UInt64(wire.number), UInt64(stream))
    var status = 200
    switch hosts[wire.host].mode {
    case .healthy, .silence: break
    case .error: status = draw.pick([429, 500, 503])
    case .hold: status = draw.pick([401, 403, 404])
    }
    if status == 200 { plane?.begin(wire: wire.number, stream: stream) }
    var head = HeaderList()
    head.append(":status", ByteString("\(status)"))
    if status == 200 { head.append("content-type", "application/grpc") }
    // A stream that is gone meanwhile takes no answer.
    do throws(HTTP2SubmitError) {
      try wire.machine.submitHeaders(head, on: stream, endStream: status != 200, now: now)
    } catch {
      trace.note(now, "unanswered", UInt64(wire.number), UInt64(stream))
    }
  }

  func receiveDiscovery(_ bytes: [UInt8], _ stream: UInt32, _ wire: Wire) {
    guard plane?.serves(wire.number, stream) == true else { return }
    let isSilent = hosts[wire.host].mode != .healthy
    guard plane?.receive(bytes, names: reader.streams, isSilent: isSilent) == true else {
      return complain("a request for discovery that is none")
    }
    pumpPlane()
  }

  /// Sends what there is to be sent, as far as the connection takes it.
  func pumpPlane() {
    guard let number = plane?.wire, let stream = plane?.stream, let wire = wire(number),
      let output = plane?.output, !output.isEmpty
    else { return }
    do throws(HTTP2SubmitError) {
      let count = try wire.machine.submitData(output.span, on: stream, endStream: false, now: now)
      plane?.output.removeFirst(count)
    } catch { plane?.end() }
  }

  /// All that is subscribed goes out as it is now.
  func pushAll() {
    guard let number = plane?.wire, let wire = wire(number) else { return }
    plane?.sendAll(reader.streams)
    pumpPlane()
    sendToClient(wire)
  }

  // MARK: Faults

  func strikePlane(_ kind: FaultKind) -> Bool {
    guard let steered = plan.plane, let host = plan.plane?.host, host > 0 else { return false }
    let streams = plan.streams.indices.filter { steered.isSteered[$0] }
    let stream = draw.pick(streams)
    switch kind {
    case .planeMoves: plane?.lead(stream, to: draw.below(host))
    case .planeRefused: plane?.isGood[stream] = false
    default:
      switch draw.below(3) {
      case 0: plane?.hasListener[stream] = false
      case 1: plane?.hasCluster[draw.below(host)] = false
      default: plane?.hasEndpoints[draw.below(host)] = false
      }
    }
    if kind != .planeMoves { breakFor(kind, .seconds(1), .seconds(600)) }
    if hosts[host].mode == .healthy { pushAll() }
    return true
  }

  /// What was refused or taken away is there again.
  func mendPlane() {
    plane?.mend()
    pushAll()
  }
}

import Configuration
import GRPC
import HPACK
import NetworkingCore
import Primitives
import XDS

/// The streams to the control plane: the channel's, on the core's.
extension Gateway where Storage: ~Copyable {
  /// Tokens of the core's requests that are calls of the control plane; uplinks have small ones.
  static var callToken: UInt64 { 1 << 63 }

  /// Events of streams, what they brought, the time, and what follows from all of it. Most turns have
  /// none of these, and cost nothing here.
  mutating func serveControlPlane(clocks: Clocks) {
    guard let plane = controlPlane else { return }
    var event = core.nextStreamEvent()
    repeat {
      while let next = event {
        take(next, plane, clocks: clocks)
        plane.isTouched = true
        event = core.nextStreamEvent()
      }
      if let deadline = plane.deadline, deadline <= clocks.now {
        plane.assembler.handleTimeout(now: clocks.now)
        if let due = plane.channel.load.nextDeadline(), due <= clocks.now {
          takeLoads(plane, now: clocks.now)
        }
        plane.channel.load.handleTimeout(now: clocks.now)
        plane.isTouched = true
      }
      if plane.isTouched { carryOut(plane, clocks: clocks) }
      // A stream that was opened just now, on a connection that stands, is there already: nothing else
      // would wake the daemon to send its first request.
      event = core.nextStreamEvent()
    } while event != nil
  }

  private mutating func take(_ event: StreamEvent, _ plane: ControlPlane, clocks: Clocks) {
    switch event {
    case .opened(let id):
      guard let stream = plane.stream(id) else { return }
      plane.channel.streamOpened(stream, &plane.assembler.client, now: clocks.now)
    case .headers(let id, let status):
      guard let stream = plane.stream(id) else { return }
      plane.channel.responseBegan(
        stream, status: status, &plane.assembler.client, now: clocks.now)
    case .data(let id):
      if let stream = plane.stream(id) { read(stream, id, plane, clocks: clocks) }
    case .writable(let id):
      if let stream = plane.stream(id) { write(stream, id, plane, now: clocks.now) }
    }
  }

  /// Does what discovery and the channel ask for until both are at rest.
  mutating func carryOut(_ plane: ControlPlane, clocks: Clocks) {
    carryOutDiscovery(plane, clocks: clocks)
    steerLoadReports(plane, now: clocks.now)
    while let action = plane.channel.nextAction(plane.assembler.client, now: clocks.now) {
      switch action {
      case .open(let stream, let server, let path):
        open(stream, server, path, plane, now: clocks.now)
      case .write(let stream):
        if let id = plane.request(stream) { write(stream, id, plane, now: clocks.now) }
      case .finish(let stream):
        if let id = plane.request(stream) { core.finishSending(id, now: clocks.now) }
      case .close(let stream):
        guard let id = plane.request(stream) else { break }
        plane.calls.removeEach { $0.stream == stream }
        core.cancel(id, now: clocks.now)
      case .read(let stream):
        if let id = plane.request(stream) { read(stream, id, plane, clocks: clocks) }
      }
      carryOutDiscovery(plane, clocks: clocks)
    }
    plane.isTouched = false
    keepCache(now: clocks.now)
    noteConnection(clocks: clocks)
    plane.noteDeadline()
  }

  // MARK: Bytes

  /// What the channel does not take stays with the core, which gives the server no credit for it.
  private mutating func read(
    _ stream: ChannelStream, _ id: RequestID, _ plane: ControlPlane, clocks: Clocks
  ) {
    // Before the server names the clusters that it wants: what they had until then is not for it.
    if case .load = stream { takeLoads(plane, now: clocks.now) }
    core.takeBody(id, now: clocks.now) { bytes in
      plane.channel.receive(bytes, on: stream, &plane.assembler.client, clocks: clocks)
    }
  }

  /// A part that the core does not take is offered again when it has room.
  private mutating func write(
    _ stream: ChannelStream, _ id: RequestID, _ plane: ControlPlane, now: Instant
  ) {
    while true {
      let count = plane.channel.withOutput(stream) { bytes in
        core.send(id, bytes, now: now) ? bytes.count : 0
      }
      guard count > 0 else { return }
      plane.channel.consumeOutput(stream, count, &plane.assembler.client)
    }
  }

  // MARK: Streams

  private mutating func open(
    _ stream: ChannelStream, _ server: Int, _ path: ByteString, _ plane: ControlPlane, now: Instant
  ) {
    let server = plane.servers.indices.contains(server) ? server : 0
    let request = UpstreamRequest(
      listener: plane.servers[server].listener, path: path,
      authority: plane.servers[server].authority, headers: ControlPlaneChannel.fields,
      token: Self.callToken)
    if let id = core.openStream(request, now: now) {
      plane.calls.append(ControlPlane.Call(stream: stream, request: id))
    } else {
      plane.counters.streamsRefused += 1
      plane.channel.streamClosed(
        stream, .failure("the networking core has no place for another stream"),
        &plane.assembler.client, now: now)
    }
  }

  /// A stream of the control plane has its end.
  mutating func finishCall(_ result: RequestResult, clocks: Clocks) {
    guard let plane = controlPlane, let stream = plane.stream(result.id) else { return }
    plane.calls.removeEach { $0.request == result.id }
    let outcome: ChannelOutcome
    switch result.outcome {
    case .response(let status, let grpcStatus, _):
      let message = GRPCMessageText.decode(result.details.bytes.span)
      outcome = .response(
        status: status, grpcStatus: grpcStatus, message: ByteString(message))
    case .failure: outcome = .failure(ByteString(result.words))
    }
    plane.channel.streamClosed(stream, outcome, &plane.assembler.client, now: clocks.now)
    carryOut(plane, clocks: clocks)
  }

  /// Another control plane, or none: its streams are of no use any more.
  mutating func dropCalls(now: Instant) {
    guard let plane = controlPlane else { return }
    for call in plane.calls { core.cancel(call.request, now: now) }
    plane.calls = []
  }
}

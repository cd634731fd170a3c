import Configuration
import GRPC
import HPACK
import NetworkingCore
import Primitives
import XDS

/// The streams to the control plane: bytes of the core become messages, and the other way round.
extension Gateway where Storage: ~Copyable {
  /// Tokens of the core's requests that are calls of the control plane; uplinks have small ones.
  static var callToken: UInt64 { 1 << 63 }

  /// Events of streams, what they brought, the time, and what follows from all of it.
  mutating func serveControlPlane(clocks: Clocks) {
    guard controlPlane != nil else { return }
    while let event = core.nextStreamEvent() { take(event, now: clocks.now) }
    if let deadline = controlPlane?.assembler.nextDeadline(), deadline <= clocks.now {
      controlPlane?.assembler.handleTimeout(now: clocks.now)
    }
    carryOutDiscovery(clocks: clocks)
    while readMessage(clocks: clocks) { carryOutDiscovery(clocks: clocks) }
    keepCache(now: clocks.now)
    noteConnection(clocks: clocks)
  }

  /// When `serveControlPlane` has something to do by itself.
  var controlPlaneDeadline: Instant? {
    guard let plane = controlPlane else { return nil }
    guard let due = plane.assembler.nextDeadline() else { return plane.cacheDeadline }
    return min(due, plane.cacheDeadline ?? due)
  }

  private mutating func take(_ event: StreamEvent, now: Instant) {
    switch event {
    case .opened(let id):
      guard let call = controlPlane?.call(id), let number = controlPlane?.calls[call].number else {
        return
      }
      controlPlane?.assembler.client.streamOpened(number, now: now)
    case .headers(let id, let status):
      guard let call = controlPlane?.call(id) else { return }
      controlPlane?.calls[call].status = status
    case .data(let id):
      guard let call = controlPlane?.call(id) else { return }
      controlPlane?.calls[call].mayRead = true
    case .writable(let id):
      guard let call = controlPlane?.call(id) else { return }
      flush(call, now: now)
    }
  }

  // MARK: Messages

  /// Reads one message of one stream; false: none is whole, or the client is not ready for it. What is
  /// not read stays with the core, which gives the server no credit for it.
  private mutating func readMessage(clocks: Clocks) -> Bool {
    for call in 0..<(controlPlane?.calls.count ?? 0) {
      guard controlPlane?.calls[call].mayRead == true,
        controlPlane?.assembler.client.isReady == true
      else { continue }
      if readMessage(call, clocks: clocks) { return true }
    }
    return false
  }

  private mutating func readMessage(_ call: Int, clocks: Clocks) -> Bool {
    guard let request = controlPlane?.calls[call].request,
      let number = controlPlane?.calls[call].number
    else { return false }
    // Taken out meanwhile: the core cannot lend its bytes to another part of the gateway.
    var deframer = MessageDeframer(limit: 0)
    controlPlane?.calls[call].exchange(&deframer)
    var isWhole = false
    var isRefused = false
    let taken = core.takeBody(request, now: clocks.now) { bytes in
      var offset = 0
      do throws(MessageError) {
        isWhole = try deframer.receive(bytes, from: &offset)
      } catch {
        isRefused = true
        return bytes.count
      }
      return offset
    }
    if isWhole {
      controlPlane?.assembler.client.receive(deframer.message, stream: number, clocks: clocks)
    }
    controlPlane?.calls[call].exchange(&deframer)
    if isRefused { controlPlane?.assembler.client.messageRefused(number, now: clocks.now) }
    if isRefused || taken == 0 { controlPlane?.calls[call].mayRead = false }
    return isWhole || isRefused
  }

  mutating func send(_ number: UInt32, _ message: [UInt8], now: Instant) {
    guard let call = controlPlane?.call(.discovery, number) else { return }
    var framed: [UInt8] = []
    framed.reserveCapacity(MessageFraming.prefixBytes + message.count)
    MessageFraming.appendPrefix(length: message.count, to: &framed)
    framed.append(contentsOf: message.span)
    controlPlane?.calls[call].unsent += framed
    flush(call, now: now)
  }

  private mutating func flush(_ call: Int, now: Instant) {
    guard let request = controlPlane?.calls[call].request,
      let waiting = controlPlane?.calls[call].unsent, !waiting.isEmpty
    else { return }
    let count = min(waiting.count, max(core.sendRoom(request), 1))
    guard core.send(request, waiting.span.extracting(0..<count), now: now) else { return }
    controlPlane?.calls[call].unsent.removeFirst(count)
    if count < waiting.count { flush(call, now: now) }
  }

  // MARK: Streams

  mutating func openCall(_ number: UInt32, _ server: Int, now: Instant) {
    guard let plane = controlPlane, plane.servers.indices.contains(server) else { return }
    let path = plane.assembler.client.settings.transport.path
    var fields = HeaderList()
    fields.append("content-type", "application/grpc")
    fields.append("te", "trailers")
    fields.append("user-agent", "spoke")
    let request = UpstreamRequest(
      listener: plane.servers[server].listener, path: ByteString(path),
      authority: plane.servers[server].authority, headers: fields,
      token: Self.callToken | UInt64(number))
    guard let id = core.openStream(request, now: now) else {
      controlPlane?.counters.streamsRefused += 1
      controlPlane?.lastFailure = "the networking core has no place for another stream"
      controlPlane?.assembler.client.streamClosed(number, now: now)
      return
    }
    controlPlane?.calls.append(
      ControlPlane.Call(kind: .discovery, number: number, server: server, request: id))
  }

  mutating func closeCall(_ number: UInt32, now: Instant) {
    guard let call = controlPlane?.call(.discovery, number),
      let request = controlPlane?.calls.remove(at: call).request
    else { return }
    core.cancel(request, now: now)
  }

  /// A stream of the control plane has its end.
  mutating func finishCall(_ result: RequestResult, clocks: Clocks) {
    guard let place = controlPlane?.call(result.id),
      let call = controlPlane?.calls.remove(at: place)
    else { return }
    controlPlane?.lastFailure = ByteString(result.words)
    controlPlane?.assembler.client.streamClosed(call.number, now: clocks.now)
    carryOutDiscovery(clocks: clocks)
  }

  /// Another control plane, or none: its streams are of no use any more.
  mutating func dropCalls(now: Instant) {
    for call in controlPlane?.calls ?? [] { core.cancel(call.request, now: now) }
    controlPlane?.calls = []
  }
}

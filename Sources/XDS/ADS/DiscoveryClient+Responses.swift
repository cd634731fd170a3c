import GRPC
import Primitives
import Protobuf

extension DiscoveryClient {
  /// A message came. The owner passes one only when `isReady`.
  public mutating func receive(_ message: [UInt8], stream: UInt32, clocks: Clocks) {
    guard let server = server(of: stream), servers[server].phase == .open else { return }
    precondition(isReady, "discovery: a message before the last one was applied")
    let header: ResponseHeader
    do throws(WireError) {
      header = try ResponseHeader(message.span, settings.transport)
    } catch {
      return refuse(server, now: clocks.now)
    }
    guard header.version.count <= DiscoveryLimits.versionBytesMax,
      header.nonce.count <= DiscoveryLimits.versionBytesMax
    else { return refuse(server, now: clocks.now) }
    noteAnswer(of: server)
    controlPlane = header.controlPlane
    guard let type = ResourceType(typeURL: message.span.extracting(header.typeURL)),
      servers[server].subscriptions[Int(type.rawValue)].isRequested
    else {
      counters.ignoredResponses += 1
      return
    }
    servers[server].subscriptions[Int(type.rawValue)].nonce = header.nonce
    mark &+= 1
    processing = ResponseProcessing(
      server: server, type: type, version: header.version, message: message, clocks: clocks,
      reader: WireReader(message.span))
    advance()
  }

  /// The resource that `validate` is about.
  public var candidate: DiscoveryCandidate? {
    guard let step = processing, step.phase == .validating else { return nil }
    return DiscoveryCandidate(
      type: step.type, name: step.candidate.name, message: step.message,
      value: step.candidate.value)
  }

  /// The answer to `validate`.
  public mutating func submitVerdict(_ verdict: DiscoveryVerdict) {
    guard let step = processing, step.phase == .validating else { return }
    processing?.phase = .reading
    switch verdict {
    case .accepted(let staleAfter): accept(step, staleAfter: staleAfter)
    case .rejected(let text): reject(step.candidate.name, step.candidate.version, text)
    }
    advance()
  }

  /// Not a response: without its nonce it cannot be answered.
  private mutating func refuse(_ server: Int, now: Instant) {
    counters.malformed += 1
    abandon(server, now: now)
  }

  private mutating func advance() {
    while let step = processing, step.phase == .reading {
      var reader = step.reader
      let field: WireField?
      do throws(WireError) {
        field = try reader.next(in: step.message.span)
      } catch {
        // `ResponseHeader` has read all fields at this level; if one were broken, the rest is too.
        field = nil
      }
      guard let field else { return finishResponse(step) }
      processing?.reader = reader
      guard let range = field.value.range else { continue }
      take(field.number, range, step)
    }
  }

  private mutating func take(_ number: UInt32, _ range: Range<Int>, _ step: ResponseProcessing) {
    let isDelta = settings.transport == .incremental
    do throws(WireError) {
      switch number {
      case 2:
        processing?.resources += 1
        try takeResource(range, step)
      case 6 where isDelta:
        takeRemoval(range, step)
      case 8 where isDelta:
        let name = try DiscoveryWire.firstText(
          try step.reader.message(range), in: step.message.span)
        if let name { takeRemoval(name, step) }
      case isDelta ? 9 : 7:
        try takeError(range, step)
      default: break
      }
    } catch {
      rejectUnnamed(step, ByteString(error.text))
    }
  }

  // MARK: Resources

  private mutating func takeResource(
    _ range: Range<Int>, _ step: ResponseProcessing
  ) throws(WireError) {
    let bytes = step.message.span
    let message = try step.reader.message(range)
    let isDelta = settings.transport == .incremental
    let received =
      isDelta
      ? try DiscoveryWire.wrapper(message, in: bytes)
      : try DiscoveryWire.resource(message, in: bytes)
    guard let value = received.value else { return takeHeartbeat(received, step) }
    var inner: Range<Int>?
    var fault: WireError?
    do throws(WireError) {
      inner = try DiscoveryWire.firstText(try message.message(value), in: bytes)
    } catch {
      fault = error
    }
    guard let range = received.name ?? inner, !range.isEmpty,
      range.count <= DiscoveryLimits.nameBytesMax
    else { return rejectUnnamed(step, "its name cannot be read") }
    let name = ByteString(copying: bytes.extracting(range))
    guard let place = wantedPlace(name, step) else { return }
    let own = received.version.map { ByteString(copying: bytes.extracting($0)) } ?? ByteString()
    let version = isDelta ? own : step.version
    guard store[step.type, place].mark != mark else {
      return reject(name, version, "it is in the response twice")
    }
    store[step.type, place].mark = mark
    if let fault { return reject(name, version, ByteString(fault.text)) }
    guard TypeURL.names(step.type.messageName, bytes.extracting(received.typeURL)) else {
      return reject(name, version, "its type is not the response's")
    }
    if let inner, !equal(bytes.extracting(inner), bytes.extracting(range)) {
      return reject(name, version, "its wrapper has another name")
    }
    guard !received.hasInvalidTTL else { return reject(name, version, "ttl: not a valid duration") }
    guard version.count <= DiscoveryLimits.versionBytesMax else {
      return reject(name, ByteString(), "version: too long")
    }
    if isSame(store[step.type, place], bytes.extracting(value)) {
      return confirm(place, version, received.ttl, step)
    }
    processing?.candidate = ResponseProcessing.Candidate(
      name: name, value: value, version: version, ttl: received.ttl)
    processing?.isTold = false
    processing?.phase = .validating
  }

  /// The resource's place, if anybody asked for it; one that nobody asked for is ignored.
  private mutating func wantedPlace(_ name: ByteString, _ step: ResponseProcessing) -> Int? {
    let isWildcard = wildcards[Int(step.type.rawValue)]
    if let place = store.place(step.type, name) {
      let entry = store[step.type, place]
      if entry.source != .fixed, entry.isSubscribed || isWildcard { return place }
    } else if isWildcard {
      if let place = store.makePlace(step.type, name) { return place }
      addRejection(step, name, "there is no room for it")
      return nil
    }
    counters.ignoredResources += 1
    return nil
  }

  private func isSame(_ entry: ResourceEntry, _ value: Span<UInt8>) -> Bool {
    entry.hasValue && entry.value.count == value.count
      && entry.digest == ResourceStore.digest(value)
  }

  /// The value in force came once more: nobody is told.
  private mutating func confirm(
    _ place: Int, _ version: ByteString, _ ttl: Interval?, _ step: ResponseProcessing
  ) {
    counters.unchanged += 1
    store.setVersion(step.type, place, version)
    settle(place, ttl, step)
  }

  private mutating func accept(_ step: ResponseProcessing, staleAfter: Interval) {
    let bytes = step.message.span
    let value = bytes.extracting(step.candidate.value)
    let name = step.candidate.name
    guard store.setValue(step.type, name, value, version: step.candidate.version),
      let place = store.place(step.type, name)
    else { return reject(name, step.candidate.version, "there is no room for it") }
    store[step.type, place].staleAfter = staleAfter
    store[step.type, place].updated = step.clocks.wall
    settle(place, step.candidate.ttl, step)
  }

  private mutating func settle(_ place: Int, _ ttl: Interval?, _ step: ResponseProcessing) {
    store[step.type, place].state = .acked
    store[step.type, place].source = .server
    store[step.type, place].server = step.server
    store[step.type, place].failure = nil
    store[step.type, place].fetchDeadline = nil
    rearm(place, ttl, step)
  }

  /// The time to live begins anew; without one, it is unlimited from now on.
  private mutating func rearm(_ place: Int, _ ttl: Interval?, _ step: ResponseProcessing) {
    let stale = store[step.type, place].staleAfter
    var limit = ttl
    if stale > .zero { limit = ttl.map { min($0, stale) } ?? stale }
    store[step.type, place].expiry = limit.map { step.clocks.now + $0 }
  }

  private mutating func takeHeartbeat(_ received: ReceivedResource, _ step: ResponseProcessing) {
    processing?.heartbeats += 1
    let bytes = step.message.span
    guard let range = received.name, !received.hasInvalidTTL,
      let place = store.place(step.type, ByteString(copying: bytes.extracting(range))),
      store[step.type, place].hasValue
    else {
      counters.ignoredResources += 1
      return
    }
    let version = received.version.map { ByteString(copying: bytes.extracting($0)) } ?? step.version
    let current = store[step.type, place].version
    // There the version is the type's, which may have moved on without this resource.
    let isCurrent =
      settings.transport == .stateOfTheWorld
      && (step.version == current || step.version == self.version(step.type))
    guard version == current || isCurrent else {
      counters.ignoredResources += 1
      return
    }
    store[step.type, place].mark = mark
    rearm(place, received.ttl, step)
  }

  // MARK: Removals and errors

  private mutating func takeRemoval(_ range: Range<Int>, _ step: ResponseProcessing) {
    let bytes = step.message.span
    let name = ByteString(copying: bytes.extracting(range))
    guard let place = store.place(step.type, name), store[step.type, place].source != .fixed else {
      counters.ignoredResources += 1
      return
    }
    delete(step.type, place)
  }

  /// gRFC A88. NOT_FOUND and PERMISSION_DENIED are about the resource; the others pass.
  private mutating func takeError(
    _ range: Range<Int>, _ step: ResponseProcessing
  ) throws(WireError) {
    let bytes = step.message.span
    let error = try DiscoveryWire.resourceError(try step.reader.message(range), in: bytes)
    guard let range = error.name,
      let place = store.place(step.type, ByteString(copying: bytes.extracting(range))),
      store[step.type, place].source != .fixed
    else {
      counters.ignoredResources += 1
      return
    }
    let type = step.type
    let old = store[type, place].failure
    fail(
      type, place, version: ByteString(), text: ByteString(copying: bytes.extracting(error.text)),
      status: error.status, wall: step.clocks.wall)
    store[type, place].mark = mark
    store[type, place].fetchDeadline = nil
    store[type, place].state = .receivedError
    let isGone = error.status == .notFound && type.isFullState && !settings.keepDeleted
    let isData = error.status == .notFound || error.status == .permissionDenied
    if store[type, place].hasValue, isGone || (isData && settings.failsOnDataErrors) {
      remove(type, place, .receivedError)
    } else if old?.status != error.status || old?.text != store[type, place].failure?.text {
      notices.append(.failed(type, store[type, place].name))
    }
  }

  // MARK: The end of a response

  private mutating func finishResponse(_ step: ResponseProcessing) {
    let index = Int(step.type.rawValue)
    // One that cannot be read may be any that is missing: then nothing is known to be deleted.
    let isWholeState =
      settings.transport == .stateOfTheWorld && step.type.isFullState && !step.hasUnnamed
      && (step.heartbeats == 0 || step.heartbeats < step.resources)
    var place = store.count(step.type)
    while place > 0 {
      place -= 1
      let entry = store[step.type, place]
      let isWanted = entry.isSubscribed || wildcards[index]
      guard entry.mark != mark, entry.source != .fixed, isWanted else { continue }
      if entry.hasValue, entry.source == .cache || entry.server != step.server {
        // From another server, or from before the start: this one has its time to send its own.
        armFetchTimeout(step.type, place, now: step.clocks.now)
      } else if isWholeState, entry.hasValue {
        delete(step.type, place)
      } else if isWholeState, !entry.isSubscribed {
        store.drop(step.type, place)
      }
    }
    if step.rejection.isEmpty {
      accepted[index] = AcceptedVersion(version: step.version, server: step.server)
      counters.accepted += 1
      countersByType[index].accepted += 1
      servers[step.server].subscriptions[index].answer = .accepted
    } else {
      counters.rejected += 1
      countersByType[index].rejected += 1
      let text = step.rejection.finished()
      lastRejection = ByteString(text)
      servers[step.server].subscriptions[index].answer = .rejected
      servers[step.server].subscriptions[index].rejection = text
    }
    processing?.phase = .answering
  }
}

import GRPC
import Primitives

extension DiscoveryClient {
  /// A deadline has passed.
  public mutating func handleTimeout(now: Instant) {
    for server in servers.indices {
      if case .waiting(let until) = servers[server].phase, until <= now {
        servers[server].phase = .wanted
      }
    }
    for raw in 0..<UInt8(ResourceType.count) {
      guard let type = ResourceType(rawValue: raw) else { continue }
      var place = store.count(type)
      while place > 0 {
        place -= 1
        if let deadline = store[type, place].fetchDeadline, deadline <= now {
          store[type, place].fetchDeadline = nil
          timeOut(type, place)
        } else if let expiry = store[type, place].expiry, expiry <= now {
          counters.expired += 1
          remove(type, place, .doesNotExist)
        }
      }
    }
  }

  /// The server has had its time.
  private mutating func timeOut(_ type: ResourceType, _ place: Int) {
    counters.timeouts += 1
    countersByType[Int(type.rawValue)].timeouts += 1
    if settings.fetchTimeoutIsTransient {
      store[type, place].state = .timeout
      notices.append(.failed(type, store[type, place].name))
    } else if store[type, place].hasValue {
      delete(type, place)
    } else {
      store[type, place].state = .doesNotExist
      notices.append(.removed(type, store[type, place].name))
    }
  }

  /// The server does not have it, or no longer.
  mutating func delete(_ type: ResourceType, _ place: Int) {
    store[type, place].fetchDeadline = nil
    if settings.keepDeleted, store[type, place].hasValue {
      guard store[type, place].state != .doesNotExist else { return }
      counters.deleted += 1
      store[type, place].state = .doesNotExist
      notices.append(.failed(type, store[type, place].name))
    } else if store[type, place].hasValue || store[type, place].state != .doesNotExist {
      counters.deleted += 1
      remove(type, place, .doesNotExist)
    }
  }

  /// Takes a resource out of force.
  mutating func remove(_ type: ResourceType, _ place: Int, _ state: ResourceState) {
    notices.append(.removed(type, store[type, place].name))
    store.clearValue(type, place)
    store[type, place].state = state
    store[type, place].source = .server
    dropIfUnused(type, place)
  }

  /// Refuses a resource of the response; what was in force before stays so.
  mutating func reject(_ name: ByteString, _ version: ByteString, _ text: ByteString) {
    guard let step = processing else { return }
    addRejection(step, name, text)
    guard let place = store.place(step.type, name) else { return }
    let hadValue = store[step.type, place].hasValue
    store[step.type, place].state = .nacked
    store[step.type, place].fetchDeadline = nil
    fail(
      step.type, place, version: version, text: text, status: nil, wall: step.clocks.wall)
    if hadValue, settings.failsOnDataErrors {
      remove(step.type, place, .nacked)
    } else {
      notices.append(.failed(step.type, name))
    }
  }

  /// A resource of the response that cannot be told apart by its name.
  mutating func rejectUnnamed(_ step: ResponseProcessing, _ text: ByteString) {
    var line: [UInt8] = []
    line.append(text: "resources[")
    line.append(decimal: UInt64(max((processing?.resources ?? 0) - 1, 0)))
    line.append(text: "]: ")
    line += text.bytes
    processing?.rejection.add(line)
    processing?.hasUnnamed = true
  }

  mutating func addRejection(_ step: ResponseProcessing, _ name: ByteString, _ text: ByteString) {
    var line: [UInt8] = []
    line.append(text: step.type.messageName)
    line.append(UInt8(ascii: " "))
    line += name.bytes
    line.append(text: ": ")
    line += text.bytes
    processing?.rejection.add(line)
  }

  mutating func fail(
    _ type: ResourceType, _ place: Int, version: ByteString, text: ByteString,
    status: GRPCStatus?, wall: WallTime
  ) {
    let kept = text.bytes
    store[type, place].failure = ResourceFailure(
      version: version, time: wall,
      text: RejectionText.bounded(kept.span, DiscoveryLimits.errorBytesMax), status: status)
  }
}

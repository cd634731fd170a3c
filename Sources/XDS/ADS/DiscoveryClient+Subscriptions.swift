import Primitives

extension DiscoveryClient {
  /// What the owner needs of a type, in full, whenever it changes. `isWildcard`: all resources that
  /// the server has, of listeners and clusters. False: there is no room for all of the names; those
  /// without are counted and not asked for.
  public mutating func subscribe(
    _ type: ResourceType, _ names: [ByteString], isWildcard: Bool = false
  ) -> Bool {
    let index = Int(type.rawValue)
    var isChanged = wildcards[index] != isWildcard
    let endsWildcard = wildcards[index] && !isWildcard
    if isWildcard, !wildcards[index] { announceAll(type) }
    wildcards[index] = isWildcard
    var isWhole = true
    // Another subscription may go, and its entry with it, so that what is wanted is marked first.
    wantedMark &+= 1
    for name in names {
      guard name.count <= DiscoveryLimits.nameBytesMax, let place = store.makePlace(type, name)
      else {
        counters.refusedNames += 1
        isWhole = false
        continue
      }
      store[type, place].wanted = wantedMark
      guard !store[type, place].isSubscribed else { continue }
      store[type, place].isSubscribed = true
      isChanged = true
      if store[type, place].hasValue { notices.append(.available(type, name)) }
    }
    var place = store.count(type)
    while place > 0 {
      place -= 1
      if store[type, place].isSubscribed, store[type, place].wanted != wantedMark {
        store[type, place].isSubscribed = false
        isChanged = true
        dropIfUnused(type, place)
      } else if endsWildcard {
        dropIfUnused(type, place)
      }
    }
    guard isChanged else { return isWhole }
    for server in servers.indices {
      servers[server].subscriptions[index].isChanged = true
    }
    fallBack()
    return isWhole
  }

  private mutating func announceAll(_ type: ResourceType) {
    for place in 0..<store.count(type) where store[type, place].hasValue {
      store[type, place].isAnnounced = true
      if !store[type, place].isSubscribed {
        notices.append(.available(type, store[type, place].name))
      }
    }
  }

  /// A value from the cache or a file that is of no use: it is forgotten, and asked for if needed.
  public mutating func discard(_ type: ResourceType, _ name: ByteString, _ text: ByteString) {
    guard let place = store.place(type, name) else { return }
    let version = store[type, place].version
    store.clearValue(type, place)
    store[type, place].source = .server
    store[type, place].state = .requested
    fail(type, place, version: version, text: text, status: nil, wall: store[type, place].updated)
    for server in servers.indices {
      servers[server].subscriptions[Int(type.rawValue)].isChanged = true
    }
  }

  /// Forgets an entry that nobody asks for, and that no server believes to be asked for.
  mutating func dropIfUnused(_ type: ResourceType, _ place: Int) {
    let entry = store[type, place]
    guard !entry.isSubscribed, entry.asked == 0, entry.source != .fixed else { return }
    if entry.hasValue, wildcards[Int(type.rawValue)] || entry.source == .cache { return }
    store.drop(type, place)
  }

  // MARK: Requests

  /// The next request that is due on a stream: answers first, then what has changed.
  mutating func nextRequest(_ server: Int, now: Instant) -> [UInt8]? {
    for raw in 0..<UInt8(ResourceType.count) {
      guard let type = ResourceType(rawValue: raw) else { continue }
      let subscription = servers[server].subscriptions[Int(raw)]
      let isAnswer = subscription.answer != .none
      // While a response is applied, what it asks for is gathered.
      guard isAnswer || (subscription.isChanged && processing == nil) else { continue }
      let message =
        settings.transport == .stateOfTheWorld
        ? wholeRequest(type, server, now: now) : difference(type, server, now: now)
      if let message { return message }
    }
    return nil
  }

  /// State of the world: all names, in every request.
  private mutating func wholeRequest(
    _ type: ResourceType, _ server: Int, now: Instant
  ) -> [UInt8]? {
    let index = Int(type.rawValue)
    var subscription = servers[server].subscriptions[index]
    var request = DiscoveryRequest(type: type)
    for place in 0..<store.count(type) where isAsked(store[type, place]) {
      request.names.append(store[type, place].name)
    }
    subscription.isChanged = false
    if wildcards[index] {
      // Without a name so far, an empty list asks for all.
      if subscription.hasSentNames || !request.names.isEmpty { request.names.insert("*", at: 0) }
      subscription.hasSentWildcard = true
    } else if request.names.isEmpty, !subscription.isRequested {
      // An empty first request would ask for all.
      servers[server].subscriptions[index] = subscription
      return nil
    } else if request.names.isEmpty, !subscription.hasSentNames {
      // All were asked for without a name: only a named wildcard can be taken back.
      request.names = ["*"]
      subscription.isChanged = true
    }
    subscription.hasSentNames = subscription.hasSentNames || !request.names.isEmpty
    if accepted[index].server == server { request.version = accepted[index].version }
    request.nonce = subscription.nonce
    return finish(&request, &subscription, server, now: now)
  }

  /// Incremental: what has changed since the last request; an answer carries no changes.
  private mutating func difference(
    _ type: ResourceType, _ server: Int, now: Instant
  ) -> [UInt8]? {
    let index = Int(type.rawValue)
    var subscription = servers[server].subscriptions[index]
    var request = DiscoveryRequest(type: type)
    if subscription.answer != .none {
      request.nonce = subscription.nonce
      return finish(&request, &subscription, server, now: now)
    }
    subscription.isChanged = false
    let bit = UInt8(1) << UInt8(server)
    for place in 0..<store.count(type) {
      let entry = store[type, place]
      if isAsked(entry), entry.asked & bit == 0 { request.names.append(entry.name) }
      if !isAsked(entry), entry.asked & bit != 0 { request.unsubscribed.append(entry.name) }
      let isKnown = entry.source == .server && entry.server == server && entry.hasValue
      if !subscription.isRequested, isKnown, isAsked(entry) || wildcards[index] {
        request.known.append((entry.name, entry.version))
      }
    }
    if wildcards[index], !subscription.hasSentWildcard {
      // On a first request, no name at all asks for all.
      if subscription.isRequested || !request.names.isEmpty { request.names.insert("*", at: 0) }
    } else if !wildcards[index], subscription.hasSentWildcard {
      request.unsubscribed.insert("*", at: 0)
    }
    let isSilent = request.names.isEmpty && request.unsubscribed.isEmpty
    let isFirstWildcard = wildcards[index] && !subscription.isRequested
    subscription.hasSentWildcard = wildcards[index]
    guard !isSilent || isFirstWildcard else {
      servers[server].subscriptions[index] = subscription
      return nil
    }
    return finish(&request, &subscription, server, now: now)
  }

  private mutating func finish(
    _ request: inout DiscoveryRequest, _ subscription: inout ServerStream.Subscription,
    _ server: Int, now: Instant
  ) -> [UInt8] {
    if servers[server].needsNode { request.node = node }
    servers[server].needsNode = false
    if subscription.answer == .rejected { request.rejection = subscription.rejection }
    let isDeltaAnswer = subscription.answer != .none && settings.transport == .incremental
    subscription.answer = .none
    subscription.rejection = []
    subscription.isRequested = true
    servers[server].subscriptions[Int(request.type.rawValue)] = subscription
    if !isDeltaAnswer { noteAsked(request.type, server, now: now) }
    return request.encoded(settings.transport)
  }

  private func isAsked(_ entry: ResourceEntry) -> Bool {
    entry.isSubscribed && entry.source != .fixed
  }

  /// The names are on their way: from now on the server has its time to answer.
  private mutating func noteAsked(_ type: ResourceType, _ server: Int, now: Instant) {
    let bit = UInt8(1) << UInt8(server)
    var place = store.count(type)
    while place > 0 {
      place -= 1
      if isAsked(store[type, place]) {
        let isNew = store[type, place].asked & bit == 0
        store[type, place].asked |= bit
        let isAwaited = store[type, place].state == .requested && !store[type, place].hasValue
        if isNew, isAwaited { armFetchTimeout(type, place, now: now) }
      } else if store[type, place].asked & bit != 0 {
        store[type, place].asked &= ~bit
        store[type, place].fetchDeadline = nil
        dropIfUnused(type, place)
      }
    }
  }

  mutating func armFetchTimeout(_ type: ResourceType, _ place: Int, now: Instant) {
    guard settings.fetchTimeout > .zero, store[type, place].fetchDeadline == nil else { return }
    let timeout = settings.fetchTimeout
    store[type, place].fetchDeadline =
      settings.fetchTimeoutIsTransient ? now + timeout + timeout : now + timeout
  }
}

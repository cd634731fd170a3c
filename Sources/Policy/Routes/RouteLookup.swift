import Primitives

extension PolicySnapshot {
  /// Routes one request. Fractions, the cluster and the mirrors are drawn here, once, not per retry, and
  /// each by itself: Envoy uses one random number for all of them, so that they hang together.
  public func route(
    listener name: ByteString, head: borrowing some RequestHead, using random: inout SplitMix64
  ) -> RouteDecision {
    guard let listener = listener(named: name) else { return .noListener }
    guard let host = virtualHost(of: head, listener)?.host else { return .noVirtualHost }
    let path = RequestPath(
      head.path, ignoringParameters: listeners[listener].routes.ignoresPathParameters)
    guard let route = route(of: head, path, listener, host, using: &random) else {
      return .noRoute
    }
    return decide(
      RoutePlace(listener: listener, host: host, route: route), head, path, using: &random)
  }

  // Of listeners, hosts, routes and actions a field at a time: to name one as a whole is to copy it.

  /// The virtual host of a request, and the domain that led there.
  func virtualHost(of head: borrowing some RequestHead, _ listener: Int) -> DomainIndex.Place? {
    let listeners = listeners.span
    // Without the header only `*` can match.
    let authority =
      listeners[listener].routes.hostHeader.isEmpty
      ? head.authority : head.value(of: listeners[listener].routes.hostHeader) ?? ByteString()
    let end =
      listeners[listener].routes.ignoresPort ? portStart(authority.bytes) : authority.count
    return listeners[listener].routes.domains.find(
      authority.bytes, end: end, listeners[listener].routes.virtualHosts)
  }

  /// The first route of a virtual host that takes the request.
  func route(
    of head: borrowing some RequestHead, _ path: borrowing RequestPath, _ listener: Int,
    _ host: Int, using random: inout SplitMix64
  ) -> Int? {
    let listeners = listeners.span
    let hosts = listeners[listener].routes.virtualHosts.span
    let routes = hosts[host].routes.span
    var index = 0
    while let candidate = hosts[host].paths.next(from: index, path.bytes, end: path.end) {
      if routes.mismatch(candidate, head, path, runtime, using: &random) == nil {
        return candidate
      }
      index = candidate + 1
    }
    return nil
  }

  /// What the route that was found makes of the request.
  func decide(
    _ place: RoutePlace, _ head: borrowing some RequestHead, _ path: borrowing RequestPath,
    using random: inout SplitMix64
  ) -> RouteDecision {
    switch action(place) {
    case .respond(let status): return .respond(DirectResponse(status: status))
    case .redirect(let action):
      return .respond(action.response(to: head, path, matched: pathMatcher(place)))
    case .forwarding(let action):
      return forward(place, action, head, path, using: &random)
    }
  }

  func action(_ place: RoutePlace) -> RouteAction {
    listeners[place.listener].routes.virtualHosts[place.host].routes[place.route].action
  }

  func pathMatcher(_ place: RoutePlace) -> PathMatcher {
    listeners[place.listener].routes.virtualHosts[place.host].routes[place.route].path
  }

  private func forward(
    _ place: RoutePlace, _ action: Shared<ForwardAction>, _ head: borrowing some RequestHead,
    _ path: borrowing RequestPath, using random: inout SplitMix64
  ) -> RouteDecision {
    guard let share = draw(action, head, using: &random) else {
      return .noCluster(status: action.value.notFoundStatus, name: ByteString())
    }
    let name = action.value.clusters[share].name(for: head)
    guard let cluster = cluster(named: name) else {
      return .noCluster(status: action.value.notFoundStatus, name: name)
    }
    let listeners = listeners.span
    let hosts = listeners[place.listener].routes.virtualHosts.span
    let host = place.host
    // In one expression: a variable would be copied into the decision.
    return .forward(
      RoutedRequest(
        cluster: cluster, timeout: action.value.timeout,
        idleTimeout: action.value.idleTimeout ?? listeners[place.listener].idleTimeout,
        maxStreamDuration: action.value.streamDuration.duration(
          for: head, otherwise: listeners[place.listener].maxStreamDuration),
        retryPolicy: action.value.retryPolicy ?? hosts[host].retryPolicy
          ?? clusters[cluster].retryPolicy ?? .none,
        hedgesOnPerTryTimeout: action.value.hedgesOnPerTryTimeout
          ?? hosts[host].hedgesOnPerTryTimeout,
        priority: action.value.priority, mirrors: mirrors(place, action, head, using: &random),
        addsAttemptCount: hosts[host].addsAttemptCount,
        addsTimeoutRetryHeader: hosts[host].addsTimeoutRetryHeader,
        bodyLimit: hosts[host].routes[place.route].bodyLimit ?? hosts[host].bodyLimit,
        rewrite: rewrite(place, action, share, head, path)))
  }

  // MARK: The cluster

  /// The place of the cluster that is drawn; nil: none has any weight.
  func draw(
    _ action: Shared<ForwardAction>, _ head: borrowing some RequestHead,
    using random: inout SplitMix64
  ) -> Int? {
    // A single cluster needs no draw, and takes none: the random sequence stays the retries'.
    if action.value.clusters.count == 1 { return weight(action, 0) > 0 ? 0 : nil }
    var total: UInt64 = 0
    for index in action.value.clusters.indices { total += weight(action, index) }
    guard total > 0 else { return nil }
    var point: UInt64
    if !action.value.randomHeader.isEmpty, let text = head.value(of: action.value.randomHeader),
      let number = decimal(text), number >= 0
    {
      point = UInt64(number) % total
    } else {
      point = random.below(total)
    }
    for index in action.value.clusters.indices {
      let weight = weight(action, index)
      if point < weight { return index }
      point -= weight
    }
    return nil
  }

  /// The weight that holds now: RTDS may replace one.
  func weight(_ action: Shared<ForwardAction>, _ index: Int) -> UInt64 {
    let weight = action.value.clusters[index].weight
    guard !action.value.runtimeKeyPrefix.isEmpty, !runtime.entries.isEmpty else {
      return UInt64(weight)
    }
    var key = action.value.runtimeKeyPrefix
    key.bytes.append(UInt8(ascii: "."))
    key.bytes.append(contentsOf: action.value.clusters[index].name.bytes)
    return min(runtime.integer(key, otherwise: UInt64(weight)), UInt64(UInt32.max))
  }

  // MARK: Mirrors

  /// The most specific level that has policies holds, and its policies alone.
  private func mirrors(
    _ place: RoutePlace, _ action: Shared<ForwardAction>, _ head: borrowing some RequestHead,
    using random: inout SplitMix64
  ) -> [MirrorTarget] {
    var policies = action.value.mirrors
    if policies.isEmpty {
      policies = listeners[place.listener].routes.virtualHosts[place.host].mirrors
    }
    if policies.isEmpty { policies = listeners[place.listener].routes.mirrors }
    var targets: [MirrorTarget] = []
    for policy in policies where runtime.share(policy.fraction).draw(using: &random) {
      let name = policy.cluster.isEmpty ? firstValue(policy.header, head) : policy.cluster
      guard let cluster = cluster(named: name) else { continue }
      targets.append(
        MirrorTarget(cluster: cluster, appendsShadowSuffix: policy.appendsShadowSuffix))
    }
    return targets
  }
}

/// Which route a request takes.
struct RoutePlace: Equatable {
  var listener: Int
  var host: Int
  var route: Int
}

extension WeightedCluster {
  /// The cluster's name, which the request may give.
  func name(for head: borrowing some RequestHead) -> ByteString {
    name.isEmpty ? firstValue(header, head) : name
  }
}

/// The first value of a header field; a list in one field ends at its first comma, too. Empty: none.
func firstValue(_ name: ByteString, _ head: borrowing some RequestHead) -> ByteString {
  guard let value = head.value(of: name) else { return ByteString() }
  let end = value.bytes.firstIndex(of: UInt8(ascii: ",")) ?? value.count
  return end == value.count ? value : ByteString(copying: value.bytes.span.extracting(0..<end))
}

extension StreamDuration {
  /// How long the stream may last; zero: for ever.
  func duration(for head: borrowing some RequestHead, otherwise listener: Interval) -> Interval {
    guard let grpcTimeoutMaximum, let text = head.value(of: "grpc-timeout"),
      var timeout = GRPCTimeout.decode(text.bytes.span)
    else { return maximum ?? listener }
    // An offset that leaves nothing is not taken off: zero would be no timeout at all.
    if grpcTimeoutOffset < timeout { timeout = timeout - grpcTimeoutOffset }
    guard grpcTimeoutMaximum > .zero else { return timeout }
    return min(timeout, grpcTimeoutMaximum)
  }
}

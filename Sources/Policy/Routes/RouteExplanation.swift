import Primitives

/// One line of an explanation.
public struct RouteStep: Equatable, Sendable {
  /// Steps within another are deeper.
  public var depth: Int
  public var text: ByteString

  init(_ depth: Int, _ text: String) {
    self.depth = depth
    self.text = ByteString(text)
  }
}

extension PolicySnapshot {
  /// Why a request takes the way that it takes now: which listener, virtual host and route, and of each
  /// route before why it does not match; then what the route does. Fractions and clusters are drawn once,
  /// as for a request.
  public func explain(
    listener name: ByteString, head: borrowing some RequestHead, using random: inout SplitMix64
  ) -> [RouteStep] {
    var steps: [RouteStep] = []
    guard let listener = listener(named: name) else {
      steps.append(RouteStep(0, "listener \(name): there is none"))
      for other in listeners { steps.append(RouteStep(1, "there is \(other.name)")) }
      return steps
    }
    let routes = listeners[listener].routes
    steps.append(
      RouteStep(
        0,
        "listener \(name): route configuration \(routes.name), \(routes.virtualHosts.count) virtual hosts"
      ))
    guard let place = virtualHost(of: head, listener) else {
      steps.append(RouteStep(0, "virtual host: no domain matches \(head.authority)"))
      for host in routes.virtualHosts {
        for domain in host.domains {
          steps.append(RouteStep(1, "\(host.name): not \(domain.text)"))
        }
      }
      return steps
    }
    let host = routes.virtualHosts[place.host]
    steps.append(
      RouteStep(
        0,
        "virtual host \(host.name): domain \(host.domains[place.domain].text) matches \(head.authority)"
      ))
    let path = RequestPath(head.path, ignoringParameters: routes.ignoresPathParameters)
    var before = random
    guard let route = route(of: head, path, listener, place.host, using: &random) else {
      explainMismatches(host, host.routes.count, head, path, &before, &steps)
      steps.append(RouteStep(0, "no route matches \(head.path)"))
      return steps
    }
    explainMismatches(host, route, head, path, &before, &steps)
    steps.append(
      RouteStep(0, "route \(route) \(host.routes[route].name): \(text(host.routes[route]))"))
    let found = RoutePlace(listener: listener, host: place.host, route: route)
    explainAction(found, head, path, &random, &steps)
    return steps
  }

  /// The routes before `end`, which do not match. They draw as they drew for the request.
  private func explainMismatches(
    _ host: VirtualHost, _ end: Int, _ head: borrowing some RequestHead,
    _ path: borrowing RequestPath, _ random: inout SplitMix64, _ steps: inout [RouteStep]
  ) {
    for index in 0..<end {
      let mismatch = host.routes.span.mismatch(index, head, path, runtime, using: &random)
      guard let mismatch else { continue }
      let route = host.routes[index]
      let reason: String
      switch mismatch {
      case .path: reason = "path is not \(text(route.path))"
      case .notGRPC: reason = "content-type is not that of gRPC"
      case .header(let index):
        let matcher = route.headers[index]
        let value = head.value(of: matcher.name).map { "is \($0)" } ?? "is not there"
        reason = "header \(matcher.name) \(value), asked for: \(text(matcher))"
      case .queryParameter(let index):
        let name = route.queryParameters[index].name
        let value = path.parameter(name).map { "is \($0)" } ?? "is not there"
        reason = "query parameter \(name) \(value)"
      case .cookie(let index): reason = "cookie \(route.cookies[index].name)"
      case .fraction:
        reason = "not drawn: \(route.fraction.map { text(runtime.share($0)) } ?? "")"
      }
      steps.append(RouteStep(1, "route \(index) \(route.name): no, \(reason)"))
    }
  }

  private func explainAction(
    _ place: RoutePlace, _ head: borrowing some RequestHead, _ path: borrowing RequestPath,
    _ random: inout SplitMix64, _ steps: inout [RouteStep]
  ) {
    switch decide(place, head, path, using: &random) {
    case .respond(let response):
      let location = response.location.isEmpty ? "" : ", location \(response.location)"
      steps.append(RouteStep(0, "answered here: status \(response.status)\(location)"))
    case .noCluster(let status, let name):
      explainClusters(place, head, &steps)
      steps.append(
        RouteStep(0, "cluster \(name): there is none, the request fails as with status \(status)"))
    case .forward(let routed):
      explainClusters(place, head, &steps)
      steps.append(RouteStep(0, "cluster \(clusters[routed.cluster].name)"))
      explainPolicy(routed, &steps)
    case .noListener, .noVirtualHost, .noRoute: break
    }
  }

  private func explainClusters(
    _ place: RoutePlace, _ head: borrowing some RequestHead, _ steps: inout [RouteStep]
  ) {
    guard case .forwarding(let action) = action(place) else { return }
    var total: UInt64 = 0
    for index in action.value.clusters.indices { total += weight(action, index) }
    for index in action.value.clusters.indices {
      let cluster = action.value.clusters[index]
      let source = cluster.name.isEmpty ? ", by header \(cluster.header)" : ""
      steps.append(
        RouteStep(
          1, "\(cluster.name(for: head)): \(weight(action, index)) of \(total)\(source)"))
    }
  }

  private func explainPolicy(_ routed: RoutedRequest, _ steps: inout [RouteStep]) {
    steps.append(
      RouteStep(
        1,
        "timeout \(text(routed.timeout)), idle \(text(routed.idleTimeout)), stream \(text(routed.maxStreamDuration))"
      ))
    let policy = routed.retryPolicy
    steps.append(
      RouteStep(
        1,
        "retries \(policy.retries), each try \(text(policy.perTryTimeout))"
          + (routed.hedgesOnPerTryTimeout ? ", hedged" : "")))
    if routed.priority == .high { steps.append(RouteStep(1, "priority high")) }
    for mirror in routed.mirrors {
      steps.append(RouteStep(1, "mirrored to \(clusters[mirror.cluster].name)"))
    }
    if let path = routed.rewrite.path { steps.append(RouteStep(1, "path becomes \(path)")) }
    if let host = routed.rewrite.authority {
      steps.append(RouteStep(1, "authority becomes \(host)"))
    }
    if routed.rewrite.usesEndpointHostname {
      steps.append(RouteStep(1, "authority becomes the endpoint's name"))
    }
    for mutation in routed.rewrite.mutations {
      switch mutation {
      case .remove(let name): steps.append(RouteStep(1, "header \(name) is removed"))
      case .add(let name, let value, let action):
        steps.append(RouteStep(1, "header \(name): \(value), \(text(action))"))
      }
    }
  }
}

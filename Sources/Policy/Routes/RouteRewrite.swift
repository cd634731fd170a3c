import Primitives

/// What a route changes in the requests that it forwards.
extension PolicySnapshot {
  func rewrite(
    _ place: RoutePlace, _ action: Shared<ForwardAction>, _ share: Int,
    _ head: borrowing some RequestHead, _ path: borrowing RequestPath
  ) -> RequestRewrite {
    var rewrite = RequestRewrite()
    rewrite.mutations = mutations(place, action.value.clusters[share].mutations, head)
    rewriteHost(action, action.value.clusters[share].hostRewrite, head, path, &rewrite)
    switch action.value.pathRewrite {
    case .none: break
    case .prefix(let prefix):
      rewrite.path = path.replacing(
        0..<pathMatcher(place).matchedLength(end: path.whole), with: prefix)
    case .regex(let regex):
      rewrite.path = path.replacing(
        0..<path.whole, with: regex.replaceAll(path.bytes.span.extracting(0..<path.whole)))
    }
    return rewrite
  }

  /// From the cluster to the route configuration, so that the least specific has the last word, or the
  /// other way round.
  private func mutations(
    _ place: RoutePlace, _ cluster: HeaderMutations, _ head: borrowing some RequestHead
  ) -> [HeaderMutation] {
    let configuration = listeners[place.listener].routes.mutations
    let host = listeners[place.listener].routes.virtualHosts[place.host].mutations
    let route =
      listeners[place.listener].routes.virtualHosts[place.host].routes[place.route].mutations
    var list: [HeaderMutation] = []
    if cluster.isEmpty, route.isEmpty, host.isEmpty, configuration.isEmpty { return list }
    if listeners[place.listener].routes.mostSpecificMutationsWin {
      configuration.append(to: &list, head)
      host.append(to: &list, head)
      route.append(to: &list, head)
      cluster.append(to: &list, head)
    } else {
      cluster.append(to: &list, head)
      route.append(to: &list, head)
      host.append(to: &list, head)
      configuration.append(to: &list, head)
    }
    return list
  }

  private func rewriteHost(
    _ action: Shared<ForwardAction>, _ cluster: ByteString, _ head: borrowing some RequestHead,
    _ path: borrowing RequestPath, _ rewrite: inout RequestRewrite
  ) {
    var name = cluster
    if name.isEmpty {
      switch action.value.hostRewrite {
      case .none: return
      case .endpoint:
        rewrite.usesEndpointHostname = true
        rewrite.appendsForwardedHost = action.value.appendsForwardedHost
        return
      case .literal(let literal): name = literal
      case .header(let header): name = firstValue(header, head)
      case .path(let regex):
        name = regex.replaceAll(path.bytes.span.extracting(0..<path.whole)).bytes.trimmingBlanks()
      }
    }
    guard !name.isEmpty else { return }
    rewrite.authority = name
    if action.value.appendsForwardedHost, !head.authority.isEmpty {
      rewrite.mutations.append(
        .add(name: "x-forwarded-host", value: head.authority, .appendIfExistsOrAdd))
    }
  }
}

extension HeaderMutations {
  /// First what is removed, then what is overwritten, then what is added: Envoy's order within a level.
  fileprivate func append(
    to list: inout [HeaderMutation], _ head: borrowing some RequestHead
  ) {
    for name in removals { list.append(.remove(name)) }
    for isOverwriting in [true, false] {
      for addition in additions where addition.action.isOverwriting == isOverwriting {
        let value = addition.value.value(head)
        if value.isEmpty, !addition.keepsEmptyValue { continue }
        list.append(.add(name: addition.name, value: value, addition.action))
      }
    }
  }
}

extension HeaderAppendAction {
  fileprivate var isOverwriting: Bool {
    self == .overwriteIfExists || self == .overwriteIfExistsOrAdd
  }
}

extension RequestPath {
  /// Where the path ends and the query begins; parameters are part of it.
  var whole: Int { pathEnd(bytes, ignoringParameters: false) }

  /// The path with a part of it replaced. It begins with a slash whatever happens, and ends without a
  /// blank: otherwise it would be malformed (RFC 9113 §8.3.1, §8.2.1).
  func replacing(_ range: Range<Int>, with text: ByteString) -> ByteString {
    var path: [UInt8] = []
    if (text.bytes.first ?? byte(range.upperBound)) != UInt8(ascii: "/") {
      path.append(UInt8(ascii: "/"))
    }
    path.append(contentsOf: bytes[..<range.lowerBound])
    path.append(contentsOf: text.bytes)
    path.append(contentsOf: bytes[range.upperBound...])
    return path.trimmingBlanks()
  }

  private func byte(_ index: Int) -> UInt8? { index < bytes.count ? bytes[index] : nil }
}

extension RedirectAction {
  /// The answer: what is not redirected stays as it is in the request.
  func response(
    to head: borrowing some RequestHead, _ path: borrowing RequestPath, matched: PathMatcher
  ) -> DirectResponse {
    let requested = head.value(of: ":scheme") ?? "https"
    let scheme = !self.scheme.isEmpty ? self.scheme : isHTTPS ? "https" : requested
    var location = scheme.bytes
    location.append(text: "://")
    location.append(contentsOf: authority(head.authority, requested: requested, scheme))
    if port != 0 {
      location.append(UInt8(ascii: ":"))
      location.append(decimal: UInt64(port))
    }
    location.append(contentsOf: target(path, matched))
    return DirectResponse(status: status, location: ByteString(location))
  }

  /// The request's own without a port that is replaced, or that belongs to the scheme that is left.
  private func authority(
    _ authority: ByteString, requested: ByteString, _ scheme: ByteString
  ) -> [UInt8] {
    guard host.isEmpty else { return host.bytes }
    let start = portStart(authority.bytes)
    let port = ByteString([UInt8](authority.bytes[start...]))
    let isDefault =
      (requested == "https" && port == ":443") || (requested == "http" && port == ":80")
    guard self.port != 0 || (scheme != requested && isDefault) else { return authority.bytes }
    return [UInt8](authority.bytes[..<start])
  }

  private func target(_ path: borrowing RequestPath, _ matched: PathMatcher) -> [UInt8] {
    var target: ByteString
    switch self.path {
    case .keep: target = ByteString(path.bytes)
    case .whole(let whole):
      // A query of its own is never stripped.
      if whole.bytes.contains(UInt8(ascii: "?")) { return whole.bytes }
      target = path.replacing(0..<path.whole, with: whole)
    case .prefix(let prefix):
      target = path.replacing(0..<matched.matchedLength(end: path.whole), with: prefix)
    case .regex(let regex):
      target = path.replacing(
        0..<path.whole, with: regex.replaceAll(path.bytes.span.extracting(0..<path.whole)))
    }
    guard stripsQuery else { return target.bytes }
    let end = target.bytes.firstIndex(of: UInt8(ascii: "?")) ?? target.count
    return [UInt8](target.bytes[..<end])
  }
}

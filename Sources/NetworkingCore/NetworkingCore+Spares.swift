import HPACK
import HTTP2
import Policy
import Primitives

/// Attempts that are not a request's own: hedges (`hedge_on_per_try_timeout`) and mirrors
/// (`request_mirror_policies`). Each has one of the spare slots, where it goes the way of any request.
///
/// A request that is not over has an attempt of its own. When that one fails while a hedge is under way
/// the hedge takes its place, and so does the hedge that is answered first; a hedge that fails is
/// forgotten. So there is never a second result.
extension NetworkingCore {
  private mutating func takeSpare(_ cluster: Int) -> Int? {
    guard let slot = freeSpares.popLast() else { return nil }
    requests[slot].reset(token: 0)
    requests[slot].cluster = cluster
    clusters[cluster].requests += 1
    return slot
  }

  func isFreeSpare(_ slot: Int) -> Bool {
    slot >= limits.requestsMax && requests[slot].owner < 0 && !requests[slot].isMirror
  }

  /// The attempt of a spare slot was left; nobody waits for its end.
  mutating func freeSpare(_ slot: Int) {
    precondition(
      requests[slot].phase == .free, "NetworkingCore: a spare attempt is still under way")
    deadlines[slot] = .never
    requestPool.giveBack(requests[slot].accountedBytes)
    requests[slot].accountedBytes = 0
    requests[slot].body = []
    requests[slot].headers = HeaderList()
    requests[slot].isMirror = false
    let owner = requests[slot].owner
    if owner >= 0 {
      requests[owner].hedges -= 1
      requests[slot].owner = -1
    }
    freeSpares.append(slot)
    let cluster = requests[slot].cluster
    requests[slot].cluster = -1
    clusters[cluster].requests -= 1
    retireCluster(cluster)
  }
}

/// Hedges.
extension NetworkingCore {
  /// The attempt is late. It goes on; another one starts beside it, behind the back-off, if the policy
  /// has a retry left and the budget has room, whatever the policy's conditions. False: none does.
  mutating func hedge(_ request: Int) {
    let lead = lead(of: request)
    requests[request].perTryDeadline = .never
    rearm(request)
    guard refusal(request, nil) == nil else { return }
    guard let hedge = takeSpare(requests[request].cluster) else {
      clusters[requests[request].cluster].statistics.retryOverflows += 1
      return
    }
    requests[request].hasSuccessor = true
    requests[lead].hedges += 1
    requests[hedge].owner = lead
    requests[hedge].priority = requests[lead].priority
    requests[hedge].attemptFields = requests[lead].attemptFields
    // Both share their bytes with the request, which outlives them and accounts for them.
    requests[hedge].headers = requests[lead].headers
    requests[hedge].body = requests[lead].body
    schedule(hedge, followsTimeout: true)
  }

  /// Whether the request goes on without this attempt.
  func hasCompanions(_ request: Int) -> Bool {
    requests[request].owner >= 0 || requests[request].hedges > 0
  }

  /// The attempt has a response that is the request's: it becomes the request's own, and the others end.
  /// Answers the request; nil: their end was that of the connection which the response came on.
  mutating func commit(_ request: Int, endStream: Bool) -> Int? {
    guard hasCompanions(request) else { return request }
    let lead = lead(of: request)
    let stream = requests[request].stream
    let connection = requests[request].connection
    // A connection that drains ends with the last of the others: that must not break what is complete.
    if endStream, let place = connections[connection].place(of: stream) {
      connections[connection].streams.remove(at: place)
    }
    if lead != request {
      requests[lead].tallyEnd = .nothing
      leaveAttempt(lead, resetting: .cancel)
      guard requests[request].owner == lead else {
        abandon(
          lead, .responseStarted, .reset,
          "upstream_reset_after_response_started{connection_termination}: the attempts together")
        return nil
      }
      adopt(request, by: lead)
    }
    dropHedges(lead)
    let isLeft =
      requests[lead].phase == .streaming && requests[lead].stream == stream
      && requests[lead].connection == connection
    return isLeft ? lead : nil
  }

  /// The request's own attempt has failed: one of its hedges takes its place. False: there is none.
  mutating func adoptHedge(_ request: Int) -> Bool {
    guard requests[request].hedges > 0 else { return false }
    for slot in limits.requestsMax..<requests.count
    where requests[slot].owner == request && requests[slot].phase != .free {
      adopt(slot, by: request)
      return true
    }
    // The only one is about to fail: it has brought the connection down that this attempt was on.
    return false
  }

  private mutating func adopt(_ hedge: Int, by request: Int) {
    precondition(requests[request].phase == .free, "NetworkingCore: two attempts in one place")
    requests[request].takeAttempt(of: requests[hedge])
    switch requests[hedge].phase {
    case .pending:
      clusters[requests[hedge].cluster].pending.replace(hedge, with: request, &links)
    case .streaming:
      let slot = requests[hedge].connection
      if let place = connections[slot].place(of: requests[hedge].stream) {
        connections[slot].streams[place].request = request
      }
    case .waiting, .free, .draining, .finished:
      break
    }
    requests[hedge].phase = .free
    requests[hedge].holdsRetry = false
    freeSpare(hedge)
    noteProgress(request)
  }

  /// The request has its response, or its end.
  mutating func dropHedges(_ request: Int) {
    for slot in limits.requestsMax..<requests.count where requests[slot].owner == request {
      requests[slot].tallyEnd = .nothing
      guard leaveAttempt(slot, resetting: .cancel) else { continue }
      freeSpare(slot)
    }
  }
}

/// Mirrors.
extension NetworkingCore {
  /// Copies of a request that is about to start, to be started after it. One for which there is no place
  /// or no memory is left out, and so are all of a request whose body is too large to keep.
  mutating func makeMirrors(of request: Int, _ routed: borrowing RoutedRequest) -> [Int] {
    var mirrors: [Int] = []
    let isTooLarge = isTooLarge(request, for: routed.bodyLimit)
    if isTooLarge, requests[request].retryEnd != .bodyTooLarge {
      clusters[requests[request].cluster].statistics.retriesOrShadowsAbandoned += 1
    }
    guard !isTooLarge else { return [] }
    for target in routed.mirrors {
      let cluster = clusterSlots[target.cluster]
      if cluster >= 0, let mirror = makeMirror(of: request, cluster, target) {
        mirrors.append(mirror)
      } else {
        clusters[requests[request].cluster].statistics.retriesOrShadowsAbandoned += 1
      }
    }
    return mirrors
  }

  private mutating func makeMirror(
    of request: Int, _ cluster: Int, _ target: MirrorTarget
  ) -> Int? {
    let bytes =
      requests[request].body.count + requests[request].headers.size + shadowSuffix.count
    guard !freeSpares.isEmpty, requestPool.take(bytes), let mirror = takeSpare(cluster) else {
      return nil
    }
    requests[mirror].accountedBytes = bytes
    requests[mirror].isMirror = true
    requests[mirror].priority = requests[request].priority
    requests[mirror].timeout = requests[request].timeout
    requests[mirror].idleTimeout = requests[request].idleTimeout
    requests[mirror].durationDeadline = requests[request].durationDeadline
    requests[mirror].policy = .none
    requests[mirror].body = requests[request].body
    let isTLS = clusters[cluster].configuration.security != .plain
    requests[mirror].headers = mirrorFields(
      requests[request].headers, isTLS: isTLS, addsSuffix: target.appendsShadowSuffix)
    return mirror
  }

  private func mirrorFields(_ list: HeaderList, isTLS: Bool, addsSuffix: Bool) -> HeaderList {
    var fields = HeaderList()
    for index in 0..<list.count {
      if list.nameEquals(index, ":scheme") {
        fields.append(name: ":scheme", text: isTLS ? "https" : "http")
      } else if addsSuffix, list.nameEquals(index, ":authority") {
        fields.append(name: ":authority", value: shadow(list.value(index)).bytes.span)
      } else {
        list.withField(index) { name, value in
          fields.append(name: name, value: value, indexing: list.fields[index].indexing)
        }
      }
    }
    return fields
  }

  /// `host-shadow`, `host-shadow:port`: a log of the mirror's upstream tells them apart.
  private func shadow(_ authority: ByteString) -> ByteString {
    let bytes = authority.bytes
    var end = bytes.count
    for index in bytes.indices.reversed() {
      if bytes[index] == UInt8(ascii: "]") { break }
      if bytes[index] == UInt8(ascii: ":") {
        end = index
        break
      }
    }
    var shadow = ByteString(copying: bytes.span.extracting(0..<end)) + shadowSuffix
    shadow.bytes.append(contentsOf: bytes.span.extracting(end..<bytes.count))
    return shadow
  }
}

private let shadowSuffix: ByteString = "-shadow"

import Policy
import Primitives

extension RetryPolicy {
  /// `envoy.config.route.v3.RetryPolicy` of a cluster.
  static func decode(
    _ reader: ResourceReader, notes: inout Notes
  ) throws(ResourceRejection) -> RetryPolicy {
    var decoder = RouteDecoder()
    decoder.notes = notes
    let policy = try decoder.retryPolicy(reader)
    notes = decoder.notes
    return policy
  }
}

extension RouteDecoder {
  /// `envoy.config.route.v3.RetryPolicy`.
  mutating func retryPolicy(_ reader: ResourceReader) throws(ResourceRejection) -> RetryPolicy {
    var policy = RetryPolicy(conditions: RetryConditions(parsing: try reader.text(1, "retry_on")))
    // 0 is legal in Envoy: no retry.
    policy.retries = try reader.wrappedUInt32(2, "num_retries") ?? 1
    policy.perTryTimeout = try reader.duration(3, "per_try_timeout") ?? .zero
    policy.backOff = try backOff(reader)
    if let idle = try reader.duration(13, "per_try_idle_timeout") {
      policy.perTryIdleTimeout = idle
    }
    let codes = try retriableStatusCodes(reader)
    if !codes.isEmpty { policy.retriableStatusCodes = codes }
    let responses = try headerMatchers(reader, 9, "retriable_headers")
    if !responses.isEmpty { policy.retriableHeaders = responses }
    let requests = try headerMatchers(reader, 10, "retriable_request_headers")
    if !requests.isEmpty { policy.retriableRequestHeaders = requests }
    try hostSelection(reader, &policy)
    if let rateLimited = try rateLimitedBackOff(reader) { policy.rateLimited = rateLimited }
    try notes.addPresent(reader, [(4, "retry_priority"), (12, "retry_options_predicates")])
    return policy
  }

  private func retriableStatusCodes(
    _ reader: ResourceReader
  ) throws(ResourceRejection) -> [UInt16] {
    let numbers = try reader.varints(
      7, "retriable_status_codes", limit: RouteLimits.headerMatchersMax)
    // A code that no response has is never met.
    var codes: [UInt16] = []
    for number in numbers { codes.append(UInt16(truncatingIfNeeded: min(number, 65_535))) }
    return codes
  }

  private mutating func headerMatchers(
    _ reader: ResourceReader, _ number: UInt32, _ name: StaticString
  ) throws(ResourceRejection) -> [HeaderMatcher] {
    var matchers: [HeaderMatcher] = []
    for reader in try reader.messages(number, name, limit: RouteLimits.headerMatchersMax) {
      matchers.append(try headerMatcher(reader))
    }
    return matchers
  }

  /// `retry_host_predicate` (1 name, 3 typed_config) and how often another endpoint is picked.
  private mutating func hostSelection(
    _ reader: ResourceReader, _ policy: inout RetryPolicy
  ) throws(ResourceRejection) {
    for predicate in try reader.messages(5, "retry_host_predicate", limit: 8) {
      let name = try predicate.text(1, "name")
      let config = try predicate.any(3, "typed_config")
      if config?.names(previousHosts) ?? (name == "envoy.retry_host_predicates.previous_hosts") {
        policy.avoidsPreviousHosts = true
      } else if config?.names(canaryHosts)
        ?? (name == "envoy.retry_host_predicates.omit_canary_hosts")
      {
        notes.add(predicate, "", "omit_canary_hosts is not applied")
      } else {
        throw predicate.rejection("", "no predicate for \(config?.url ?? name)")
      }
    }
    let attempts = try reader.int64(6)
    guard attempts >= 0 else {
      throw reader.rejection("host_selection_retry_max_attempts", "below zero")
    }
    if attempts > 0 { policy.hostSelectionAttempts = UInt32(clamping: attempts) }
  }

  /// `RetryBackOff`: 1 base_interval, required; 2 max_interval, ten times that if it is not set.
  private func backOff(_ reader: ResourceReader) throws(ResourceRejection) -> BackOff? {
    guard let message = try reader.message(8, "retry_back_off") else { return nil }
    guard let base = try message.positiveDuration(1, "base_interval") else {
      throw message.rejection("base_interval", "missing")
    }
    let maximum = try message.positiveDuration(2, "max_interval")
    if let maximum, maximum < base {
      throw message.rejection("max_interval", "below base_interval")
    }
    let rounded = max(base, .milliseconds(1))
    let (tenfold, isOver) = rounded.nanoseconds.multipliedReportingOverflow(by: 10)
    let otherwise = Interval(nanoseconds: isOver ? .max : tenfold)
    return BackOff(base: rounded, maximum: max(maximum ?? otherwise, rounded))
  }

  /// `RateLimitedRetryBackOff`: 1 reset_headers, at least one; 2 max_interval.
  private func rateLimitedBackOff(
    _ reader: ResourceReader
  ) throws(ResourceRejection) -> RateLimitedBackOff? {
    guard let message = try reader.message(11, "rate_limited_retry_back_off") else { return nil }
    var headers: [RateLimitedBackOff.ResetHeader] = []
    for header in try message.messages(1, "reset_headers", limit: 8) {
      let name = try headerName(header, 1, "name", mayBePseudo: false)
      guard !name.isEmpty else { throw header.rejection("name", "empty") }
      let number = try header.int32(2)
      guard number == 0 || number == 1 else {
        throw header.rejection("format", "\(number) is not one of its values")
      }
      headers.append(
        RateLimitedBackOff.ResetHeader(
          name: name, format: number == 0 ? .seconds : .unixTimestamp))
    }
    guard !headers.isEmpty else { throw message.rejection("reset_headers", "empty") }
    var backOff = RateLimitedBackOff(resetHeaders: headers)
    backOff.maximum = try message.positiveDuration(2, "max_interval") ?? backOff.maximum
    return backOff
  }
}

private let previousHosts: StaticString =
  "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
private let canaryHosts: StaticString =
  "envoy.extensions.retry.host.omit_canary_hosts.v3.OmitCanaryHostsPredicate"

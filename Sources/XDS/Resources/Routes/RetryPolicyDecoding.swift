import Policy
import Primitives

extension RetryPolicy {
  /// `envoy.config.route.v3.RetryPolicy`, of a route, a virtual host or a cluster.
  static func decode(
    _ reader: ResourceReader, notes: inout Notes
  ) throws(ResourceRejection) -> RetryPolicy {
    var policy = RetryPolicy(conditions: RetryConditions(parsing: try reader.text(1, "retry_on")))
    // 0 is legal in Envoy: no retry.
    policy.retries = try reader.wrappedUInt32(2, "num_retries") ?? 1
    policy.perTryTimeout = try reader.duration(3, "per_try_timeout") ?? .zero
    var codes: [UInt16] = []
    for code in try reader.varints(7) { codes.append(UInt16(truncatingIfNeeded: min(code, 65_535))) }
    policy.retriableStatusCodes = codes
    if let backOff = try backOff(reader) { policy.backOff = backOff }
    return policy
  }

  /// `RetryBackOff`: 1 base_interval, required; 2 max_interval, ten times that if it is not set.
  private static func backOff(_ reader: ResourceReader) throws(ResourceRejection) -> BackOff? {
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
}

import Policy
import Primitives

/// `typed_per_filter_config`, and the HTTP filters of a listener. This client runs none but the router.
/// A filter that changes what happens to requests is never passed over in silence: it is refused,
/// unless the control plane said that it is optional, and then it is listed.
extension RouteDecoder {
  /// A map from a filter's name to its configuration: the message itself, or `FilterConfig` (gRFC A39).
  mutating func filterOverrides(
    _ reader: ResourceReader, _ number: UInt32
  ) throws(ResourceRejection) {
    let name: StaticString = "typed_per_filter_config"
    for entry in try reader.messages(number, name, limit: RouteLimits.filtersMax) {
      guard let config = try entry.any(2, "value") else { continue }
      guard config.names("envoy.config.route.v3.FilterConfig") else {
        try admit(config, isOptional: false, entry)
        continue
      }
      // 1 config, 2 is_optional, 3 disabled: a filter that does not run here has nothing to disable.
      let isOptional = try config.message.bool(2)
      if try config.message.bool(3) { continue }
      guard let inner = try config.message.any(1, "config") else { continue }
      try admit(inner, isOptional: isOptional, entry)
    }
  }

  /// Accepts a filter that does nothing, or that may be missing.
  mutating func admit(
    _ config: TypedMessage, isOptional: Bool, _ reader: ResourceReader
  ) throws(ResourceRejection) {
    guard let reason = try HTTPFilter(config).refusal else { return }
    guard isOptional else { throw reader.rejection("", reason) }
    notes.add(reader, "", "not applied, and optional: \(reason)")
  }
}

/// A filter's configuration as this client sees it.
struct HTTPFilter {
  /// The router: the last of a listener's filters, and only that.
  var isRouter = false
  /// Why the configuration cannot be honoured; nil: it does nothing.
  var refusal: String?

  init(_ config: TypedMessage) throws(ResourceRejection) { try read(config) }

  private mutating func read(_ config: TypedMessage) throws(ResourceRejection) {
    if config.names("xds.type.v3.TypedStruct") || config.names("udpa.type.v1.TypedStruct") {
      try read(struct: config.message)
    } else if config.names(routerType) {
      isRouter = true
    } else if config.names(faultType) {
      // 1 delay, 2 abort, 7 response_rate_limit; without them it injects no fault.
      for number: UInt32 in [1, 2, 7] where try config.message.has(number) {
        refusal = "fault injection is not supported"
      }
    } else if config.names(rateLimitType) {
      refusal =
        try Self.isOff(config.message)
        ? nil : "local rate limits are not supported"
    } else {
      refusal = "no filter for \(config.url)"
    }
  }

  /// `TypedStruct`: 1 type_url, 2 value. The fields of the struct are not read: without any, it is a
  /// configuration of defaults.
  private mutating func read(struct reader: ResourceReader) throws(ResourceRejection) {
    let url = try reader.text(1, "type_url")
    try read(TypedMessage(url: url, message: reader.empty))
    guard !isRouter, refusal == nil, let value = try reader.message(2, "value") else { return }
    if try value.has(1) { refusal = "a TypedStruct of \(url) is not supported" }
  }

  /// `filter_enabled` (4) and `filter_enforced` (5) are 0 % unless they say otherwise;
  /// a runtime key could raise them.
  private static func isOff(_ limit: ResourceReader) throws(ResourceRejection) -> Bool {
    for (number, name): (UInt32, StaticString) in [(4, "filter_enabled"), (5, "filter_enforced")] {
      guard let fraction = try limit.message(number, name) else { return true }
      let share = try fraction.fraction(1, "default_value")?.perMillion ?? 0
      let key = try fraction.text(2, "runtime_key")
      if share == 0, key.isEmpty { return true }
    }
    return false
  }
}

private let routerType: StaticString = "envoy.extensions.filters.http.router.v3.Router"
private let faultType: StaticString = "envoy.extensions.filters.http.fault.v3.HTTPFault"
private let rateLimitType: StaticString =
  "envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit"

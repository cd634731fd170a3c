import Policy
import Primitives
import Protobuf

/// The small messages that all resources use.
extension ResourceReader {
  // MARK: google.protobuf wrappers: present even when the value is 0

  /// `UInt32Value`.
  @inline(never)
  func wrappedUInt32(
    _ number: UInt32, _ name: StaticString
  ) throws(ResourceRejection) -> UInt32? {
    guard let wrapper = try message(number, name) else { return nil }
    return try wrapper.uint32(1)
  }

  /// `UInt64Value`.
  @inline(never)
  func wrappedUInt64(
    _ number: UInt32, _ name: StaticString
  ) throws(ResourceRejection) -> UInt64? {
    guard let wrapper = try message(number, name) else { return nil }
    return try wrapper.uint64(1)
  }

  /// `BoolValue`.
  @inline(never)
  func wrappedBool(
    _ number: UInt32, _ name: StaticString
  ) throws(ResourceRejection) -> Bool? {
    guard let wrapper = try message(number, name) else { return nil }
    return try wrapper.bool(1)
  }

  // MARK: Time

  /// `google.protobuf.Duration`: 1 seconds, 2 nanos. Nil when absent. Out of its range, or negative, it
  /// is refused: no field of these resources has a use for a negative one.
  @inline(never)
  func duration(
    _ number: UInt32, _ name: StaticString
  ) throws(ResourceRejection) -> Interval? {
    guard let duration = try message(number, name) else { return nil }
    let interval = DiscoveryWire.interval(try duration.int64(1), try duration.int32(2))
    guard let interval else { throw rejection(name, "not a duration, or a negative one") }
    return interval
  }

  /// The same, for a field that must be above zero if it is there.
  @inline(never)
  func positiveDuration(
    _ number: UInt32, _ name: StaticString
  ) throws(ResourceRejection) -> Interval? {
    let value = try duration(number, name)
    guard value != .zero else { throw rejection(name, "not above zero") }
    return value
  }

  // MARK: Shares

  /// `envoy.type.v3.Percent` (1 value), in hundredths of a percent, rounded to the nearest.
  @inline(never)
  func percent(
    _ number: UInt32, _ name: StaticString
  ) throws(ResourceRejection) -> UInt32? {
    guard let percent = try message(number, name) else { return nil }
    let value = try percent.double(1)
    // Not a number fails both comparisons.
    guard value >= 0, value <= 100 else { throw rejection(name, "not between 0 and 100") }
    return UInt32(value * 100 + 0.5)
  }

  /// `envoy.type.v3.FractionalPercent`: 1 numerator, 2 denominator.
  @inline(never)
  func fraction(
    _ number: UInt32, _ name: StaticString
  ) throws(ResourceRejection) -> FractionalPercent? {
    guard let fraction = try message(number, name) else { return nil }
    let denominators: [FractionalPercent.Denominator] = [.hundred, .tenThousand, .million]
    let denominator = try fraction.int32(2)
    guard denominator >= 0, denominator < denominators.count else {
      throw fraction.rejection("denominator", "\(denominator) is not one of its values")
    }
    return FractionalPercent(
      numerator: try fraction.uint32(1), denominator: denominators[Int(denominator)])
  }

  // MARK: Any

  /// `google.protobuf.Any`: 1 type_url, 2 value. Nil when absent.
  @inline(never)
  func any(_ number: UInt32, _ name: StaticString) throws(ResourceRejection) -> TypedMessage? {
    guard let any = try message(number, name) else { return nil }
    let url = try any.text(1, "type_url")
    return TypedMessage(url: url, message: try any.content(2) ?? any.empty)
  }

  /// `envoy.config.core.v3.TypedExtensionConfig` (1 name, 2 typed_config), and `TransportSocket` with its
  /// own number of `typed_config`. Nil when absent.
  @inline(never)
  func extensionConfig(
    _ number: UInt32, _ name: StaticString, config: UInt32 = 2
  ) throws(ResourceRejection) -> ExtensionConfig? {
    guard let message = try message(number, name) else { return nil }
    return ExtensionConfig(
      name: try message.text(1, "name"), config: try message.any(config, "typed_config"))
  }

  /// `ads` or `self` of a `ConfigSource` (3 ads, 5 self) are the only sources there are (gRPC A27).
  @inline(never)
  func requireAggregatedSource() throws(ResourceRejection) {
    let source = try member([1, 2, 3, 5, 8])
    guard source == 3 || source == 5 else {
      throw rejection("", "neither ads nor self")
    }
  }
}

/// The message in an `Any`.
struct TypedMessage: Sendable {
  /// Behind its last `/` is the name of the message.
  var url: ByteString
  var message: ResourceReader

  /// Whether it is such a message.
  @inline(never)
  func names(_ type: StaticString) -> Bool { TypeURL.names(type, url.bytes.span) }
}

/// A named extension with its configuration.
struct ExtensionConfig: Sendable {
  var name: ByteString
  var config: TypedMessage?
}

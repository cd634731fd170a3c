/// One thing that is fuzzed: any bytes go in, and a property is checked.
///
/// A check throws when the property does not hold, and traps or runs on for ever when the code under
/// test does. It is deterministic: the same bytes, the same result.
public struct FuzzTarget: Sendable {
  public let name: String
  /// The longest input that is worth trying, in bytes.
  public let longest: Int
  /// Throws a `Violation` when the property does not hold.
  public let check: @Sendable ([UInt8]) throws -> Void
  /// Inputs made by real encoders, for a corpus to begin with.
  public let seeds: @Sendable () -> [[UInt8]]

  init(
    _ name: String, longest: Int = 4_096, seeds: @escaping @Sendable () -> [[UInt8]],
    check: @escaping @Sendable ([UInt8]) throws -> Void
  ) {
    self.name = name
    self.longest = longest
    self.seeds = seeds
    self.check = check
  }

  /// Every target. A new one is a line here and a corpus made with `Tests/fuzz --seed`.
  public static let all: [FuzzTarget] =
    [
      hpackDecoder, hpackRoundTrip, http2Client, http2Server, lengthFraming, toml, configuration,
      json, topic, admin, filter, spoolDamage, spoolForgery, protobuf, grpcMessages,
      clusterResource, assignmentResource, secretResource, routeConfiguration, listenerResource,
      runtimeResource, regex,
    ] + framers

  /// The target of this name; nil when there is none.
  public static func named(_ name: String) -> FuzzTarget? { all.first { $0.name == name } }
}

/// A property that does not hold.
public struct Violation: Error, CustomStringConvertible {
  public let description: String
}

/// Throws unless `condition` holds.
func require(_ condition: Bool, _ message: @autoclosure () -> String) throws {
  if !condition { throw Violation(description: message()) }
}

/// Throws unless the two are the same.
func requireEqual<Value: Equatable>(
  _ left: Value, _ right: Value, _ message: @autoclosure () -> String
) throws {
  if left != right {
    throw Violation(description: "\(message()): \(left) is not \(right)")
  }
}

/// A large value in one place: whoever passes it on copies a reference.
public final class Shared<Value: Equatable & Sendable>: Equatable, Sendable {
  public let value: Value

  public init(_ value: Value) { self.value = value }

  public static func == (left: Shared, right: Shared) -> Bool {
    left === right || left.value == right.value
  }
}

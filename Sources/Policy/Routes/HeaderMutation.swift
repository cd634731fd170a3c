import Primitives

/// `envoy.config.core.v3.HeaderValueOption.HeaderAppendAction`.
public enum HeaderAppendAction: UInt8, Sendable {
  /// The value is added, beside those that are there.
  case appendIfExistsOrAdd = 0
  /// Added only if the field is not there.
  case addIfAbsent = 1
  /// Takes the place of those that are there.
  case overwriteIfExistsOrAdd = 2
  /// Takes the place of those that are there; else nothing.
  case overwriteIfExists = 3
}

/// One change of a request's header fields, its value computed. Names are in lower case, and neither
/// pseudo-header fields nor `host`.
public enum HeaderMutation: Equatable, Sendable {
  case remove(ByteString)
  case add(name: ByteString, value: ByteString, HeaderAppendAction)
}

/// `request_headers_to_remove` and `request_headers_to_add` of one level. What is removed is removed
/// first.
public struct HeaderMutations: Equatable, Sendable {
  public var removals: [ByteString]
  public var additions: [HeaderAddition]

  public init(removals: [ByteString] = [], additions: [HeaderAddition] = []) {
    self.removals = removals
    self.additions = additions
  }

  public var isEmpty: Bool { removals.isEmpty && additions.isEmpty }
}

/// `envoy.config.core.v3.HeaderValueOption`.
public struct HeaderAddition: Equatable, Sendable {
  /// In lower case.
  public var name: ByteString
  public var value: HeaderValueFormat
  public var action: HeaderAppendAction
  /// Otherwise a value that is empty adds nothing.
  public var keepsEmptyValue: Bool

  public init(
    name: ByteString, value: HeaderValueFormat,
    action: HeaderAppendAction = .appendIfExistsOrAdd, keepsEmptyValue: Bool = false
  ) {
    self.name = name
    self.value = value
    self.action = action
    self.keepsEmptyValue = keepsEmptyValue
  }
}

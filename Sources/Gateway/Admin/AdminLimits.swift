import Primitives

/// What one admin connection may cost.
enum AdminLimits {
  /// A request line and its header fields. curl needs 100 bytes, a browser up to 2 KiB.
  static let headMax = 8_192
  /// The request target alone: names and a filter are far shorter.
  static let targetMax = 2_048
  static let fieldsMax = 64
  static let parametersMax = 32
  /// A body of a POST: no page reads one.
  static let bodyMax = 65_536
  /// The largest page. Statistics are about 60 bytes each.
  static let pageMax = 1 << 20
  /// A connection that is kept alive and silent.
  static let idleTimeout = Interval.seconds(60)
  /// From the first byte of a request to the end of its head, and from there to the end of its body:
  /// however slowly bytes trickle in, it does not start anew.
  static let requestTimeout = Interval.seconds(10)
  /// Without any progress of a response.
  static let outputTimeout = Interval.seconds(30)
}

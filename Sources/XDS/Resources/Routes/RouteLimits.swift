/// Bounds of what a control plane may say of routes. A resource above one of them is refused, so that
/// the memory of a route configuration, and the time that a request spends in it, are known.
public enum RouteLimits {
  /// Of one route configuration, in all virtual hosts together.
  public static let routesMax = 512
  public static let virtualHostsMax = 256
  public static let domainsPerHostMax = 64
  /// Of one route; query parameters and cookies too, each by themselves.
  public static let headerMatchersMax = 32
  /// Instructions of all regular expressions of one route configuration, at twelve bytes each; one alone
  /// has at most `RegexLimits.instructionsMax`.
  public static let instructionsMax = 32_768
  public static let weightedClustersMax = 64
  /// Fields added, and fields removed, by one level.
  public static let mutationsMax = 64
  public static let mirrorsMax = 8
  public static let filtersMax = 32
  /// PGV's bound of a `HeaderValue`.
  static let headerBytesMax = 16_384
  /// What is listed as not applied; what is above is counted.
  static let notesMax = 64
  /// `max_direct_response_body_size_bytes` where it is not set.
  static let directResponseBodyMax: UInt32 = 4096
}

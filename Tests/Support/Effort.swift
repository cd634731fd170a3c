import Platform

/// What takes minutes in a debug build is done in part, and whole with `Tests/run --long`.
public enum Effort {
  public static let isWhole = EnvironmentVariable.value("SPOKE_LONG") != nil

  /// The whole of it, or the first few.
  public static func share<Element>(_ all: some Collection<Element>, first count: Int) -> [Element]
  {
    isWhole ? Array(all) : Array(all.prefix(count))
  }
}

/// Bounds of a policy.
public enum AssemblerLimits {
  /// Clusters of a control plane at once; one more is refused by name.
  public static let clustersMax = 64
}

/// Bounds of discovery. What a control plane sends beyond them is refused by name, never cut.
public enum DiscoveryLimits {
  /// The longest message of an ADS or LRS stream, in bytes: the limit of the stream's
  /// `MessageDeframer`, which refuses a longer one by its prefix, before anything of it is kept.
  public static let messageBytesMax = 1 << 20
  /// Resources of one type.
  public static let resourcesMax = 256
  /// All resources that are kept, encoded, with their names and versions.
  public static let storeBytesMax = 1 << 20
  /// The text of a NACK, in bytes. Servers log it; gRPC's own header limit is 8 KiB.
  public static let rejectionBytesMax = 4096
  /// What is kept of a resource's last error, in bytes: one for each resource.
  static let errorBytesMax = 512
  /// A resource's name, in bytes.
  static let nameBytesMax = 1024
  /// A version or a nonce, in bytes: they are kept and sent back.
  static let versionBytesMax = 1024
  /// Servers: the primary one and its fallbacks. A resource notes in a bit for each where it was
  /// asked for.
  public static let serversMax = 8
  /// What an entry costs besides its bytes; an estimate of its struct and its arrays' headers.
  static let entryOverheadBytes = 256
}

/// A small seeded generator (Steele, Lea, Flood: "Fast splittable pseudorandom number generators",
/// 2014). For jitter, salts and tests; never for secrets.
public struct SplitMix64: RandomNumberGenerator, Sendable {
  private var state: UInt64

  public init(seed: UInt64) { state = seed }

  /// The next 64 bits of the sequence that the seed determines.
  public mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var mixed = state
    mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
    return mixed ^ (mixed >> 31)
  }

  /// Uniform over `0..<bound`; 0 when the bound is 0. The bias of the modulo is below 2⁻³² for the
  /// bounds used here (jitter in nanoseconds).
  public mutating func below(_ bound: UInt64) -> UInt64 {
    bound == 0 ? 0 : next() % bound
  }
}

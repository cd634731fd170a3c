import Primitives

/// `envoy.type.v3.FractionalPercent`: a share of requests. More than the whole is the whole.
public struct FractionalPercent: Equatable, Sendable {
  /// What the numerator counts.
  public enum Denominator: UInt32, Sendable {
    case hundred = 100
    case tenThousand = 10_000
    case million = 1_000_000
  }

  public var numerator: UInt32
  public var denominator: Denominator

  public init(numerator: UInt32, denominator: Denominator = .hundred) {
    self.numerator = numerator
    self.denominator = denominator
  }

  /// In millionths: 0 to 1 000 000.
  public var perMillion: UInt32 {
    min(numerator, denominator.rawValue) * (1_000_000 / denominator.rawValue)
  }

  /// Whether a request that is drawn at random is one of the share. None and all take no draw: the
  /// random sequence stays that of those who need it.
  public func draw(using random: inout SplitMix64) -> Bool {
    switch perMillion {
    case 0: false
    case 1_000_000: true
    case let share: random.below(1_000_000) < UInt64(share)
    }
  }
}

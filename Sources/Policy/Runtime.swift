import Primitives

/// What a runtime key holds.
public enum RuntimeValue: Equatable, Sendable {
  case number(Double)
  case bool(Bool)
  case text(ByteString)
  case fraction(FractionalPercent)
}

/// One key of a layer. The keys of structs within each other are joined with `.`.
public struct RuntimeEntry: Equatable, Sendable {
  public var key: ByteString
  public var value: RuntimeValue

  public init(key: ByteString, value: RuntimeValue) {
    self.key = key
    self.value = value
  }
}

/// `envoy.service.runtime.v3.Runtime`: what one RTDS resource says.
public struct RuntimeLayer: Equatable, Sendable {
  public var name: ByteString
  public var entries: [RuntimeEntry]

  public init(name: ByteString, entries: [RuntimeEntry] = []) {
    self.name = name
    self.entries = entries
  }
}

/// All layers, of which the later ones win.
public struct Runtime: Equatable, Sendable {
  /// In the order of their keys, each key once.
  public private(set) var entries: [RuntimeEntry] = []

  public init() {}

  public init(layers: [RuntimeLayer]) {
    for layer in layers {
      for entry in layer.entries {
        let place = place(of: entry.key)
        if entries.indices.contains(place), entries[place].key == entry.key {
          entries[place].value = entry.value
        } else {
          entries.insert(entry, at: place)
        }
      }
    }
  }

  /// What the key holds.
  public func value(of key: ByteString) -> RuntimeValue? {
    guard !entries.isEmpty, !key.isEmpty else { return nil }
    let place = place(of: key)
    guard place < entries.count, entries[place].key == key else { return nil }
    return entries[place].value
  }

  /// A whole number, of which what is behind the point is cut off; `otherwise` when the key holds none.
  public func integer(_ key: ByteString, otherwise: UInt64) -> UInt64 {
    value(of: key)?.integer ?? otherwise
  }

  /// The share that holds now: an integer counts hundredths, whatever the default counts.
  public func share(_ fraction: RuntimeFraction) -> FractionalPercent {
    switch value(of: fraction.key) {
    case .fraction(let share): return share
    case .some(let value):
      guard let number = value.integer else { return fraction.defaultValue }
      return FractionalPercent(numerator: UInt32(min(number, 100)))
    case nil: return fraction.defaultValue
    }
  }

  /// Where the key stands, or would.
  private func place(of key: ByteString) -> Int {
    sortedPlace(entries.count) { ByteString.precedes(entries[$0].key, key) }
  }
}

extension RuntimeValue {
  /// What is behind the point is cut off. Nil: not a number, or a negative one.
  public var integer: UInt64? {
    switch self {
    case .number(let number):
      // Not a number fails the comparison.
      guard number >= 0 else { return nil }
      return number < 18_446_744_073_709_551_616 ? UInt64(number) : .max
    case .text(let text):
      return decimal(text).flatMap { $0 >= 0 ? UInt64($0) : nil }
    case .bool, .fraction: return nil
    }
  }
}

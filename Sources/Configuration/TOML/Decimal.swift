/// A decimal number `digits × 10^exponent`, and its conversion to the nearest double.
struct Decimal {
  /// Values 0 to 9, most significant first.
  var digits: [UInt8]
  var exponent: Int

  /// The nearest double, ties to even (IEEE 754 §4.3.1); infinity beyond the largest. Exact: the
  /// number is the quotient of two natural numbers, of which 54 bits and the remainder decide.
  func nearestDouble() -> Double {
    var digits = Array(self.digits.drop { $0 == 0 })
    var exponent = self.exponent
    guard !digits.isEmpty else { return 0 }
    if digits.count > Decimal.digitsMax {
      // The rest cannot reach a tie, only break one: a single 1 stands for it.
      exponent += digits.count - Decimal.digitsMax - 1
      let rest = digits[Decimal.digitsMax...].contains { $0 != 0 }
      digits.removeSubrange(Decimal.digitsMax...)
      digits.append(rest ? 1 : 0)
    }
    // The value lies in [10^(magnitude - 1), 10^magnitude); doubles end at 1.8e308 and 4.9e-324.
    let magnitude = digits.count + exponent
    guard magnitude <= 310 else { return .infinity }
    guard magnitude >= -325 else { return 0 }

    var numerator = Natural()
    for digit in digits { numerator.multiply(by: 10, adding: UInt32(digit)) }
    var denominator = Natural()
    denominator.multiply(by: 1, adding: 1)
    if exponent > 0 {
      for _ in 0..<exponent { numerator.multiply(by: 10, adding: 0) }
    } else {
      for _ in 0..<(-exponent) { denominator.multiply(by: 10, adding: 0) }
    }
    return Decimal.divide(numerator, denominator)
  }

  private static func divide(_ numerator: Natural, _ denominator: Natural) -> Double {
    // Scaled by 2^scale, the quotient has 54 or 55 bits: one or two more than a double.
    var remainder = numerator
    var divisor = denominator
    let scale = 54 - (numerator.bitCount - denominator.bitCount)
    if scale > 0 { remainder.shiftLeft(scale) } else { divisor.shiftLeft(-scale) }
    var quotient: UInt64 = 0
    for bit in stride(from: 55, through: 0, by: -1) {
      var shifted = divisor
      shifted.shiftLeft(bit)
      guard !(remainder < shifted) else { continue }
      remainder.subtract(shifted)
      quotient |= 1 << UInt64(bit)
    }
    let bits = 64 - quotient.leadingZeroBitCount
    // What does not fit in 53 bits is rounded away; of a subnormal more, down to 2^-1074.
    let dropped = max(bits - 53, scale - 1074)
    guard dropped <= bits else { return 0 }
    var mantissa = dropped < 64 ? quotient >> UInt64(dropped) : 0
    let half: UInt64 = 1 << UInt64(dropped - 1)
    let rest = quotient & (half << 1 - 1)
    if rest > half || (rest == half && (!remainder.isZero || mantissa & 1 == 1)) { mantissa += 1 }
    // Adding the mantissa with its leading bit to the exponent field below lets a carry of the
    // rounding, and a subnormal without that bit, come out right.
    let biased = dropped - scale + 1075
    guard biased < 2047 else { return .infinity }
    return Double(bitPattern: (UInt64(biased - 1) << 52) + mantissa)
  }

  /// No double and no midpoint of two has more than 767 significant digits.
  private static let digitsMax = 800
}

/// A natural number of any size: what the conversion needs and no more.
private struct Natural {
  /// 32 bits each, least significant first, the last one not zero.
  var limbs: [UInt32] = []

  var isZero: Bool { limbs.isEmpty }

  var bitCount: Int {
    guard let last = limbs.last else { return 0 }
    return limbs.count * 32 - last.leadingZeroBitCount
  }

  mutating func multiply(by factor: UInt32, adding summand: UInt32) {
    var carry = UInt64(summand)
    for index in limbs.indices {
      let product = UInt64(limbs[index]) * UInt64(factor) + carry
      limbs[index] = UInt32(truncatingIfNeeded: product)
      carry = product >> 32
    }
    if carry > 0 { limbs.append(UInt32(carry)) }
  }

  mutating func shiftLeft(_ count: Int) {
    guard !isZero && count > 0 else { return }
    let bits = UInt32(count % 32)
    if bits > 0 {
      var carry: UInt32 = 0
      for index in limbs.indices {
        let limb = limbs[index]
        limbs[index] = limb << bits | carry
        carry = limb >> (32 - bits)
      }
      if carry > 0 { limbs.append(carry) }
    }
    limbs.insert(contentsOf: repeatElement(0, count: count / 32), at: 0)
  }

  /// `other` is not larger than `self`.
  mutating func subtract(_ other: Natural) {
    var borrow: Int64 = 0
    for index in limbs.indices {
      let subtrahend = index < other.limbs.count ? Int64(other.limbs[index]) : 0
      let difference = Int64(limbs[index]) - subtrahend + borrow
      limbs[index] = UInt32(truncatingIfNeeded: difference)
      borrow = difference >> 32
    }
    while limbs.last == 0 { limbs.removeLast() }
  }

  static func < (left: Natural, right: Natural) -> Bool {
    guard left.limbs.count == right.limbs.count else {
      return left.limbs.count < right.limbs.count
    }
    for index in left.limbs.indices.reversed() where left.limbs[index] != right.limbs[index] {
      return left.limbs[index] < right.limbs[index]
    }
    return false
  }
}

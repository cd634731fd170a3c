/// What a ready descriptor belongs to, packed into the 64 bits that the event loop carries.
enum Token: Equatable {
  case signals
  case resolver
  case devices
  case mqtt
  case adminListener(UInt32)
  case admin(UInt32)
  case serial(UInt32)
  case upstream(UInt32)

  var packed: UInt64 {
    switch self {
    case .signals: 1 << 32
    case .resolver: 2 << 32
    case .devices: 3 << 32
    case .mqtt: 4 << 32
    case .adminListener(let number): 5 << 32 | UInt64(number)
    case .admin(let number): 6 << 32 | UInt64(number)
    case .serial(let number): 7 << 32 | UInt64(number)
    case .upstream(let number): 8 << 32 | UInt64(number)
    }
  }

  init?(packed: UInt64) {
    let number = UInt32(truncatingIfNeeded: packed)
    switch packed >> 32 {
    case 1: self = .signals
    case 2: self = .resolver
    case 3: self = .devices
    case 4: self = .mqtt
    case 5: self = .adminListener(number)
    case 6: self = .admin(number)
    case 7: self = .serial(number)
    case 8: self = .upstream(number)
    default: return nil
    }
  }
}

/// The protocols that boards speak, each as the description of its frames.
extension LengthFraming {
  /// VESC (`comm/packet.c` of the firmware): 02 and one byte of length, or 03 and two; the payload;
  /// its CRC; 03. A payload that fits one byte of length does not come with two, except at 255.
  public static let vesc: [LengthFraming] = [
    vesc(sync: 0x02, lengthBytes: 1, minimum: 1, maximum: 255),
    vesc(sync: 0x03, lengthBytes: 2, minimum: 255, maximum: UInt32(FramingLimits.vescPayloadMax)),
  ]

  private static func vesc(
    sync: UInt8, lengthBytes: Int, minimum: UInt32, maximum: UInt32
  ) -> LengthFraming {
    let start = 1 + lengthBytes
    return LengthFraming(
      sync: [sync],
      size: .field(
        LengthField(
          offset: 1, width: lengthBytes, order: .big, bias: start + 3, minimum: minimum,
          maximum: maximum)),
      check: Check(.crc16XModem, from: start, to: .end(3), at: .end(3), order: .big),
      trailer: [0x03], payloadStart: start, payloadEnd: .end(3), maximum: Int(maximum) + start + 3)
  }

  /// Xiaomi scooters, between BLE module, motor controller and battery: 55 AA, length, address,
  /// command, argument, data, sum. The length counts command, argument and data.
  public static let xiaomi: [LengthFraming] = [
    LengthFraming(
      sync: [0x55, 0xAA],
      size: .field(
        LengthField(offset: 2, width: 1, order: .little, bias: 6, minimum: 2, maximum: 255)),
      check: Check(.sum16Inverted, from: 2, to: .end(2), at: .end(2), order: .little),
      payloadStart: 6, payloadEnd: .end(2), maximum: 261)
  ]

  /// Ninebot scooters: 5A A5, length, source, destination, command, argument, data, sum. The length
  /// counts the data.
  public static let ninebot: [LengthFraming] = [
    LengthFraming(
      sync: [0x5A, 0xA5],
      size: .field(LengthField(offset: 2, width: 1, order: .little, bias: 9, maximum: 255)),
      check: Check(.sum16Inverted, from: 2, to: .end(2), at: .end(2), order: .little),
      payloadStart: 7, payloadEnd: .end(2), maximum: 264)
  ]

  /// Battery management systems of Daly: A5, address, command, 08, eight bytes of data, sum.
  public static let daly: [LengthFraming] = [
    LengthFraming(
      sync: [0xA5], size: .fixed(13), fixed: [FixedByte(offset: 3, value: 8)],
      check: Check(.sum8, from: 0, to: .end(1), at: .end(1), order: .big),
      payloadStart: 4, payloadEnd: .end(1), maximum: 13)
  ]

  /// Battery management systems of Jiabaida (JBD, Xiaoxiang): DD, register, status, length, data,
  /// the negated sum from the status on, 77. A request has A5 or 5A and the register instead.
  public static let jbd: [LengthFraming] = [
    LengthFraming(
      sync: [0xDD],
      size: .field(LengthField(offset: 3, width: 1, order: .big, bias: 7, maximum: 255)),
      check: Check(.sum16Negated, from: 2, to: .end(3), at: .end(3), order: .big),
      trailer: [0x77], payloadStart: 4, payloadEnd: .end(3), maximum: 262)
  ]

  /// u-blox receivers: B5 62, class, id, length, payload, CK_A and CK_B.
  public static let ubx: [LengthFraming] = [
    LengthFraming(
      sync: [0xB5, 0x62],
      size: .field(
        LengthField(offset: 4, width: 2, order: .little, bias: 8, maximum: ubxPayloadMax)),
      check: Check(.fletcher8, from: 2, to: .end(2), at: .end(2), order: .big),
      payloadStart: 6, payloadEnd: .end(2), maximum: Int(ubxPayloadMax) + 8)
  ]

  /// The protocol knows no limit. RXM-RAWX with every channel in use has 3 KiB, gpsd takes 9 KiB.
  private static let ubxPayloadMax: UInt32 = 8192

  /// RTCM 10403.x: D3, six zero bits, ten bits of length, message, CRC-24Q.
  public static let rtcm3: [LengthFraming] = [
    LengthFraming(
      sync: [0xD3],
      size: .field(
        LengthField(offset: 1, width: 2, order: .big, mask: 0x3FF, bias: 6, maximum: 1023)),
      fixed: [FixedByte(offset: 1, mask: 0xFC, value: 0)],
      check: Check(.crc24Q, from: 0, to: .end(3), at: .end(3), order: .big),
      payloadStart: 3, payloadEnd: .end(3), maximum: 1029)
  ]

  /// MAVLink 1 and 2, told apart by their syncs. `added`: CRC_EXTRA of messages that the `common`
  /// dialect does not have, or has differently.
  ///
  ///     1: FE length sequence system component id payload CRC
  ///     2: FD length incompatible compatible sequence system component id×3 payload CRC [signature]
  public static func mavlink(adding added: [MAVLinkMessage] = []) -> [LengthFraming] {
    let table = seeds(adding: added)
    func check(id offset: Int, width: Int) -> Check {
      Check(
        .crc16MCRF4XX, from: 1, to: .end(2), at: .end(2), order: .little,
        seed: MessageSeed(
          offset: offset, width: width, messages: table.messages, seeds: table.seeds))
    }
    return [
      LengthFraming(
        sync: [0xFE],
        size: .field(LengthField(offset: 1, width: 1, order: .big, bias: 8, maximum: 255)),
        check: check(id: 5, width: 1), payloadStart: 6, payloadEnd: .end(2), maximum: 263),
      LengthFraming(
        sync: [0xFD],
        size: .field(LengthField(offset: 1, width: 1, order: .big, bias: 12, maximum: 255)),
        // A packet with any other incompatible flag is to be dropped by whoever does not know it.
        fixed: [FixedByte(offset: 2, mask: 0xFE, value: 0)],
        check: check(id: 7, width: 3), extension: Extension(offset: 2, mask: 0x01, size: 13),
        payloadStart: 10, payloadEnd: .end(2), maximum: 280),
    ]
  }

  private static func seeds(
    adding added: [MAVLinkMessage]
  ) -> (messages: [UInt32], seeds: [UInt8]) {
    var messages = MAVLinkMessages.ids
    var seeds = MAVLinkMessages.seeds
    for message in added {
      let place = messages.firstIndex { $0 >= message.id } ?? messages.count
      if place < messages.count && messages[place] == message.id {
        seeds[place] = message.crcExtra
      } else {
        messages.insert(message.id, at: place)
        seeds.insert(message.crcExtra, at: place)
      }
    }
    return (messages, seeds)
  }
}

/// What a MAVLink dialect says of a message.
public struct MAVLinkMessage: Sendable, Equatable {
  /// 24 bits.
  public var id: UInt32
  public var crcExtra: UInt8

  public init(id: UInt32, crcExtra: UInt8) {
    self.id = id
    self.crcExtra = crcExtra
  }
}

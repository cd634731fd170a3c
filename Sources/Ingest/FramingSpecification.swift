/// How a serial port's bytes are cut into frames.
public enum FramingSpecification: Sendable, Equatable {
  /// Text lines that end with a byte.
  case line(delimiter: UInt8)
  /// NMEA 0183 sentences.
  case nmea
  /// The packets of the VESC motor controllers.
  case vesc(deliver: Deliver)

  /// What of a frame becomes the record.
  public enum Deliver: Sendable {
    /// The frame as it was on the wire.
    case frame
    /// Its payload field alone.
    case payload
  }
}

/// The limits of the framers, in bytes.
public enum FramingLimits {
  /// A line without its delimiter. Terminals in canonical mode stop at 4095.
  public static let lineMax = 4096
  /// A sentence without CR LF. NMEA 0183 says 82 with them; receivers exceed it, gpsd allows 130.
  public static let sentenceMax = 130
  /// A frame of any declared length framing, header, check and trailer included.
  public static let lengthFrameMax = 65_536
  /// `PACKET_MAX_PL_LEN` of the VESC firmware.
  public static let vescPayloadMax = 512
  /// The least time without a byte after which a partial frame is given up. A USB adapter holds
  /// bytes back for 16 ms, in the middle of a frame too.
  public static let silenceMinMilliseconds: Int64 = 20
}

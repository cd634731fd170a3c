import Primitives

/// How a serial port's bytes are cut into frames. `Ingest.docc/Framings.md` describes each.
public enum FramingSpecification: Sendable, Equatable {
  /// Text lines that end with a byte.
  case line(delimiter: UInt8)
  /// Lines of which each is a JSON text.
  case jsonLines
  /// NMEA 0183 sentences; with `allowsMissingChecksum` those without one, too.
  case sentences(allowsMissingChecksum: Bool)
  /// RFC 1055. `maximum`: the longest decoded frame, in bytes.
  case slip(maximum: Int)
  /// Consistent Overhead Byte Stuffing, a zero behind each frame.
  case cobs(maximum: Int)
  /// HDLC-like framing of RFC 1662 with a 16-bit FCS.
  case hdlc(maximum: Int)
  case stxEtx(STXETXFraming)
  /// Modbus over serial line, RTU mode. `latency`: for how long the port's adapter may hold bytes
  /// back, in the middle of a frame too.
  case modbusRTU(latency: Interval)
  /// Modbus over serial line, ASCII mode.
  case modbusASCII
  /// Frames of any of the descriptions, whose syncs differ and which have no `problem`.
  case length([LengthFraming], deliver: Deliver)

  /// What of a frame becomes the record.
  public enum Deliver: Sendable {
    /// The frame as it was on the wire.
    case frame
    /// Its payload field alone.
    case payload
  }

  /// NMEA 0183 sentences, each with its checksum.
  public static var nmea: FramingSpecification { .sentences(allowsMissingChecksum: false) }

  /// The packets of the VESC motor controllers.
  public static func vesc(deliver: Deliver) -> FramingSpecification {
    .length(LengthFraming.vesc, deliver: deliver)
  }
}

/// The limits of the framers, in bytes unless they say otherwise.
public enum FramingLimits {
  /// A line without its delimiter. Terminals in canonical mode stop at 4095.
  public static let lineMax = 4096
  /// A sentence without CR LF. NMEA 0183 says 82 with them; receivers exceed it, gpsd allows 130.
  public static let sentenceMax = 130
  /// A frame of any declared length framing, header, check and trailer included.
  public static let lengthFrameMax = 65_536
  /// `PACKET_MAX_PL_LEN` of the VESC firmware.
  public static let vescPayloadMax = 512
  /// A decoded frame of an escaped framing (SLIP, COBS, HDLC, STX/ETX), unless it is configured.
  public static let escapedFrameDefault = 4096
  /// The greatest that can be configured. On the wire it is twice as long.
  public static let escapedFrameMax = 16_384
  /// Modbus over Serial Line V1.02 §2.5.1.1: address, function, 252 bytes of data, CRC.
  public static let modbusRTUMax = 256
  /// §2.5.2.1: a colon, two characters for each of 255 bytes, CR LF.
  public static let modbusASCIIMax = 513
  /// The least time without a byte after which a partial frame is given up, in milliseconds. A USB
  /// adapter holds bytes back for 16 ms, in the middle of a frame too.
  public static let silenceMinMilliseconds: Int64 = 20
  /// The greatest, in milliseconds: inside a frame no sender pauses for as long at any rate, and a
  /// corrupt length must not hold back for minutes what comes behind it.
  public static let silenceMaxMilliseconds: Int64 = 2000
}

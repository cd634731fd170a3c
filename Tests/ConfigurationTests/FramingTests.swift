import Configuration
import Ingest
import Primitives
import Testing

@Suite("framing of [[serial]]")
struct FramingTests {
  private func framing(_ text: String) throws -> FramingSpecification {
    try configuration(serial("", framing: text)).serial[0].framing
  }

  @Test("framings are read from a string with keys beside it, or from a table")
  func framings() throws {
    let cases: [(String, FramingSpecification)] = [
      ("framing = 'line'", .line(delimiter: 10)),
      ("framing = 'line'\ndelimiter = \"\\r\"", .line(delimiter: 13)),
      ("framing = { type = 'line', delimiter = ';' }", .line(delimiter: 59)),
      ("framing = 'nmea'", .nmea),
      ("framing = { type = 'nmea', checksum = 'required' }", .nmea),
      (
        "framing = { type = 'nmea', checksum = 'optional' }",
        .sentences(allowsMissingChecksum: true)
      ),
      ("framing = 'vesc'", .vesc(deliver: .payload)),
      ("framing = 'vesc'\ndeliver = 'frame'", .vesc(deliver: .frame)),
      ("[serial.framing]\ntype = 'vesc'\ndeliver = 'payload'", .vesc(deliver: .payload)),
      ("framing = 'json-lines'", .jsonLines),
      ("framing = 'slip'", .slip(maximum: 4096)),
      ("framing = { type = 'cobs', max = '1KiB' }", .cobs(maximum: 1024)),
      ("framing = { type = 'hdlc', max = '1500B' }", .hdlc(maximum: 1500)),
      ("framing = 'stx-etx'", .stxEtx(STXETXFraming())),
      (
        "framing = { type = 'stx-etx', check = 'none', stuffing = 'dle', max = '64B' }",
        .stxEtx(STXETXFraming(check: nil, isStuffed: true, maximum: 64))
      ),
      (
        "framing = { type = 'stx-etx', check = 'crc16-xmodem' }",
        .stxEtx(STXETXFraming(check: .crc16XModem))
      ),
      ("framing = 'modbus-rtu'", .modbusRTU(latency: .zero)),
      (
        "framing = { type = 'modbus-rtu', latency = '16ms' }",
        .modbusRTU(latency: .milliseconds(16))
      ),
      ("framing = 'modbus-ascii'", .modbusASCII),
      ("framing = 'ubx'\ndeliver = 'payload'", .length(LengthFraming.ubx, deliver: .payload)),
      ("framing = 'mavlink'", .length(LengthFraming.mavlink(), deliver: .frame)),
      (
        "framing = { type = 'mavlink', crc_extra = { 42000 = 17, 0 = 51 } }",
        .length(
          LengthFraming.mavlink(adding: [
            MAVLinkMessage(id: 42000, crcExtra: 17), MAVLinkMessage(id: 0, crcExtra: 51),
          ]), deliver: .frame)
      ),
    ]
    for (text, expected) in cases { #expect(try framing(text) == expected, "\(text)") }
  }

  @Test(
    "each preset delivers the frame unless it is told otherwise",
    arguments: [
      ("xiaomi", LengthFraming.xiaomi), ("ninebot", LengthFraming.ninebot),
      ("daly", LengthFraming.daly), ("jbd", LengthFraming.jbd), ("ubx", LengthFraming.ubx),
      ("rtcm3", LengthFraming.rtcm3),
    ])
  func presets(name: String, formats: [LengthFraming]) throws {
    #expect(try framing("framing = '\(name)'") == .length(formats, deliver: .frame))
    let table = "framing = { type = '\(name)', deliver = 'payload' }"
    #expect(try framing(table) == .length(formats, deliver: .payload))
  }

  /// Each preset as a user would describe it: the table says as much as the presets do.
  @Test("the length table describes what the presets are")
  func describedPresets() throws {
    func described(_ keys: String) throws -> LengthFraming {
      guard
        case .length(let formats, .frame) = try framing(
          "framing = { type = 'length', " + keys + " }")
      else { throw Unexpected() }
      return formats[0]
    }
    var xiaomi = LengthFraming.xiaomi[0]
    // The table leaves the header to the payload: address, command and argument are payload.
    xiaomi.payloadStart = 3
    xiaomi.size = .field(
      .init(offset: 2, width: 1, order: .little, bias: 6, minimum: 0, maximum: 255))
    #expect(
      try described(
        "sync = '55AA', length = { offset = 2, bias = 6, endian = 'little' }, "
          + "check = { algorithm = 'sum16-inverted', endian = 'little' }, max = '261B'") == xiaomi)
    var jbd = LengthFraming.jbd[0]
    jbd.payloadStart = 4
    #expect(
      try described(
        "sync = 'dd', length = { offset = 3, bias = 7 }, trailer = '77', "
          + "check = { algorithm = 'sum16-negated', from = 2 }, max = '262B'") == jbd)
    let ubx = LengthFraming.ubx[0]
    #expect(
      try described(
        "sync = 'B5 62', length = { offset = 4, width = 2, endian = 'little', bias = 8 }, "
          + "check = { algorithm = 'fletcher8', from = 2, to = -2, at = -2 }, "
          + "payload = { from = 6, to = -2 }, max = '8200B'") == ubx)
    #expect(
      try described("sync = 'A5', size = 13, check = { algorithm = 'sum8', from = 0 }")
        == LengthFraming(
          sync: [0xA5], size: .fixed(13),
          check: .init(.sum8, from: 0, to: .end(1), at: .end(1), order: .big),
          payloadStart: 1, payloadEnd: .end(1), maximum: 13))
    let checked = try described(
      "sync = '7A', length = { offset = 1, bias = 4 }, max = '204B', "
        + "header_check = { algorithm = 'xor', from = 0, at = 2 }, "
        + "check = { algorithm = 'sum8', from = 3 }")
    #expect(
      checked.headerCheck == .init(.xor, from: 0, to: .start(2), at: .start(2), order: .big))
    #expect(checked.payloadStart == 3 && checked.problem == nil)
    let masked = try described(
      "sync = 'D3', length = { offset = 1, width = 2, mask = 0x3FF, bias = 6 }")
    #expect(masked.maximum == 4096 && masked.check == nil)
  }

  private struct Unexpected: Error {}

  @Test(
    "keys of another framing are refused, and so are descriptions of no frame",
    arguments: [
      Wrong(
        serial("delimiter = ';'"),
        "13:1: 'delimiter' in [[serial]] belongs to framing 'line', but framing is 'nmea'"),
      Wrong(
        serial("", framing: "framing = { type = 'line', deliver = 'frame' }"),
        "14:28: 'deliver' in [[serial]] framing belongs to framings with a payload field, "
          + "but framing is 'line'"),
      Wrong(
        serial("delimiter = ';'", framing: "framing = { type = 'line' }"),
        "13:1: 'delimiter' in [[serial]] belongs into the table 'framing', which this port has"),
      Wrong(
        serial("delimiter = \"\\r\\n\"", framing: "framing = 'line'"),
        "13:13: 'delimiter' in [[serial]] must be one ASCII character such as \"\\n\" or \";\", "
          + "found '\\u000D\\u000A'"),
      Wrong(
        serial("", framing: "framing = 'nmae'"),
        "14:11: unknown framing 'nmae' in [[serial]], did you mean 'nmea'?; available are 'line', "
          + "'json-lines', 'nmea', 'slip', 'cobs', 'hdlc', 'stx-etx', 'modbus-rtu', 'modbus-ascii', "
          + "'vesc', 'xiaomi', 'ninebot', 'daly', 'jbd', 'ubx', 'rtcm3', 'mavlink' or 'length'"),
      Wrong(
        serial("", framing: "framing = { type = 'vesc', delivers = 'frame' }"),
        "14:28: unknown key 'delivers' in [[serial]] framing, did you mean 'deliver'?"),
      Wrong(
        serial("", framing: "framing = { type = 'slip', latency = '1ms' }"),
        "14:28: unknown key 'latency' in [[serial]] framing, did you mean 'type'?"),
      Wrong(
        serial("", framing: "framing = 'length'"),
        "14:11: framing 'length' needs a table with its description: "
          + "framing = { type = \"length\", … }"),
      Wrong(
        serial("", framing: "framing = { type = 'length', sync = '5', size = 4 }"),
        "14:37: 'sync' in [[serial]] framing must be 1 to 4 bytes in hexadecimal such as "
          + "\"55 AA\", found '5'"),
      Wrong(
        serial("", framing: "framing = { type = 'length', sync = '55' }"),
        "14:11: missing key 'length' or 'size' in [[serial]] framing"),
      Wrong(
        serial("", framing: "framing = { type = 'length', sync = '55', size = 4, max = '9B' }"),
        "14:53: 'max' and 'size' in [[serial]] framing exclude each other"),
      Wrong(
        serial(
          "",
          framing:
            "framing = { type = 'length', sync = '55', length = { offset = 1 }, max = '2B', trailer = '00' }"
        ),
        "14:11: [[serial]] framing describes no frame: the length field lies behind the sync, "
          + "and its values yield frames"),
      Wrong(
        serial(
          "", framing: "framing = { type = 'length', sync = '55', size = 4, check = { from = 0 } }"),
        "14:61: missing key 'algorithm' in [[serial]] framing.check"),
      Wrong(
        serial("", framing: "framing = { type = 'mavlink', crc_extra = { HEARTBEAT = 50 } }"),
        "14:45: 'HEARTBEAT' in [[serial]] framing.crc_extra is no message id from 0 to 16777215"),
      Wrong(
        serial("", framing: "framing = { type = 'cobs', max = '1MiB' }"),
        "14:34: 'max' in [[serial]] framing is 1MiB, but must be from 1B to 16KiB"),
    ])
  func framingKeys(_ wrong: Wrong) {
    #expect(problems(wrong.text) == [wrong.message])
  }
}

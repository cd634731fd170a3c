"""Framers against the encoders and parsers of others: cobs, pymodbus, pyubx2, pyrtcm, pymavlink, pynmea2; and
against frames that the protocols' own documents print."""
import random
import re
import zlib

import pytest
from test_framers import CHUNKS, probe

SEEDS = range(8)


def payloads(seed, count=60, longest=180):
    generator = random.Random(seed)
    corners = [b"\xc0", b"\xdb\xdc\xdd", b"\x7e\x7d\x5e", bytes(range(256)), b"\x00" * 40, b"\x10\x02\x10\x03"]
    return corners + [generator.randbytes(generator.randint(1, longest)) for _ in range(count)]


def slip(data):
    return b"\xc0" + data.replace(b"\xdb", b"\xdb\xdd").replace(b"\xc0", b"\xdb\xdc") + b"\xc0"


@pytest.mark.parametrize("chunk", CHUNKS)
def test_slip_as_rfc_1055_writes_it(chunk):
    sent = payloads(1)
    frames, bad, _ = probe("slip", b"".join(map(slip, sent)), chunk=chunk)
    assert frames == sent and bad == []


@pytest.mark.parametrize("seed", SEEDS)
def test_cobs_as_the_cobs_package_encodes_it(seed):
    cobs = pytest.importorskip("cobs.cobs")
    generator = random.Random(seed)
    sent = payloads(seed) + [bytes([1]) * n for n in (253, 254, 255, 507, 508, 509, 1016)] + [generator.randbytes(4000)]
    stream = b"\0" + b"".join(cobs.encode(data) + b"\0" for data in sent)
    frames, bad, counters = probe("cobs", stream, chunk=generator.choice(CHUNKS))
    assert frames == sent and bad == [] and counters["skipped"] == 0


@pytest.mark.parametrize("seed", SEEDS)
def test_cobs_decodes_what_the_cobs_package_decodes(seed):
    cobs = pytest.importorskip("cobs.cobs")
    generator = random.Random(seed)
    expected, stream = [], b"\0"
    for _ in range(400):
        block = bytes(generator.choice([1, 2, 3, 4, 5, 255]) for _ in range(generator.randint(1, 8)))
        stream += block + b"\0"
        try:
            expected.append(cobs.decode(block))
        except cobs.DecodeError:
            expected.append(None)
    frames, bad, _ = probe("cobs", stream, chunk=7)
    assert frames == [data for data in expected if data]
    assert bad == ["encoding"] * expected.count(None)


def x25(data):
    crc = 0xFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ 0x8408 if crc & 1 else crc >> 1
    return (crc ^ 0xFFFF).to_bytes(2, "little")


@pytest.mark.parametrize("seed", SEEDS)
def test_hdlc_as_rfc_1662_appendix_c_writes_it(seed):
    generator = random.Random(seed)
    sent, stream = payloads(seed), b""
    for data in sent:
        # A sender escapes the two, and what its peer's map asks for.
        mapped = generator.choice([b"", b"\x11\x13", bytes(range(32))])
        body = b"".join(bytes([0x7D, b ^ 0x20]) if b in b"\x7e\x7d" + mapped else bytes([b]) for b in data + x25(data))
        stream += b"\x7e" * generator.randint(1, 3) + body + generator.choice([b"\x7e", b""])
    frames, bad, _ = probe("hdlc", stream + b"\x7e", chunk=generator.choice(CHUNKS))
    assert frames == sent and bad == []


def framer_of(kind):
    framer = pytest.importorskip("pymodbus.framer")
    pdu = pytest.importorskip("pymodbus.pdu")
    return {"modbus-rtu": framer.FramerRTU, "modbus-ascii": framer.FramerAscii}[kind](pdu.DecodePDU(False))


@pytest.mark.parametrize("kind", ["modbus-rtu", "modbus-ascii"])
@pytest.mark.parametrize("seed", SEEDS)
def test_modbus_as_pymodbus_sends_it(kind, seed):
    framer, generator = framer_of(kind), random.Random(seed)
    sent, lines = [], []
    for _ in range(60):
        unit, pdu = generator.randint(0, 247), generator.randbytes(generator.randint(1, 253))
        sent.append(bytes([unit]) + pdu)
        lines += [framer.encode(pdu, unit, 0), "silence 3000"]
    frames, bad, counters = probe(kind, *lines, chunk=generator.choice(CHUNKS))
    assert frames == sent and bad == [] and counters["skipped"] == 0


@pytest.mark.parametrize("seed", SEEDS)
def test_modbus_rtu_damaged_frames_cost_themselves_alone(seed):
    framer, generator = framer_of("modbus-rtu"), random.Random(seed)
    expected, damaged, lines = [], 0, []
    for _ in range(80):
        unit, pdu = generator.randint(1, 247), generator.randbytes(generator.randint(1, 60))
        wire = bytearray(framer.encode(pdu, unit, 0))
        if generator.random() < 0.2:
            wire[generator.randrange(len(wire))] ^= 1 << generator.randrange(8)
            damaged += 1
        else:
            expected.append(bytes([unit]) + pdu)
        lines += [bytes(wire), f"silence {generator.randint(1800, 9000)}"]
    frames, bad, counters = probe("modbus-rtu", *lines, "silence")
    assert frames == expected
    # Two damaged frames in a row may be one stretch that is bad.
    assert 0 < counters["bad"] <= damaged


def test_modbus_rtu_with_an_adapter_that_holds_bytes_back():
    framer = framer_of("modbus-rtu")
    wire = framer.encode(bytes(range(60)), 17, 0)
    parts = [line for i in range(0, len(wire), 20) for line in (wire[i : i + 20], "silence 16000")]
    for framing in ("modbus-rtu", '{ type = "modbus-rtu", latency = "16ms" }'):
        frames, bad, _ = probe(framing, *parts, "silence")
        assert frames == [wire[:-2]] and bad == []


def with_noise(frames, generator, alphabet):
    """Noise, damage and truncation between good frames; the good ones come through."""
    stream, expected = b"", []
    for frame in frames:
        kind = generator.random()
        if kind < 0.15:
            broken = bytearray(frame)
            broken[generator.randrange(len(frame))] ^= 1 << generator.randrange(8)
            stream += bytes(broken)
        elif kind < 0.25:
            stream += frame[: generator.randint(1, len(frame) - 1)]
        else:
            stream += bytes(generator.choice(alphabet) for _ in range(generator.randint(0, 5))) + frame
            expected.append(frame)
    return stream, expected


@pytest.mark.parametrize("seed", SEEDS)
def test_ubx_as_pyubx2_writes_and_parses_it(seed):
    pyubx2 = pytest.importorskip("pyubx2")
    generator = random.Random(seed)
    sent = [pyubx2.UBXMessage("NAV", "NAV-STATUS", pyubx2.GET, iTOW=n * 1000).serialize() for n in range(40)]
    sent += [pyubx2.UBXMessage("CFG", "CFG-RATE", pyubx2.SET, measRate=200, navRate=1, timeRef=1).serialize()]
    sent += [pyubx2.UBXMessage("INF", "INF-NOTICE", pyubx2.GET, message=b"x" * n).serialize() for n in (1, 255, 3000)]
    stream, expected = with_noise(sent, generator, bytes(set(range(256)) - {0xB5}))
    frames, _, _ = probe("ubx", stream, "silence", chunk=generator.choice(CHUNKS))
    assert frames == expected
    for frame in frames:
        pyubx2.UBXReader.parse(frame, validate=pyubx2.VALCKSUM, msgmode=pyubx2.SET if frame[2:4] == b"\x06\x08" else pyubx2.GET)
    whole, _, _ = probe("ubx", b"".join(sent), options=("--deliver", "payload"))
    assert whole == [frame[6:-2] for frame in sent]


@pytest.mark.parametrize("seed", SEEDS)
def test_rtcm_as_pyrtcm_writes_it(seed):
    pyrtcm = pytest.importorskip("pyrtcm")
    generator = random.Random(seed)
    # Message 1005, the example of the standard; and others by their number alone.
    bodies = [bytes.fromhex("3ed7d30202980edeef34b4bd62ac0941986f33")]
    bodies += [b"\x3e\xd0" + generator.randbytes(generator.randint(17, 17)) for _ in range(40)]
    sent = [pyrtcm.RTCMMessage(payload=body).serialize() for body in bodies]
    assert sent[0].hex() == "d300133ed7d30202980edeef34b4bd62ac0941986f33360b98"
    stream, expected = with_noise(sent, generator, bytes(set(range(256)) - {0xD3}))
    frames, _, _ = probe("rtcm3", stream, "silence", chunk=generator.choice(CHUNKS))
    assert frames == expected
    whole, _, _ = probe("rtcm3", b"".join(sent), options=("--deliver", "payload"))
    assert whole == bodies


class Sink:
    def write(self, data):
        pass


def mavlink(signed=False):
    dialect = pytest.importorskip("pymavlink.dialects.v20.common")
    link = dialect.MAVLink(Sink(), srcSystem=1, srcComponent=1)
    if signed:
        link.signing.secret_key, link.signing.sign_outgoing = b"\x01" * 32, True
        link.signing.link_id, link.signing.timestamp = 1, 1
    return dialect, link


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("version", [1, 2])
def test_every_message_of_the_common_dialect_as_pymavlink_packs_it(version, signed):
    dialect, link = mavlink(signed and version == 2)
    generator, sent = random.Random(version), []
    for number, kind in sorted(dialect.mavlink_map.items()):
        if version == 1 and number > 255:
            continue
        lengths = dict(zip(kind.ordered_fieldnames, kind.array_lengths))
        values = []
        for name, form in zip(kind.fieldnames, kind.fieldtypes):
            if form == "char":
                values.append(b"t" * max(1, lengths[name]))
            else:
                number = generator.randrange(100)
                values.append([number] * lengths[name] if lengths[name] else number)
        sent.append(bytes(kind(*values).pack(link, force_mavlink1=version == 1)))
    assert len(sent) > 100
    frames, bad, _ = probe("mavlink", b"".join(sent), chunk=31)
    assert frames == sent and bad == []


def test_mavlink_truncated_zeros_and_payloads():
    dialect, link = mavlink()
    messages = [dialect.MAVLink_heartbeat_message(0, 0, 0, n, 0, 0) for n in range(20)]
    sent = [bytes(message.pack(link)) for message in messages]
    frames, bad, _ = probe("mavlink", b"".join(sent), options=("--deliver", "payload"))
    assert frames == [frame[10 : 10 + frame[1]] for frame in sent] and bad == []


def test_mavlink_messages_of_other_dialects_need_their_crc_extra():
    dialect, link = mavlink()
    frame = bytearray(dialect.MAVLink_heartbeat_message(10, 3, 81, 7, 4, 3).pack(link))
    frame[7:10] = (42000).to_bytes(3, "little")
    crc = x25(bytes(frame[1:-2]) + b"\x11")
    frame[-2:] = bytes(byte ^ 0xFF for byte in crc)
    frame = bytes(frame)
    frames, bad, _ = probe("mavlink", frame, "silence")
    assert frames == [] and bad == ["unknown-message"]
    frames, bad, _ = probe('{ type = "mavlink", crc_extra = { 42000 = 17 } }', frame)
    assert frames == [frame] and bad == []


@pytest.mark.parametrize("seed", SEEDS)
def test_nmea_as_pynmea2_renders_and_parses_it(seed):
    pynmea2 = pytest.importorskip("pynmea2")
    generator = random.Random(seed)
    sent = [
        str(pynmea2.GLL("GP", "GLL", (f"{n:04}.45", "N", "12311.12", "W", f"{n:06}", "A", ""))).encode() for n in range(60)
    ]
    stream, expected = b"", []
    for line in sent:
        if generator.random() < 0.2:
            stream += line[: generator.randint(1, len(line) - 3)] + b"\r\n"
        else:
            stream += line + b"\r\n"
            expected.append(line)
    frames, _, _ = probe("nmea", stream, chunk=generator.choice(CHUNKS))
    assert frames == expected
    for frame in frames:
        pynmea2.parse(frame.decode(), check=True)


# As the protocols' own documents print them, each whole, and its payload.
PRINTED = [
    ("xiaomi", "55aa0320011a02bfff", "02"),
    ("daly", "a540900800000000000000007d", "0000000000000000"),
    ("jbd", "dda50300fffd77", ""),
    ("jbd", "dd03001b1700000002d003e8000020780000000000001048030f020b760b82fbff77",
     "1700000002d003e8000020780000000000001048030f020b760b82"),
    ("ubx", "b56206080600c80001000100de6a", "c80001000100"),
    ("vesc", "020104408403", "04"),
    ("rtcm3", "d300133ed7d30202980edeef34b4bd62ac0941986f33360b98", "3ed7d30202980edeef34b4bd62ac0941986f33"),
    ("mavlink", "fe094e0101000000000002035104031c7f", "000000000203510403"),
]


@pytest.mark.parametrize("framing, frame, payload", PRINTED)
def test_frames_that_documents_print(framing, frame, payload):
    frame, payload = bytes.fromhex(frame), bytes.fromhex(payload)
    frames, bad, _ = probe(framing, b"\xff\x00" + frame, options=("--deliver", "frame"))
    assert frames == [frame] and bad == []
    frames, bad, _ = probe(framing, frame, options=("--deliver", "payload"))
    assert frames == [payload] and bad == []


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("endian", ["big", "little"])
def test_a_described_framing_with_zlibs_crc(endian, seed):
    framing = (
        f'{{ type = "length", sync = "C3 3C", length = {{ offset = 2, width = 2, endian = "{endian}", bias = 9 }}, '
        f'check = {{ algorithm = "crc32", from = 2, endian = "{endian}" }}, trailer = "0A", max = "300B", '
        f'deliver = "payload" }}'
    )
    generator = random.Random(seed)
    sent = [generator.randbytes(generator.randint(0, 291)) for _ in range(40)]
    wires = []
    for data in sent:
        body = len(data).to_bytes(2, endian) + data
        wires.append(b"\xc3\x3c" + body + zlib.crc32(body).to_bytes(4, endian) + b"\n")
    stream, expected = with_noise(wires, generator, bytes(set(range(256)) - {0xC3}))
    frames, _, _ = probe(framing, stream, "silence", chunk=generator.choice(CHUNKS))
    # An empty payload is still a frame.
    assert frames == [wire[4:-5] for wire in expected]


def test_json_lines_are_what_json_takes():
    import json

    generator = random.Random(3)
    pieces = ["{", "}", "[", "]", ",", ":", '"a"', '"\\n"', "1", "-0.5", "1e9", "true", "null", " ", '"', "\\"]
    lines = ["".join(generator.choice(pieces) for _ in range(generator.randint(1, 7))) for _ in range(6000)]
    lines += [json.dumps({"n": n, "list": [n, None, {"ü": "€"}]}) for n in range(50)]
    expected = []
    for line in lines:
        try:
            json.loads(line, parse_constant=lambda _: 1 / 0)
            expected.append(line.encode())
        except ValueError:
            pass
    frames, bad, _ = probe("json-lines", "\n".join(lines).encode() + b"\n", chunk=100)
    assert frames == expected and len(bad) == len(lines) - len(expected)
    assert len(expected) > 100


def test_stx_etx_with_a_block_check():
    texts = [b"T=21.5;H=40", b"A", b"x" * 4096]

    def wire(text):
        check = 0
        for byte in text + b"\x03":
            check ^= byte
        return b"\x02" + text + b"\x03" + bytes([check])

    frames, bad, _ = probe("stx-etx", b"\xff" + b"".join(map(wire, texts)), chunk=3)
    assert frames == texts and bad == []
    frames, bad, _ = probe("stx-etx", wire(b"abc")[:-1] + b"\x00" + wire(b"def"))
    assert frames == [b"def"] and bad == ["checksum"]


def test_a_framing_that_is_wrong_is_named():
    with pytest.raises(AssertionError) as error:
        probe('{ type = "length" }', b"")
    assert re.search(r"missing key 'sync'", str(error.value))

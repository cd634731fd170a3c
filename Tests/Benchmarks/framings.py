"""Frames of every framing, as they are on the wire, for the cost of a frame."""

import json

PAYLOAD = bytes(range(1, 33))


def exclusive_or(data):
    check = 0
    for byte in data:
        check ^= byte
    return check


def crc16(data, polynomial, start):
    """Reflected, as Modbus and HDLC have it."""
    crc = start
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ polynomial if crc & 1 else crc >> 1
    return crc


def hdlc(data):
    fcs = crc16(data, 0x8408, 0xFFFF) ^ 0xFFFF
    body = data + fcs.to_bytes(2, "little")
    return b"\x7e" + b"".join(bytes([0x7D, b ^ 0x20]) if b in b"\x7e\x7d" else bytes([b]) for b in body) + b"\x7e"


def modbus_ascii(data):
    return b":" + (data + bytes([-sum(data) & 0xFF])).hex().upper().encode() + b"\r\n"


def sentence(text):
    return b"$" + text + b"*%02X\r\n" % exclusive_or(text)


# Name, a frame, and whether silence is between two. The length framings are the packets that the
# protocols' documents print.
FRAMES = [
    ("line", b"temperature=21.5 humidity=40 v=1\n", False),
    ("json-lines", json.dumps({"t": 21.5, "h": 40, "name": "bay-1"}).encode() + b"\n", False),
    ("nmea", sentence(b"GPGLL,4916.45,N,12311.12,W,225444,A,"), False),
    ("slip", b"\xc0" + PAYLOAD + b"\xc0", False),
    ("cobs", b"\x21" + PAYLOAD + b"\x00", False),
    ("hdlc", hdlc(PAYLOAD), False),
    ("stx-etx", b"\x02" + PAYLOAD[3:] + b"\x03" + bytes([exclusive_or(PAYLOAD[3:] + b"\x03")]), False),
    ("modbus-rtu", PAYLOAD + crc16(PAYLOAD, 0xA001, 0xFFFF).to_bytes(2, "little"), True),
    ("modbus-ascii", modbus_ascii(PAYLOAD), False),
    ("vesc", bytes.fromhex("020104408403"), False),
    ("xiaomi", bytes.fromhex("55aa0320011a02bfff"), False),
    ("ninebot", bytes.fromhex("5aa5023e20041009087aff"), False),
    ("daly", bytes.fromhex("a540900800000000000000007d"), False),
    ("jbd", bytes.fromhex("dd03001b1700000002d003e8000020780000000000001048030f020b760b82fbff77"), False),
    ("ubx", bytes.fromhex("b56206080600c80001000100de6a"), False),
    ("rtcm3", bytes.fromhex("d300133ed7d30202980edeef34b4bd62ac0941986f33360b98"), False),
    ("mavlink", bytes.fromhex("fe094e0101000000000002035104031c7f"), False),
]

"""Framings through the whole daemon: what the board sends is what arrives upstream."""

import json

import pytest
from serialport import PATIENT, one_of_three, taken_from
from spoke import configuration, serial, stream


def crc_modbus(data):
    crc = 0xFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ 0xA001 if crc & 1 else crc >> 1
    return crc.to_bytes(2, "little")


def port(folder, spoke, make_upstream, make_terminal, framing, **keys):
    terminal, upstream = make_terminal(), make_upstream()
    spoke.start(configuration(
        folder, stream("s", upstream.url, path="/s", content_type="application/octet-stream"),
        serial("bus", terminal.path, "s", framing, **keys),
    ))
    spoke.wait_for_ports()
    return terminal, upstream


def bodies(upstream):
    return [r.body for r in upstream.whole() if r.path == "/s"]


def test_modbus_rtu_frames_end_with_silence(folder, spoke, make_upstream, make_terminal):
    terminal, upstream = port(folder, spoke, make_upstream, make_terminal, "modbus-rtu", baud=19200)
    sent = [bytes([1, 3, 4]) + n.to_bytes(4, "big") for n in range(20)]
    for number, frame in enumerate(sent):
        wire = frame + crc_modbus(frame)
        if number % 5 == 4:
            terminal.write(b"\x01\x03\x04" + wire[3:-1] + bytes([wire[-1] ^ 1]))
            # The next frame comes once this one has been given up.
            spoke.wait_for_stat("spoke.serial.bus.bad_frames", number // 5 + 1)
        terminal.write(wire)
        upstream.wait_for(number + 1)
    assert bodies(upstream) == sent
    assert spoke.stat("spoke.serial.bus.frames") == 20
    ports = json.loads(spoke.get("/serial")[2])["ports"]
    assert ports[0]["bad_frames_by_reason"] == {"checksum": 4}


def test_modbus_rtu_frames_in_one_write_are_told_apart(folder, spoke, make_upstream, make_terminal):
    terminal, upstream = port(folder, spoke, make_upstream, make_terminal, "modbus-rtu")
    sent = [bytes([1, 3, 2, n, n]) for n in range(10)]
    terminal.write(b"".join(frame + crc_modbus(frame) for frame in sent))
    upstream.wait_for(10)
    assert bodies(upstream) == sent


def test_a_described_framing_delivers_the_payload(folder, spoke, make_upstream, make_terminal):
    framing = {
        "type": "length", "sync": "55 AA", "length": {"offset": 2, "bias": 4}, "deliver": "payload",
        "check": {"algorithm": "sum8"}, "max": "64B",
    }
    terminal, upstream = port(folder, spoke, make_upstream, make_terminal, framing)
    for payload in (b"one", b"", b"three\x55\xaa\x00"):
        body = bytes([len(payload)]) + payload
        terminal.write(b"\x55\xaa" + body + bytes([sum(body) & 0xFF]))
    upstream.wait_for(3)
    assert bodies(upstream) == [b"one", b"", b"three\x55\xaa\x00"]


def test_sentences_without_a_checksum_come_only_if_they_are_wanted(folder, spoke, make_upstream, make_terminal):
    terminal, upstream = port(
        folder, spoke, make_upstream, make_terminal, {"type": "nmea", "checksum": "optional"})
    terminal.write(b"$GPGLL,1\r\n$GPGLL,4916.45,N,12311.12,W,225444,A,*1D\r\n")
    upstream.wait_for(2)
    assert bodies(upstream) == [b"$GPGLL,1", b"$GPGLL,4916.45,N,12311.12,W,225444,A,*1D"]


@pytest.mark.parametrize("framing", ["json-lines", "slip", "cobs", "hdlc", "stx-etx", "modbus-rtu", "modbus-ascii",
                                     "xiaomi", "ninebot", "daly", "jbd", "ubx", "rtcm3", "mavlink"])
def test_the_emulated_boards_frames_arrive(folder, spoke, make_upstream, make_emulator, framing):
    upstream, link = make_upstream(), folder / "board"
    # Of Modbus RTU the silence is a part.
    baud = 115200 if framing == "modbus-rtu" else PATIENT
    spoke.start(configuration(
        folder, stream("s", upstream.url, path="/s", in_flight=4), serial("bus", link, "s", framing, baud),
    ))

    def play(turn):
        before, bad = spoke.stat("spoke.serial.bus.frames"), spoke.stat("spoke.serial.bus.bad_frames")
        emulator = make_emulator(
            "--framing", framing, "--baud", "115200", "--generate", "60", "--link", str(link), "--noise", "0.1",
            held_back=True, name=f"emulator-{turn}")
        spoke.wait_for_ports()
        emulator.play()
        sent = emulator.finish()["sent"]
        came, bad = taken_from(spoke, "bus", "s") - before, spoke.stat("spoke.serial.bus.bad_frames") - bad
        if framing == "modbus-rtu":
            # A machine that is late reads noise and the frame behind it as one: that frame is lost, and counted.
            return came + 3 * bad < sent
        return sent - came

    one_of_three(play)

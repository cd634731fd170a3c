"""Framers against frames made by others: binascii's CRC-16/XMODEM, printed NMEA sentences, bytes.split,
and paho's topic matching."""
import binascii
import os
import pathlib
import random
import subprocess

import pytest

REPO = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("SPOKE_BIN", REPO / ".build/release"))


def probe(framing, *lines, chunk=0, options=()):
    """Feeds lines (bytes, or the words "silence" and "hang-up"); answers frames, bad reasons, counters."""
    text = "".join((line.hex() if isinstance(line, bytes) else line) + "\n" for line in lines)
    command = [BIN / "probe", "frames", "--framing", framing, "--chunk", str(chunk), *options]
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    frames, bad, counters = [], [], {}
    for line in done.stdout.splitlines():
        kind, _, rest = line.partition(" ")
        if kind == "frame":
            frames.append(bytes.fromhex(rest))
        elif kind == "bad":
            bad.append(rest)
        else:
            counters = {key: int(value) for key, value in (pair.split("=") for pair in rest.split())}
    return frames, bad, counters


def vesc(payload):
    length = bytes([2, len(payload)]) if len(payload) < 256 else b"\x03" + len(payload).to_bytes(2, "big")
    return length + payload + binascii.crc_hqx(payload, 0).to_bytes(2, "big") + b"\x03"


def sentence(body, start="$"):
    check = 0
    for byte in body.encode():
        check ^= byte
    return f"{start}{body}*{check:02X}".encode()


CHUNKS = [0, 1, 2, 3, 16, 64, 1021]


@pytest.mark.parametrize("chunk", CHUNKS)
def test_vesc_payloads_of_every_length(chunk):
    generator = random.Random(1)
    payloads = [generator.randbytes(length) for length in list(range(1, 40)) + [254, 255, 256, 300, 511, 512]]
    frames, bad, counters = probe("vesc", b"".join(map(vesc, payloads)), chunk=chunk)
    assert frames == payloads
    assert bad == [] and counters["resyncs"] == 0


def test_vesc_whole_frames():
    payloads = [b"\x04", bytes(range(256)), b"\x02\x03" * 40]
    frames, bad, _ = probe("vesc", b"".join(map(vesc, payloads)), options=("--deliver", "frame"))
    assert frames == [vesc(payload) for payload in payloads] and bad == []


@pytest.mark.parametrize("seed", range(20))
def test_vesc_damaged_frames_cost_themselves_alone(seed):
    generator = random.Random(seed)
    stream, expected, damaged = [], [], 0
    for _ in range(200):
        payload = generator.randbytes(generator.randint(1, 60))
        frame = bytearray(vesc(payload))
        if generator.random() < 0.2:
            frame[generator.randrange(len(frame))] ^= 1 << generator.randrange(8)
            damaged += 1
        else:
            expected.append(payload)
        stream.append(bytes(frame))
    frames, bad, counters = probe("vesc", b"".join(stream), "silence", chunk=generator.choice(CHUNKS))
    assert frames == expected
    assert counters["frames"] == len(expected)
    # One damaged frame can hide in the extent of the one before it.
    assert 0 < len(bad) and counters["skipped"] > 0
    assert counters["bad"] == len(bad)


@pytest.mark.parametrize("noise", [0, 1, 255, 4096, 65536])
def test_vesc_behind_garbage(noise):
    generator = random.Random(noise)
    frames, _, counters = probe("vesc", generator.randbytes(noise) + vesc(b"\x04\x01"), "silence", chunk=100)
    assert frames == [b"\x04\x01"]
    assert counters["skipped"] == noise


@pytest.mark.parametrize("length", [b"\x02\xff", b"\x03\x02\x00", b"\x03\xff\xff", b"\x02\x00"])
def test_vesc_a_corrupt_length_delays_by_one_timeout_at_most(length):
    frames, bad, _ = probe("vesc", length + vesc(b"good"), "silence", vesc(b"next"))
    assert frames == [b"good", b"next"]
    assert len(bad) == 1


# NMEA 0183 as the manuals print it: the NMEA FAQ, SiRF and u-blox manuals, the AIVDM/AIVDO document.
PRINTED = [
    b"$GPGGA,123519,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,*47",
    b"$GPRMC,123519,A,4807.038,N,01131.000,E,022.4,084.4,230394,003.1,W*6A",
    b"$GPGSA,A,3,04,05,,09,12,,,24,,,,,2.5,1.3,2.1*39",
    b"$GPGSV,2,1,08,01,40,083,46,02,17,308,41,12,07,344,39,14,22,228,45*75",
    b"$GPGLL,4916.45,N,12311.12,W,225444,A,*1D",
    b"$GPGGA,172814.0,3723.46587704,N,12202.26957864,W,2,6,1.2,18.893,M,-25.669,M,2.0,0031*4F",
    b"!AIVDM,1,1,,B,177KQJ5000G?tO`K>RA1wUbN0TKH,0*5C",
    b"!AIVDM,2,1,3,B,55P5TL01VIaAL@7WKO@mBplU@<PDhh000000001S;AJ::4A80?4i@E53,0*3E",
    b"!AIVDM,2,2,3,B,1@0000000000000,2*55",
]


@pytest.mark.parametrize("chunk", CHUNKS)
def test_nmea_printed_sentences(chunk):
    frames, bad, counters = probe("nmea", b"".join(line + b"\r\n" for line in PRINTED), chunk=chunk)
    assert frames == PRINTED
    assert bad == [] and counters["skipped"] == 0


@pytest.mark.parametrize("seed", range(20))
def test_nmea_noise_and_damage(seed):
    generator = random.Random(seed)
    stream, expected, reasons = b"", [], 0
    noise_bytes = bytes(byte for byte in range(256) if byte not in b"$!\r\n")
    for number in range(200):
        good = sentence(f"GPTXT,01,01,02,{number},{'x' * generator.randint(0, 60)}")
        choice = generator.random()
        if choice < 0.1:
            stream += good[:-1] + (b"0" if good[-1:] != b"0" else b"1") + b"\r\n"
            reasons += 1
        elif choice < 0.2:
            stream += good[: generator.randint(1, len(good) - 3)] + b"\r\n"
            reasons += 1
        else:
            noise = bytes(generator.choice(noise_bytes) for _ in range(generator.randint(0, 9)))
            stream += noise + good + b"\r\n"
            expected.append(good)
    frames, bad, counters = probe("nmea", stream, chunk=generator.choice(CHUNKS))
    assert frames == expected
    assert counters["bad"] == reasons == len(bad)


@pytest.mark.parametrize("delimiter", [0x0A, 0x0D, 0x00, 0x7C])
@pytest.mark.parametrize("seed", range(5))
def test_lines_are_what_split_yields(delimiter, seed):
    generator = random.Random(seed)
    alphabet = bytes([delimiter, 0x0D, 0x0A, 0x00, 0x41, 0xC3, 0xA4])
    stream = bytes(generator.choice(alphabet) for _ in range(5000))
    expected = []
    for line in stream.split(bytes([delimiter]))[:-1]:
        line = line.lstrip(b"\0") if delimiter else line
        line = line[:-1] if line.endswith(b"\r") else line
        if line:
            expected.append(line)
    options = ("--delimiter", str(delimiter))
    frames, bad, _ = probe("line", stream, chunk=generator.choice(CHUNKS), options=options)
    assert frames == expected and bad == []


def test_a_mebibyte_without_a_delimiter_is_one_bad_frame():
    frames, bad, counters = probe("line", b"x" * (1 << 20), b"\nnext\n", chunk=4096)
    assert frames == [b"next"] and bad == ["too-long"]
    assert counters["skipped"] == (1 << 20) + 1


def test_topics_match_as_paho_says():
    topic_matches_sub = pytest.importorskip("paho.mqtt.client").topic_matches_sub
    generator = random.Random(5)
    pairs = []
    for _ in range(4000):
        levels = [generator.choice(["a", "b", "+", "", "$S"]) for _ in range(generator.randint(1, 4))]
        if generator.random() < 0.3:
            levels.append("#")
        topic = "/".join(generator.choice(["a", "b", "", "$S"]) for _ in range(generator.randint(1, 5)))
        if "/".join(levels) and topic:
            pairs.append(("/".join(levels), topic))
    text = "".join(f"{pattern}\t{topic}\n" for pattern, topic in pairs)
    done = subprocess.run([BIN / "probe", "topics"], input=text, capture_output=True, text=True, timeout=60)
    answers = done.stdout.split()
    assert len(answers) == len(pairs)
    for (pattern, topic), answer in zip(pairs, answers):
        assert answer == ("yes" if topic_matches_sub(pattern, topic) else "no"), (pattern, topic)

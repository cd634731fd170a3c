"""HPACK beside libnghttp2 (a C program linked to it) and Python's hpack, on the same header lists."""

import random
import shutil
import subprocess
import time
from pathlib import Path

import hpack


def header_lists(seed=7541, count=200):
    """What a stream of CloudEvents sends: most fields repeat, two differ in every request."""
    chance = random.Random(seed)
    lists = []
    for number in range(count):
        lists.append([
            (":method", "POST"), (":scheme", "https"), (":authority", "ingest.example.com"),
            (":path", chance.choice(["/v1/state", "/v1/position", "/v1/motor"])),
            ("content-type", "application/json"), ("content-length", str(chance.randrange(150, 250))),
            ("ce-specversion", "1.0"), ("ce-type", "dev.spoke.record"), ("ce-source", "/scooter-0042/mqtt"),
            ("ce-id", f"scooter-0042/state/b67d439e3f516468-{number}"),
            ("ce-subject", f"telemetry/{chance.randrange(4)}/state"),
            ("ce-time", f"2026-11-23T12:{number // 60:02}:{number % 60:02}.{chance.randrange(1000):03}Z"),
        ])
    return lists


def as_text(lists) -> bytes:
    return "".join("".join(f"{n} {v}\n" for n, v in fields) + "\n" for fields in lists).encode()


def build_peer(folder: Path) -> Path:
    program = folder / "nghttp2-hpack"
    compiler = shutil.which("cc") or shutil.which("clang")
    source = Path(__file__).with_name("nghttp2_hpack.c")
    subprocess.run([compiler, "-O2", "-o", program, source, "-lnghttp2"], check=True)
    return program


def python_seconds(lists, rounds):
    """Seconds to encode, seconds to decode."""
    encoder, decoder = hpack.Encoder(), hpack.Decoder()
    encoding = decoding = 0.0
    for _ in range(rounds):
        for fields in lists:
            start = time.process_time()
            block = encoder.encode(fields)
            middle = time.process_time()
            decoder.decode(block)
            decoding += time.process_time() - middle
            encoding += middle - start
    return encoding, decoding

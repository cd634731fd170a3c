"""What Tests/bench runs once everything is built."""

import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "Tests/BlackBox"))

import flash_wear  # noqa: E402
import framings  # noqa: E402
import hpack_speed  # noqa: E402
import main_job  # noqa: E402
import policy_speed  # noqa: E402
from broker import Broker, Publisher  # noqa: E402
from ports import free_port  # noqa: E402
from certificates import Authority  # noqa: E402
from processes import instructions, memory, processor_seconds, ticks  # noqa: E402
from rig import connected, delivered, nghttpd, publish  # noqa: E402
from spoke import Spoke, configuration, mqtt, stream, tls  # noqa: E402
from table import Table  # noqa: E402
from waiting import wait_until  # noqa: E402

QUICK = "--quick" in sys.argv
# Rows whose names begin like this may be over their budgets, and why.
EXCESSES = (
    ("CPU per 190-byte record",
     "in a batch, most of a record's cost is the kernel's: libmosquitto reads each packet with four calls of `read` and "
     "answers each QoS 1 message with a `write`, at about 2 µs a call on the machine that was measured, and the records are "
     "made durable sixteen at a time. In user space a record takes 18,000 (QoS 0, `memory`) to 50,000 instructions (QoS 1, "
     "`sync`), those of the libraries included."),
    ("resident memory under load, batches",
     "the budget, half of what Fluent Bit is published to take, is below what shared libraries have resident here. OpenSSL's "
     "two and the C library are 6,340 KiB, 480 of it private."),
    ("spoked, stripped, x86_64", "the budget is for boards, aarch64 and armhf. For x86_64 the compiler inlines more."),
    (f"{flash_wear.TO_DEVICE}, spill", flash_wear.WHY_MORE),
)
HEADERS = {"content-type": "application/json", "ce-specversion": "1.0", "ce-type": "dev.spoke.record"}


def our_client(port, requests, streams, authority):
    command = [str(ROOT / ".build/release/probe"), "post", "--port", str(port), "--requests", str(requests),
               "--streams", str(streams), "--bytes", "200"]
    return command + (["--ca", str(authority.certificate)] if authority else [])


def h2load(port, requests, streams, secure, body, headers=HEADERS):
    command = ["h2load", "-c", "1", "-n", str(requests), "-m", str(streams), "-d", str(body)]
    for name, value in headers.items():
        command += ["-H", f"{name}: {value}"]
    return [*command, f"{'https' if secure else 'http'}://localhost:{port}/v1/state"]


def measure_client(table, folder, identity, authority, body):
    """Pairs, one of each in turn: what else the machine does meanwhile hits both of a pair, and few pairs."""
    pairs = 3 if QUICK else 15
    for secure in (False, True):
        with nghttpd(folder, identity if secure else None) as port:
            for streams, requests in ((1, 5000 if QUICK else 10000), (10, 5000 if QUICK else 40000)):
                ours, theirs = [], []
                for _ in range(pairs):
                    ours.append(processor_seconds(our_client(port, requests, streams, authority if secure else None)))
                    theirs.append(processor_seconds(h2load(port, requests, streams, secure, body)))
                peer = statistics.median(theirs) / requests * 1e6
                ratio = statistics.median(mine / other for mine, other in zip(ours, theirs))
                name = f"CPU per 200-byte POST, {'TLS' if secure else 'h2c'}, {streams} at once, median of {pairs} pairs"
                table.row(name, peer * ratio, peer, "h2load", peer, "µs")


def measure_instructions(table, folder, body):
    """The difference of two runs: what starting costs falls out."""
    few, many = 500, 1500 if QUICK else 3500
    # valgrind 3.19 stumbles over the debugging information.
    plain = folder / "probe"
    subprocess.run(["strip", "-o", plain, ROOT / ".build/release/probe"], check=True)
    with nghttpd(folder) as port:
        for streams in (1, 10):
            ours = [instructions([str(plain), *our_client(port, n, streams, None)[1:]], folder) for n in (few, many)]
            theirs = [instructions(h2load(port, n, streams, False, body), folder) for n in (few, many)]
            mine, peer = ((counts[1] - counts[0]) // (many - few) for counts in (ours, theirs))
            table.row(f"instructions per 200-byte POST, h2c, {streams} at once", mine, peer, "h2load")


def measure_hpack(table, folder):
    """Seconds to encode, and to encode and decode, less what starting and reading the lists costs."""
    lists, rounds = hpack_speed.header_lists(), 500 if QUICK else 3000
    text = folder / "lists"
    text.write_bytes(hpack_speed.as_text(lists))
    plain = len(text.read_bytes()) * rounds

    def seconds(command, mode):
        costs = []
        for _ in range(5):
            with text.open() as full, text.open() as idle:
                costs.append(processor_seconds([*command, mode, str(rounds)], full)
                             - processor_seconds([*command, mode, "0"], idle))
        return statistics.median(costs)

    ours, nghttp2 = [str(ROOT / ".build/release/probe"), "hpack-speed"], [str(hpack_speed.build_peer(folder))]
    mine, peer = ({mode: seconds(command, mode) for mode in ("encode", "both")} for command in (ours, nghttp2))
    slow = hpack_speed.python_seconds(lists, 10)
    for name, cost, number in (
        ("encode", lambda t: t["encode"], 0), ("decode", lambda t: t["both"] - t["encode"], 1)
    ):
        what = f"HPACK {name}, ns per byte of plain fields"
        table.row(what, cost(mine) / plain * 1e9, cost(peer) / plain * 1e9, "libnghttp2", None, "ns")
        python = slow[number] / (plain / rounds * 10) * 1e9
        table.row(what, cost(mine) / plain * 1e9, python, "Python's hpack", None, "ns")


def measure_framers(table, folder):
    """Frames in reads of 256 bytes, as a busy port gives them; what starting costs falls out."""
    rounds, frames = 30 if QUICK else 300, 1000
    program = str(ROOT / ".build/release/probe")
    text = folder / "frames"
    for name, frame, is_silent in framings.FRAMES:
        lines = [frame.hex(), "silence 5000"] * frames if is_silent else [(frame * frames).hex()]
        text.write_text("\n".join(lines) + "\n")
        command = [program, "frames", "--framing", name, "--chunk", "256", "--rounds"]

        def seconds(count):
            with text.open() as lines:
                return processor_seconds([*command, str(count)], lines)

        with text.open() as lines:
            counted = subprocess.run([*command, "1"], stdin=lines, capture_output=True, text=True, check=True).stdout
        # COBS: what comes before the first zero may be half a frame.
        assert int(re.search(r" frames=(\d+)", counted).group(1)) >= frames - 1, f"{name}: {counted}"
        cost = statistics.median(seconds(rounds) - seconds(0) for _ in range(3)) / (rounds * frames)
        table.row(f"CPU per frame, {name}, {len(frame)} bytes on the wire", cost * 1e9, unit="ns")


def measure_sizes(table):
    folders = {"x86_64": ".build/stripped", "aarch64": ".build-aarch64/stripped", "armhf": ".build-armhf/stripped"}
    for name, folder in folders.items():
        size = (ROOT / folder / "spoked").stat().st_size // 1024
        table.row(f"spoked, stripped, {name}", size, 4403, "fluent-bit (published, 4.3 MB)", 1024, "KiB")


def measure_batches(table, folder, identity, authority):
    """From MQTT to batches over TLS. Fluent Bit's figures are published ones (5.1, 190-byte records)."""
    count = 20_000 if QUICK else 100_000
    peer, published = 7, "fluent-bit (published)"
    # `sync` is our promise: on flash before it is acknowledged. `memory` is what the peer does.
    for encoding, qos, durability in (
        ("cloudevents-batch", 1, "sync"), ("protobuf", 1, "sync"), ("protobuf", 0, "sync"), ("protobuf", 0, "memory"),
    ):
        place = folder / f"{encoding}-{qos}-{durability}"
        place.mkdir()
        broker, spoke = Broker(place, "max_queued_messages 0\nmax_inflight_messages 1000"), Spoke(place)
        with nghttpd(place, identity) as server:
            try:
                spoke.start(configuration(
                    place,
                    stream("state", f"https://localhost:{server}", path="/v1/state", encoding=encoding, durability=durability,
                           batch={"records": 500, "linger": "1s"}, tls="fleet"),
                    mqtt(broker.url, ("in/state", "state"), qos=qos), tls("fleet", ca=authority.certificate),
                    spool="", log="warning",
                ))
                connected(spoke)
                publisher = Publisher(broker)
                publish(publisher, 10_000, 190)
                delivered(spoke, 10_000)
                before = ticks(spoke.process.pid)
                publish(publisher, count, 190)
                delivered(spoke, 10_000 + count)
                cost = (ticks(spoke.process.pid) - before) / count * 1e6
                publisher.close()
                what = f"CPU per 190-byte record, QoS {qos}, {durability}, {encoding}, TLS"
                table.row(what, cost, peer, published, peer / 2, "µs")
                if durability == "memory":
                    table.row("resident memory under load, batches", memory(spoke.process.pid)["Rss"], 12.3 * 1024,
                              published, 12.3 * 512, "KiB")
            finally:
                spoke.cleanup()
                broker.stop()


def measure_start(table, folder, authority):
    """From exec to READY=1 over a spool that is full."""
    broker, spoke = Broker(folder, "max_queued_messages 0"), Spoke(folder)
    try:
        text = configuration(
            folder, stream("state", f"http://localhost:{free_port()}", path="/", content_type="text/plain"),
            mqtt(broker.url, ("in/state", "state")), spool="", log="warning",
        )
        spoke.start(text)
        connected(spoke)
        publisher = Publisher(broker)
        count = 300 if QUICK else 6500
        publish(publisher, count, 8000)
        wait_until(lambda: spoke.stat("spoke.stream.state.records_in") == count, "all are in", 120)
        publisher.close()
        table.row("resident memory with a long backlog", memory(spoke.process.pid)["Rss"], None, "", 14 * 1024, "KiB")
        spoke.kill()
        times = []
        for _ in range(3):
            begun = time.monotonic()
            spoke.start()
            times.append((time.monotonic() - begun) * 1000)
            spoke.kill()
        size = sum(f.stat().st_size for f in (folder / "spool").rglob("*") if f.is_file()) >> 20
        table.row(f"start to ready with a spool of {size} MiB, after SIGKILL", statistics.median(times), None, "", 1000, "ms")
    finally:
        spoke.cleanup()
        broker.stop()


def main() -> int:
    work = Path(tempfile.mkdtemp(prefix="spoke-bench-"))
    try:
        authority = Authority(work, "ca")
        identity = authority.server("server")
        body = work / "body"
        body.write_bytes(b"x" * 200)
        table = Table("Tests/bench")
        measure_client(table, work, identity, authority, body)
        measure_instructions(table, work, body)
        measure_hpack(table, work)
        policy_speed.measure(table, work, QUICK)
        measure_framers(table, work)
        measure_sizes(table)
        for number, measure in enumerate((
            lambda folder: main_job.measure(table, folder, identity, authority, QUICK),
            lambda folder: measure_batches(table, folder, identity, authority),
            lambda folder: measure_start(table, folder, authority),
            lambda folder: flash_wear.measure(table, folder, QUICK),
        )):
            folder = work / str(number)
            folder.mkdir()
            measure(folder)
        for words, why in EXCESSES:
            table.explain(words, why)
        if not QUICK:
            table.write(ROOT / "Tests/Benchmarks/RESULTS.md")
        print(f"\n{len(table.failed)} over budget" + "".join(f"\n  {what}" for what in table.failed))
        return 0
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())

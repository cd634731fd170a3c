"""The main job: a serial port, MQTT, an upstream over TLS, a control plane. What it costs at rest, on the wire, under load.

    .venv/bin/python Tests/Benchmarks/main_job.py [--quick]     (from Tests/bench, too)
"""

import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "Tests/BlackBox"))

from broker import Broker, Publisher  # noqa: E402
from certificates import Authority  # noqa: E402
from control_plane import ControlPlane  # noqa: E402
from processes import memory, ticks, wake_ups  # noqa: E402
from resources import EDS, graph  # noqa: E402
from rig import CountingProxy, connected, delivered, nghttpd, publish  # noqa: E402
from serialport import Terminal  # noqa: E402
from spoke import Spoke, configuration, mqtt, serial, stream, tls  # noqa: E402
from spoke_xds import CONNECTED, NAME, table as xds_table  # noqa: E402
from table import Table  # noqa: E402


def measure(table, folder, identity, authority, quick):
    """One serial port, MQTT, an upstream over TLS, and ADS over TLS, which steers the port's stream."""
    broker = Broker(folder, "max_queued_messages 0")
    spoke, terminal = Spoke(folder), Terminal(folder / "tty")
    with nghttpd(folder, identity) as server:
        proxy, plane = CountingProxy(server), ControlPlane(*graph(server), identity=identity)
        try:
            spoke.start(configuration(
                folder,
                stream("state", f"https://localhost:{proxy.port}", path="/v1/state", in_flight=10,
                       content_type="application/json", tls="fleet"),
                stream("lines", f"xds:///{NAME}", path="/v1/lines"),
                serial("ecu", terminal.path, "lines"), mqtt(broker.url, ("in/state", "state")),
                xds_table(folder, plane.url, runtime=[], tls="fleet"), tls("fleet", ca=authority.certificate),
                spool="", log="warning",
            ))
            connected(spoke)
            plane.wait_for_ack(EDS)
            publisher = Publisher(broker)
            measure_idle(table, spoke, broker, publisher, quick)
            assert spoke.stat(CONNECTED) == 1, spoke.log[-2000:]
            measure_wire(table, spoke, proxy, publisher, quick)
            measure_load(table, spoke, publisher, quick)
            publisher.close()
        finally:
            spoke.cleanup()
            plane.stop()
            terminal.close()
            broker.stop()


def measure_idle(table, spoke, broker, publisher, quick):
    publish(publisher, 10)
    delivered(spoke, 10)
    time.sleep(2)
    mine, peer = memory(spoke.process.pid), memory(broker.process.pid)
    name = "mosquitto, the broker of this run"
    table.row("resident memory, idle", mine["Rss"], peer["Rss"], name, 10 * 1024, "KiB")
    table.row("resident memory, idle", mine["Rss"], int(8.2 * 1024), "fluent-bit (published, 8.2 MiB)", 10 * 1024, "KiB")
    table.row("proportional memory, idle", mine["Pss"], peer["Pss"], name, None, "KiB")
    table.row("private dirty memory, idle", mine["Private_Dirty"], peer["Private_Dirty"], name, 3 * 1024, "KiB")
    seconds = 10 if quick else 60
    before, peer_before, start = wake_ups(spoke.process.pid), wake_ups(broker.process.pid), time.monotonic()
    time.sleep(seconds)
    elapsed = time.monotonic() - start
    table.row(
        f"idle wake-ups per second, over {seconds} s", (wake_ups(spoke.process.pid) - before) / elapsed,
        (wake_ups(broker.process.pid) - peer_before) / elapsed, name, 0.2,
    )


def measure_wire(table, spoke, proxy, publisher, quick):
    """One record at a time on a warm connection, beside h2load with the same header fields."""
    start = spoke.stat("spoke.stream.state.delivered")
    count = 50 if quick else 200
    before = (proxy.up, proxy.down)
    for number in range(count):
        publish(publisher, 1)
        delivered(spoke, start + number + 1)
    time.sleep(0.2)
    up, down = ((after - first) / count for after, first in zip((proxy.up, proxy.down), before))
    table.row("bytes sent per 200-byte record, TLS, warm, with TLS's own", up, None, "", 320)
    table.row("bytes received per 200-byte record", down)


def measure_load(table, spoke, publisher, quick):
    """A million records take about two minutes and a half: what leaks a byte for each of them shows."""
    start = spoke.stat("spoke.stream.state.delivered")
    first, rest = (5_000, 15_000) if quick else (20_000, 1_000_000)
    publish(publisher, first)
    delivered(spoke, start + first)
    time_before = ticks(spoke.process.pid)
    begun = time.monotonic()
    pieces, private = 10, []
    for piece in range(pieces):
        publish(publisher, rest // pieces)
        delivered(spoke, start + first + rest * (piece + 1) // pieces)
        loaded = memory(spoke.process.pid)
        private.append(loaded["Private_Dirty"] + loaded["Private_Clean"])
    elapsed = time.monotonic() - begun
    table.row("resident memory under load", loaded["Rss"], None, "", 14 * 1024, "KiB")
    # Between two moments the top of the heap may have moved by what OpenSSL takes and gives back for a record
    # (17 KiB). What is lost would raise the most that each half has seen.
    growth = max(private[pieces // 2:]) - max(private[:pieces // 2])
    table.row(f"private memory growth over {rest:,} records, second half over the first", max(growth, 0), None, "", 0, "KiB")
    table.row("the whole daemon's CPU per record, MQTT to TLS", (ticks(spoke.process.pid) - time_before) / rest * 1e6,
              unit="µs")
    table.row("records per second, MQTT to TLS (the publisher may be slower)", rest / elapsed)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="spoke-bench-") as work:
        authority = Authority(Path(work), "ca")
        measure(Table("Tests/Benchmarks/main_job.py"), Path(work), authority.server("server"), authority, "--quick" in sys.argv)

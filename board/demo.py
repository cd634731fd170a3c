"""What board/demo runs once everything is built. It uses the helpers of the black-box tests."""

import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "Tests/BlackBox"))

from broker import Broker, Publisher  # noqa: E402
from certificates import Authority  # noqa: E402
from serialport import BoardEmulator, nmea, vesc  # noqa: E402
from spoke import Spoke  # noqa: E402
from upstream import Answer, Upstream  # noqa: E402
from waiting import Deadline, wait_until  # noqa: E402

SENTENCES_PER_SECOND = 4
FRAMES_PER_SECOND = 10
MESSAGES_PER_SECOND = 5


class Table:
    """One line for each record that arrives."""

    def __init__(self):
        self.start = time.monotonic()
        self.lock = threading.Lock()

    def say(self, text):
        with self.lock:
            print(f"{time.monotonic() - self.start:6.2f}  {text}", flush=True)

    def head(self):
        print(f"{'time':>6}  {'what':<34} {'from':<28} {'bytes':>5}  body")

    def row(self, request):
        source = request.header("ce-subject") or request.header("ce-source")
        body = request.body
        text = body.decode() if body.isascii() and body.decode().isprintable() else body.hex(" ")
        self.say(f"{request.id:<34} {source:<28} {len(body):>5}  {text[:48]}")


def configuration(folder: Path, upstream: Upstream, broker: Broker) -> str:
    """board/scooter.toml, with the places of this machine."""
    places = {
        "https://ingest.example.com:443": upstream.url,
        "mqtt://127.0.0.1:1883": broker.url,
        "/dev/serial/by-path/platform-2.uart": str(folder / "gnss"),
        "/dev/serial/by-path/platform-1.uart": str(folder / "motor"),
        "/var/lib/spoke/spool": str(folder / "spool"),
        "/run/spoke/admin.sock": str(folder / "admin.sock"),
        "/etc/spoke/": f"{folder}/",
    }
    text = (ROOT / "board/scooter.toml").read_text()
    for old, new in places.items():
        assert f'"{old}' in text, f"board/scooter.toml has no {old}"
        text = text.replace(f'"{old}', f'"{new}')
    return text


def position(number: int) -> bytes:
    return nmea(f"GPRMC,{120000 + number % 60:06d}.00,A,5231.{number % 10000:04d},N,01324.{number % 7919:04d},E,0.5,54.7,231126,,")


def frame(number: int) -> bytes:
    """A COMM_GET_VALUES answer's shape: the command, then values that count up."""
    return bytes([4]) + b"".join((number * 37 + i).to_bytes(4, "big") for i in range(14))


class Board:
    """Two serial ports, each playing a file once, at its baud rate."""

    def __init__(self, folder: Path, seconds: float):
        self.sentences = [position(n) for n in range(max(1, int(seconds * SENTENCES_PER_SECOND)))]
        self.frames = [frame(n) for n in range(max(1, int(seconds * FRAMES_PER_SECOND)))]
        (folder / "sentences").write_bytes(b"".join(s + b"\r\n" for s in self.sentences))
        (folder / "frames").write_bytes(b"".join(map(vesc, self.frames)))
        self.emulators = [
            self.play(folder, "gnss", "nmea", 9600, "sentences", SENTENCES_PER_SECOND),
            self.play(folder, "motor", "vesc", 115200, "frames", FRAMES_PER_SECOND),
        ]

    @staticmethod
    def play(folder, name, framing, baud, file, rate):
        return BoardEmulator(
            folder, "--framing", framing, "--baud", str(baud), "--file", str(folder / file),
            "--rate", str(rate), "--link", str(folder / name), "--hold", name=name,
        )

    def stop(self):
        for emulator in self.emulators:
            emulator.stop()


class Messages:
    """State messages and, now and then, an alarm."""

    def __init__(self, broker):
        self.publisher = Publisher(broker, "board-program")
        self.number = 0

    def publish_for(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            n = self.number
            self.number += 1
            if n % 10 == 9:
                self.publisher.publish("alarm/tilt", b'{"alarm":"tilt","n":%d}' % n)
            else:
                self.publisher.publish(f"telemetry/{n % 3}/state", b'{"battery":%d,"n":%d}' % (97 - n // 50, n))
            time.sleep(1 / MESSAGES_PER_SECOND)


def compare(upstream: Upstream, expected: dict[str, list[bytes]]) -> list[str]:
    """Prints what went in beside what came out; returns what is wrong."""
    wrong = []
    print(f"\n{'stream':<10} {'in':>6} {'out':>6} {'missing':>8} {'again':>6}   order")
    for name, bodies in expected.items():
        requests = [r for r in upstream.whole() if r.path == f"/v1/{name}"]
        arrived = [r.body for r in requests]
        missing = [body for body in bodies if body not in set(arrived)]
        ids = {r.id for r in requests}
        # Only a stream with one request in flight promises the order of arrival.
        ordered = name in ("position", "motor") or list(dict.fromkeys(arrived)) == bodies
        print(f"{name:<10} {len(bodies):>6} {len(ids):>6} {len(missing):>8} {len(arrived) - len(ids):>6}   "
              f"{'kept' if ordered else 'LOST'}")
        if missing:
            wrong.append(f"{name}: {len(missing)} missing, the first: {missing[0]!r}")
        if not ordered:
            wrong.append(f"{name}: the order was lost")
    return wrong


def play(folder: Path, seconds: float) -> list[str]:
    authority = Authority(folder, "ca")
    authority.client("device", "scooter-0042")
    table = Table()

    def rule(request):
        table.row(request)
        return Answer(status=204)

    upstream = Upstream(authority.server("server"), rule, client_authority=authority.certificate)
    broker = Broker(folder, "max_queued_messages 0")
    spoke, board = Spoke(folder), None
    try:
        playing = seconds * 0.55
        board = Board(folder, playing)
        spoke.start(configuration(folder, upstream, broker))
        table.say(f"spoked is ready; the upstream is {upstream.url}, the broker {broker.url}")
        table.head()
        messages = Messages(broker)
        messages.publish_for(seconds * 0.2)
        table.say("---- the upstream goes away")
        upstream.stop()
        messages.publish_for(seconds * 0.15)
        table.say("---- the upstream is back")
        upstream.start()
        messages.publish_for(seconds * 0.25)
        wait_for_ports(spoke, board)
        # What comes in by serial while no one listens is gone by nature, so the ports are quiet now.
        table.say("---- spoked is killed (SIGKILL) and started again")
        spoke.kill()
        messages.publish_for(seconds * 0.1)
        spoke.start()
        messages.publish_for(seconds * 0.2)
        messages.publisher.flush()
        acknowledged = sorted(messages.publisher.acknowledged, key=lambda m: int(m.rsplit(b":", 1)[1][:-1]))
        expected = {
            "position": board.sentences,
            "motor": board.frames,
            "state": [m for m in acknowledged if b"battery" in m],
            "alarms": [m for m in acknowledged if b"alarm" in m],
        }
        wait_for_everything(upstream, expected)
        wrong = compare(upstream, expected)
        print_memory(spoke)
        messages.publisher.close()
        code, took = spoke.terminate()
        print(f"spoked ended with exit code {code} {took:.2f} s after SIGTERM")
        return wrong + ([f"spoked's exit code was {code}"] if code else [])
    finally:
        if board is not None:
            board.stop()
        spoke.cleanup()
        broker.stop()
        upstream.stop()


def wait_for_ports(spoke, board):
    """Until every frame was taken in and is with the upstream: `spill` records wait in memory."""
    for name, frames in (("gnss", board.sentences), ("motor", board.frames)):
        spoke.wait_for_stat(f"spoke.serial.{name}.frames", len(frames), 60)
    for name in ("position", "motor"):
        wait_until(
            lambda n=name: spoke.stat(f"spoke.stream.{n}.backlog_records") == 0,
            f"the stream {name} is delivered", 60, 0.05,
        )


def wait_for_everything(upstream, expected):
    wanted = {body for bodies in expected.values() for body in bodies}
    try:
        wait_until(lambda: wanted <= {r.body for r in upstream.whole()}, "everything upstream", 60, 0.1)
    except Deadline:
        print("gave up waiting: not everything arrived")


def print_memory(spoke):
    status = Path(f"/proc/{spoke.process.pid}/status").read_text()
    resident = int(status.split("VmRSS:")[1].split()[0])
    print(f"\nspoked: {spoke.binary.stat().st_size / 1024:.0f} KiB on disk, {resident / 1024:.1f} MiB resident")


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    folder = Path(tempfile.mkdtemp(prefix="spoke-demo-"))
    os.chmod(folder, 0o755)
    try:
        wrong = play(folder, float(sys.argv[1]))
    except Deadline as deadline:
        wrong = [str(deadline)]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for line in wrong:
        print(f"FAILED: {line}", file=sys.stderr)
    print("everything that went in came out" if not wrong else "the demo failed")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

"""Starts spoked with a configuration in a folder of its own, and talks to it as an operator does."""

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from waiting import Deadline, wait_until

ROOT = Path(__file__).resolve().parents[2]
BINARIES = Path(os.environ.get("SPOKE_BIN", ROOT / ".build/release"))


def program(name: str) -> Path:
    path = BINARIES / name
    assert path.exists(), f"{path} is not built: swift build -c release"
    return path


SMALL_SPOOL = 'size = "8MiB"\nsegment = "64KiB"\nfree_floor = "64KiB"'


def configuration(folder: Path, *parts: str, admin=True, spool=SMALL_SPOOL, log="debug") -> str:
    """A complete configuration around the parts that a test is about."""
    head = f"""
[node]
id = "board-1"
cluster = "boards"

[spool]
directory = "{folder}/spool"
{spool}

[log]
level = "{log}"
"""
    if admin:
        head += f'\n[admin]\nsocket = "{folder}/admin.sock"\n'
    return head + "\n".join(parts)


def stream(name: str, target: str, **keys) -> str:
    lines = [f'[[stream]]\nname = "{name}"\ntarget = "{target}"']
    return "\n".join(lines + [f"{key} = {toml(value)}" for key, value in keys.items()]) + "\n"


def serial(name: str, device, to: str, framing="line", baud=115200, **keys) -> str:
    lines = [
        f'[[serial]]\nname = "{name}"\ndevice = "{device}"\nbaud = {baud}\n'
        f'framing = {toml(framing)}\nstream = "{to}"'
    ]
    return "\n".join(lines + [f"{key} = {toml(value)}" for key, value in keys.items()]) + "\n"


def mqtt(url: str, *subscriptions: tuple[str, str], qos=1, **keys) -> str:
    text = f'[mqtt]\nbroker = "{url}"\n'
    text += "".join(f"{key} = {toml(value)}\n" for key, value in keys.items())
    for topic, to in subscriptions:
        text += f'[[mqtt.subscribe]]\nfilter = "{topic}"\nqos = {qos}\nstream = "{to}"\n'
    return text


def tls(name: str, **keys) -> str:
    return f"[tls.{name}]\n" + "".join(f'{key} = "{value}"\n' for key, value in keys.items())


def toml(value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "{ " + ", ".join(f'"{k}" = {toml(v)}' for k, v in value.items()) + " }"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(toml(v) for v in value) + "]"
    return str(value) if isinstance(value, (int, float)) else json.dumps(str(value))


class Spoke:
    """One daemon. Started and stopped many times over the same folder if a test wants."""

    def __init__(self, folder: Path, binary=None, wrapper=(), environment=None):
        self.folder = folder
        self.file = folder / "spoke.toml"
        self.admin = folder / "admin.sock"
        self.binary = binary or program("spoked")
        self.wrapper = list(wrapper)
        self.environment = environment or {}
        self.log_file = folder / "spoked.log"
        self.process = None
        self.notifications: list[str] = []
        self._notify = None

    # Life

    def configure(self, text: str):
        self.file.write_text(text)
        return self

    def start(self, text=None, ready=True, seconds=20.0):
        if text is not None:
            self.configure(text)
        self._listen_for_notifications()
        environment = {**os.environ, "NOTIFY_SOCKET": str(self.folder / "notify"), **self.environment}
        environment.pop("JOURNAL_STREAM", None)
        self._log_start = self.log_file.stat().st_size if self.log_file.exists() else 0
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.wrapper, str(self.binary), "--config", str(self.file)],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment,
            )
        if ready:
            self.wait_for_notification("READY=1", seconds)
        return self

    def _listen_for_notifications(self):
        if self._notify is not None:
            self._notify.close()
        path = self.folder / "notify"
        path.unlink(missing_ok=True)
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notify.bind(str(path))
        self._notify.setblocking(False)
        self.notifications = []

    def read_notifications(self) -> list[str]:
        with contextlib.suppress(BlockingIOError):
            while True:
                self.notifications += self._notify.recv(4096).decode().split("\n")
        return self.notifications

    def wait_for_notification(self, line: str, seconds=20.0, count=1):
        def came():
            if self.read_notifications().count(line) >= count:
                return True
            if self.process.poll() is not None:
                raise Deadline(f"spoked exited with {self.process.returncode}:\n{self.log[-3000:]}")
            return False

        wait_until(came, lambda: f"{line} from spoked; its log:\n{self.log[-3000:]}", seconds)

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def kill(self):
        self.process.kill()
        self.process.wait()

    def signal(self, number):
        self.process.send_signal(number)

    def terminate(self, seconds=20.0) -> tuple[int, float]:
        """SIGTERM; the exit code and how long it took."""
        start = time.monotonic()
        self.process.terminate()
        try:
            return self.process.wait(seconds), time.monotonic() - start
        except subprocess.TimeoutExpired:
            self.kill()
            raise Deadline(f"spoked did not end within {seconds} s:\n{self.log[-3000:]}") from None

    def reload(self, text=None, seconds=20.0):
        """SIGHUP, and waits until the daemon says that it is done."""
        if text is not None:
            self.configure(text)
        before = self.read_notifications().count("READY=1")
        self.signal(signal.SIGHUP)
        self.wait_for_notification("READY=1", seconds, before + 1)

    def cleanup(self):
        if self.running:
            self.kill()
        if self._notify is not None:
            self._notify.close()

    # What it says

    @property
    def log(self) -> str:
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    @property
    def log_since_start(self) -> str:
        return self.log_file.read_bytes()[self._log_start :].decode(errors="replace")

    def wait_for_ports(self, seconds=15.0):
        """Every port is open and takes bytes. That somebody holds the terminal says less: what came before the
        port was prepared is thrown away."""
        wait_until(
            lambda: {port["state"] for port in self.json("/serial")["ports"]} == {"open"},
            lambda: f"open ports: {self.get('/serial')}\n{self.log[-2000:]}", seconds)

    def wait_for_log(self, text: str, seconds=15.0) -> str:
        def found():
            return next((l for l in self.log.splitlines() if text.lower() in l.lower()), None)

        return wait_until(found, lambda: f"{text!r} in the log:\n{self.log[-3000:]}", seconds)

    def get(self, path: str, method="GET") -> tuple[int, str, str]:
        """Status, content type and text of an admin page."""
        connection = http.client.HTTPConnection("localhost", timeout=20)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(20)
        connection.sock.connect(str(self.admin))
        try:
            connection.request(method, path)
            response = connection.getresponse()
            return response.status, response.getheader("content-type", ""), response.read().decode()
        finally:
            connection.close()

    def json(self, path: str):
        status, _, text = self.get(path)
        assert status == 200, f"{path}: {status} {text}"
        return json.loads(text)

    def stats(self) -> dict[str, int]:
        status, _, text = self.get("/stats")
        assert status == 200, text
        found = {}
        for line in text.splitlines():
            name, separator, value = line.partition(": ")
            if separator and value.strip().lstrip("-").isdigit():
                found[name] = int(value)
        return found

    def stat(self, name: str) -> int:
        stats = self.stats()
        assert name in stats, f"{name} is not among the statistics: {sorted(stats)}"
        return stats[name]

    def wait_for_stat(self, name: str, minimum: int, seconds=15.0) -> int:
        wait_until(
            lambda: self.stat(name) >= minimum,
            lambda: f"{name} >= {minimum}: {self.stat(name)}\n{self.log[-2000:]}",
            seconds, 0.05,
        )
        return self.stat(name)


def check(folder: Path, text: str, *arguments: str):
    """`spoked --check` on a configuration: the finished process."""
    file = folder / "checked.toml"
    file.write_text(text)
    return subprocess.run(
        [program("spoked"), "--check", "--config", file, *arguments],
        capture_output=True, text=True, timeout=60,
    )


def preloaded(folder: Path, source: str) -> Path:
    """A C file of this folder as a library for LD_PRELOAD."""
    library = folder / Path(source).with_suffix(".so")
    compiler = shutil.which("cc") or shutil.which("clang")
    assert compiler, "no C compiler"
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-Wall", "-o", library, Path(__file__).parent / source, "-ldl"], check=True)
    return library


def emulator_for(architecture: str) -> list[str]:
    """The command that runs a board's programs here: qemu with the board's libraries."""
    names = {"aarch64": ("qemu-aarch64-static", "qemu-aarch64"), "armhf": ("qemu-arm-static", "qemu-arm")}
    found = next((p for n in names[architecture] if (p := shutil.which(n))), None)
    assert found, f"no qemu-user for {architecture}"
    cache = os.environ.get("XDG_CACHE_HOME")
    base = Path(cache) / "spoke" if cache else ROOT / ".build-sysroot"
    sysroot = Path(os.environ.get("SPOKE_SYSROOT", base / architecture))
    return [found, "-L", str(sysroot)]

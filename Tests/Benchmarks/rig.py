"""What several measurements stand on: an upstream of others, a proxy that counts, records that are published."""

import contextlib
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "Tests/BlackBox"))

from broker import free_port  # noqa: E402
from waiting import wait_until  # noqa: E402


@contextlib.contextmanager
def nghttpd(folder: Path, identity=None):
    """nghttpd on a free port: over TLS with an identity, else h2c."""
    documents = folder / "documents/v1"
    documents.mkdir(parents=True, exist_ok=True)
    (documents / "state").write_text("ok\n")
    port = free_port()
    program = shutil.which("nghttpd", path="/usr/sbin:/usr/bin")
    command = [program, "-d", str(documents.parent)]
    command += [str(port), str(identity.key), str(identity.certificate)] if identity else ["--no-tls", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def listening():
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 1).close()
            return True

    wait_until(listening, "nghttpd listens")
    try:
        yield port
    finally:
        process.kill()
        process.wait()


class CountingProxy:
    """Passes TCP through and counts the bytes of each direction."""

    def __init__(self, port):
        self.target, self.up, self.down = port, 0, 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                server = socket.create_connection(("127.0.0.1", self.target))
                for sock in (client, server):
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self.copy, args=(client, server, "up"), daemon=True).start()
                threading.Thread(target=self.copy, args=(server, client, "down"), daemon=True).start()

    def copy(self, source, sink, direction):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                setattr(self, direction, getattr(self, direction) + len(data))
                sink.sendall(data)
        for sock in (source, sink):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)


def connected(spoke):
    wait_until(lambda: spoke.stat("spoke.mqtt.connected") == 1, lambda: spoke.log[-2000:])


def publish(publisher, count, size=200):
    # In pieces: a packet identifier has 16 bits, and paho gives one out again that is still in use.
    for start in range(0, count, 10_000):
        for number in range(start, min(start + 10_000, count)):
            publisher.publish("in/state", b"%08d" % number + b"x" * (size - 8))
        publisher.flush(300)


def delivered(spoke, count):
    spoke.wait_for_stat("spoke.stream.state.delivered", count, 300)

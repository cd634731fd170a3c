"""The platform layer of the release build (Embedded Swift) against mosquitto, OpenSSL and pyserial.

The unit tests do the same things in the debug build, and more; here a process is really killed, and
the threads, callbacks and descriptors are those of the program that runs on a board.
"""

import os
import pathlib
import pty
import socket
import subprocess
import sys
import time
import tty

import pytest

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
sys.path.append(str(REPOSITORY / "Tests/BlackBox"))

from ports import free_port  # noqa: E402

BINARIES = pathlib.Path(os.environ.get("SPOKE_BIN", REPOSITORY / ".build/release"))
PROBE = [str(BINARIES / "probe")]


def wait_for(port):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.01)
    raise AssertionError(f"nobody listens on {port}")


@pytest.fixture
def broker(tmp_path):
    port = free_port()
    # Nothing is acknowledged: with the usual window of 20 the last ones would not come.
    (tmp_path / "conf").write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\nmax_inflight_messages 0\n")
    process = subprocess.Popen(
        ["mosquitto", "-c", tmp_path / "conf"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(port)
    yield port
    process.kill()
    process.wait()


def hold(broker, count, publish=()):
    """The messages that a client which never acknowledges gets before it is killed."""
    process = subprocess.Popen(
        [*PROBE, "mqtt-hold", str(broker), "held", "t/#"], stdout=subprocess.PIPE)
    lines = []
    try:
        deadline = time.monotonic() + 60
        while publish and not lines:
            assert time.monotonic() < deadline and process.poll() is None, "there is no subscription"
            # Until the subscription is there, nothing is kept for it.
            subprocess.run(
                ["mosquitto_pub", "-p", str(broker), "-q", "1", "-t", "t/ready", "-m", "ready"],
                check=True)
            os.set_blocking(process.stdout.fileno(), False)
            lines += (process.stdout.read() or b"").splitlines()
        os.set_blocking(process.stdout.fileno(), True)
        for text in publish:
            subprocess.run(
                ["mosquitto_pub", "-p", str(broker), "-q", "1", "-t", "t/data", "-m", text],
                check=True)
        data = [line for line in lines if line.startswith(b"t/data")]
        while len(data) < count:
            line = process.stdout.readline()
            assert line, f"it ended: {data}"
            line = line.rstrip(b"\n")
            if line.startswith(b"t/data"):
                data.append(line)
        return data
    finally:
        process.kill()
        process.wait()


def test_killed_without_acknowledging_everything_is_delivered_again(broker):
    texts = [f"message {number}" for number in range(5)]
    expected = [b"t/data " + text.encode() for text in texts]
    assert hold(broker, 5, texts) == expected
    for _ in range(3):
        assert hold(broker, 5) == expected


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    folder = tmp_path_factory.mktemp("certificates")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
         "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout",
         "key.pem", "-out", "ca.pem"], cwd=folder, check=True, capture_output=True)
    return folder


@pytest.fixture
def reverser(certificates):
    port = free_port()
    process = subprocess.Popen(
        ["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-quiet", "-rev", "-alpn", "h2",
         "-cert", certificates / "ca.pem", "-key", certificates / "key.pem"],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(port)
    yield port
    process.kill()
    process.wait()


@pytest.mark.parametrize(
    "host, name, answer",
    [
        ("127.0.0.1", "localhost", "olleh"),
        ("127.0.0.1", "127.0.0.1", "olleh"),
        ("localhost", "localhost", "olleh"),
        ("127.0.0.1", "example.com",
         "TLS handshake with example.com: certificate verify failed: hostname mismatch: "
         "the certificate is for localhost, 127.0.0.1"),
    ])
def test_tls_line_through_resolver_and_transport(certificates, reverser, host, name, answer):
    done = subprocess.run(
        [*PROBE, "tls-line", host, str(reverser), certificates / "ca.pem", name],
        capture_output=True, timeout=60, text=True)
    # A machine may know localhost as ::1 first; the server listens on IPv4 only.
    if host == "localhost" and "refused" in done.stdout:
        pytest.skip("localhost is ::1 here")
    assert done.stdout.strip() == answer


def test_serial_bytes_arrive_unchanged(tmp_path):
    master, slave = pty.openpty()
    tty.setraw(slave)
    data = bytes([0x03, 0x11, 0x13, 0x0D, 0x0A, 0x1A, 0x00, 0xFF, 0xFF]) + bytes(range(256))
    process = subprocess.Popen(
        [*PROBE, "serial-hex", os.ttyname(slave), "12345", str(len(data))], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"open\n"
    os.write(master, data)
    assert process.stdout.readline().strip() == data.hex().encode()
    assert process.wait(30) == 0
    os.close(master)
    os.close(slave)


def test_serial_hang_up_ends_the_read(tmp_path):
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [*PROBE, "serial-hex", os.ttyname(slave), "9600", "10"], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"open\n"
    os.close(slave)
    os.close(master)
    assert process.stdout.readline() == b"hang-up\n"
    assert process.wait(30) == 0


def test_two_processes_do_not_share_a_port():
    master, slave = pty.openpty()
    path = os.ttyname(slave)
    first = subprocess.Popen([*PROBE, "serial-hex", path, "9600", "10"], stdout=subprocess.PIPE)
    assert first.stdout.readline() == b"open\n"
    second = subprocess.run(
        [*PROBE, "serial-hex", path, "9600", "10"], capture_output=True, text=True, timeout=60)
    assert second.stdout == f"{path}: EBUSY, another process or another [[serial]] uses it\n"
    first.kill()
    first.wait()
    os.close(master)
    os.close(slave)

"""The admin endpoint's HTTP/1.1 and pages against Python's http.client, json, re and Prometheus' own
parser."""

import http.client
import json
import os
import pathlib
import random
import re
import socket
import subprocess
import time

import pytest
from prometheus_client.parser import text_string_to_metric_families

REPO = pathlib.Path(__file__).resolve().parents[2]
PROBE = pathlib.Path(os.environ.get("SPOKE_BIN", REPO / ".build/release")) / "probe"

STATISTICS = {
    "cluster.ingest.example.com_443.upstream_rq_total": ("counter", 42),
    "cluster.ingest.example.com_443.upstream_cx_active": ("gauge", 1),
    "cluster.ingest.example.com_443.upstream_rq_2xx": ("counter", 40),
    "cluster.ingest.example.com_443.upstream_rq_200": ("counter", 39),
    "cluster.backup.upstream_rq_total": ("counter", 0),
    "cluster.backup.outlier_detection.ejections_active": ("gauge", 0),
    "control_plane.connected_state": ("gauge", 1),
    "listener_manager.lds.update_success": ("counter", 2**64 - 1),
    "spoke.stream.state.records_in": ("counter", 7),
    "spoke.stream.gnss.records_in": ("counter", 8),
    "spoke.serial.ecu.bad_frames": ("counter", 9),
    "spoke.memory.http2.high": ("gauge", 65536),
    "spoke.spool.bytes_written": ("counter", 5),
}


@pytest.fixture
def connect():
    started = []

    def begin(statistics=STATISTICS):
        ours, theirs = socket.socketpair()
        argument = ";".join(f"{kind}/{name}/{value}" for name, (kind, value) in statistics.items())
        process = subprocess.Popen([PROBE, "admin", argument], stdin=theirs, stdout=theirs)
        theirs.close()
        ours.settimeout(60)
        connection = http.client.HTTPConnection("localhost")
        connection.sock = ours
        started.append((process, ours))
        return connection

    yield begin
    for process, ours in started:
        ours.close()
        assert process.wait(timeout=60) == 0


def get(connection, target, method="GET", **arguments):
    connection.request(method, target, **arguments)
    response = connection.getresponse()
    return response, response.read()


def test_one_connection_serves_many_requests(connect):
    connection = connect()
    for _ in range(20):
        response, body = get(connection, "/stats")
        assert response.status == 200
        assert response.headers["content-type"] == "text/plain; charset=UTF-8"
        expected = "".join(f"{n}: {v}\n" for n, (_, v) in sorted(STATISTICS.items()))
        assert body.decode() == expected
    response, body = get(connection, "/stats", method="HEAD")
    assert (response.status, body) == (200, b"")
    assert int(response.headers["content-length"]) == len(expected)
    response, _ = get(connection, "/nothing")
    assert response.status == 404
    response, _ = get(connection, "/stats", method="POST", body=b"x" * 5000)
    assert response.status == 200
    response, _ = get(connection, "/stats", method="DELETE")
    assert response.status == 405
    assert response.headers["allow"] == "GET, HEAD, POST"
    assert response.headers["connection"] == "close"


def test_requests_sent_ahead_are_answered_in_order(connect):
    connection = connect()
    names = sorted(STATISTICS)
    connection.sock.sendall(b"".join(
        f"GET /stats?filter=^{n}$ HTTP/1.1\r\nHost: x\r\n\r\n".encode() for n in names))
    for name in names:
        response = http.client.HTTPResponse(Unbuffered(connection.sock), method="GET")
        response.begin()
        assert response.read().decode() == f"{name}: {STATISTICS[name][1]}\n"


class Unbuffered:
    """A socket whose reader does not take more than one response."""

    def __init__(self, sock):
        self.sock = sock

    def makefile(self, mode):
        return self.sock.makefile(mode, buffering=0)


def test_json_is_envoys(connect):
    response, body = get(connect(), "/stats?format=json")
    assert response.headers["content-type"] == "application/json"
    assert json.loads(body) == {
        "stats": [{"name": n, "value": v} for n, (_, v) in sorted(STATISTICS.items())]
    }


def test_prometheus_own_parser_reads_the_page(connect):
    response, body = get(connect(), "/stats/prometheus")
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = list(text_string_to_metric_families(body.decode()))
    samples = {
        (s.name, tuple(sorted(s.labels.items()))): s.value for f in families for s in f.samples
    }
    assert len(samples) == len(STATISTICS)
    # The parser turns the text format's counters into OpenMetrics': `_total` is added where missing.
    cluster = ("envoy_cluster_name", "ingest.example.com_443")
    assert samples[("envoy_cluster_upstream_rq_total", (cluster,))] == 42
    assert samples[("envoy_cluster_upstream_rq_total", (cluster, ("envoy_response_code", "200")))] == 39
    assert samples[
        ("envoy_cluster_upstream_rq_xx_total", (cluster, ("envoy_response_code_class", "2")))] == 40
    assert samples[("envoy_control_plane_connected_state", ())] == 1
    assert samples[("spoke_stream_records_in_total", (("stream", "gnss"),))] == 8
    assert samples[("spoke_serial_bad_frames_total", (("port", "ecu"),))] == 9
    assert samples[("spoke_memory_high", (("pool", "http2"),))] == 65536
    assert {f.name: f.type for f in families}["envoy_cluster_upstream_cx_active"] == "gauge"
    assert {f.type for f in families} == {"counter", "gauge"}
    types = [line for line in body.decode().splitlines() if line.startswith("# TYPE")]
    assert len(types) == len(set(types)), "one TYPE line for each metric"


@pytest.mark.parametrize("seed", range(5))
def test_filters_find_what_python_finds(connect, seed):
    """In this subset RE2 and Python's re agree."""
    rng = random.Random(seed)
    connection = connect()
    tokens = ["a", "s", "t", r"\.", "cluster", "upstream", "_rq", ".", ".*", ".+", "spoke", "|", "_"]
    for _ in range(200):
        pattern = "".join(rng.choices(tokens, k=rng.randrange(1, 6)))
        pattern = rng.choice(["", "^"]) + pattern + rng.choice(["", "$"])
        quoted = "".join(f"%{ord(c):02x}" for c in pattern)
        response, body = get(connection, f"/stats?filter={quoted}")
        assert response.status == 200, pattern
        found = [line.split(": ")[0] for line in body.decode().splitlines()]
        assert found == sorted(n for n in STATISTICS if re.search(pattern, n)), f"seed {seed}: {pattern}"


def wait_for_listener(server, path):
    """The path is there before anybody listens at it."""
    deadline = time.monotonic() + 60
    while True:
        try:
            with socket.socket(socket.AF_UNIX) as client:
                return client.connect(str(path))
        except OSError:
            assert server.poll() is None and time.monotonic() < deadline, "nobody listens"
            time.sleep(0.01)


def test_curl_reads_it_through_a_unix_socket(tmp_path):
    path = tmp_path / "admin.sock"
    server = subprocess.Popen(
        ["socat", f"UNIX-LISTEN:{path},fork", f"EXEC:{PROBE} admin gauge/server.live/1"])
    try:
        wait_for_listener(server, path)
        command = ["curl", "-sS", "--max-time", "60", "--unix-socket", path, "http://spoke/stats"]
        assert subprocess.check_output(command) == b"server.live: 1\n"
        head = subprocess.check_output([*command, "-I"]).decode()
        assert "content-length: 15\r\n" in head
        # curl waits for 100 Continue before a body of this size.
        posted = subprocess.run(
            [*command, "--data-binary", "@-", "-H", "Expect: 100-continue", "-w", "%{http_code}"],
            input=b"x" * 65536, capture_output=True, check=True)
        assert posted.stdout == b"server.live: 1\n200"
    finally:
        server.terminate()
        server.wait(timeout=60)

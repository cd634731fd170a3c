"""The operator's tool against an HTTP server that others wrote, on a Unix socket."""

import http.server
import json
import os
import pathlib
import socket
import socketserver
import subprocess
import threading

import pytest

REPO = pathlib.Path(__file__).resolve().parents[2]
SPOKECTL = pathlib.Path(os.environ.get("SPOKE_BIN", REPO / ".build/release")) / "spokectl"

PAGES = {
    "/ready": b"LIVE\n",
    "/memory": b'{"pools": []}',
    "/stats?format=text": b"server.live: 1\n",
    "/stats?format=json": b'{"stats":[]}',
    "/stats?format=text&filter=%5espoke%5c.%2a": b"spoke.spool.bytes: 5\n",
    "/server_info": json.dumps({
        "version": "0.1.0", "state": "LIVE", "uptime_current_epoch": "62s",
        "node": {"id": "scooter-0042"}, "status": "serial 1/2 open, mqtt connected",
    }).encode(),
    "/streams": json.dumps({"streams": [
        {"name": "state", "records_in": 12, "delivered": 7, "retried": 1, "dropped": 1, "expired": 2,
         "parked": 2, "held": False, "backlog_records": 0, "new_key": [1, {"x": None}]},
        {"name": "gnss-é", "records_in": 1234567, "delivered": 5, "retried": 0, "dropped": 0,
         "expired": 0, "parked": 0, "held": True, "held_status": 403, "backlog_records": 1234562,
         "last_failure": "connection refused\x1b[31m"},
    ]}).encode(),
    "/serial": json.dumps({"ports": [
        {"name": "ecu", "device": "/dev/ttyS1", "frames": 10, "bad_frames": 1, "resyncs": 0,
         "state": "open", "detail": "", "termios": "9600 CS8 PARENB", "rs485": "SER_RS485_ENABLED",
         "low_latency": True, "garbage": True, "damaged_bytes": 9, "breaks": 9,
         "icount": {"frame": 1, "overrun": 2, "parity": 0, "brk": 0, "buf_overrun": 4}},
        {"name": "bms", "device": "/dev/ttyS2", "frames": 0, "bad_frames": 0, "resyncs": 0,
         "state": "closed", "detail": "No such file or directory", "termios": "", "rs485": "",
         "low_latency": False, "garbage": False, "damaged_bytes": 2, "breaks": 1, "icount": None},
    ]}).encode(),
    "/mqtt": json.dumps({
        "configured": True, "host": "127.0.0.1", "port": 1883, "connected": True, "messages": 77,
        "unacknowledged": 2, "detail": "",
    }).encode(),
    "/config_dump": json.dumps({
        "resources": [
            {"type": "cluster", "type_url": "…", "name": "telemetry", "version": "7", "state": "NACKED",
             "source": "server", "last_updated": "2026-11-23T18:10:39.123Z",
             "error": {"version": "8", "time": "2026-11-23T18:10:40.000Z", "message": "type: not supported"},
             "not_applied": ["outlier_detection"], "clamped": ["max_requests: 1024, the device takes 64"]},
            {"type": "listener", "type_url": "…", "name": "ingest", "version": "", "state": "REQUESTED",
             "source": "server", "last_updated": None},
        ],
        "control_plane": {"configured": True, "connected": True, "server": "xds.example.com", "transport": "sotw",
                          "identifier": "plane-1"},
    }).encode(),
    "/failed_requests": json.dumps({"failed_requests": [
        {"cluster": "telemetry", "stream": "state", "time": "2026-11-23T18:10:39.123Z", "status": 503, "attempts": 2,
         "not_retried": "limit", "details": "overloaded"},
    ]}).encode(),
    "/route?authority=ingest&path=%2fv1%3fa%3db&method=GET&listener=l&header=x-a%3d1&header=x-b%3d": b"listener l: \n",
    "/route?authority=ingest&path=%2f&format=json": b'{"steps":[]}',
    "/spool": json.dumps({
        "size": 50331648, "bytes": 1234567, "records": 1234562, "segments": 5, "corrupt_frames": 0,
        "degraded": False,
    }).encode(),
}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        page = PAGES.get(self.path)
        body = page if page is not None else f"no such page: {self.path}\n".encode()
        self.send_response(200 if page is not None else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self):
        return "unix"

    def log_message(self, *_):
        pass


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


@pytest.fixture
def daemon(tmp_path):
    path = tmp_path / "admin.sock"
    with Server(str(path), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield path
        server.shutdown()


def spokectl(*arguments):
    return subprocess.run([SPOKECTL, *arguments], capture_output=True, timeout=60)


def test_status_is_a_page_for_a_person(daemon):
    result = spokectl("--socket", daemon, "status")
    assert (result.returncode, result.stderr) == (0, b"")
    assert result.stdout.decode().splitlines() == [
        "spoke 0.1.0, LIVE, node scooter-0042, up 62s",
        "serial 1/2 open, mqtt connected",
        "",
        "STREAM  IN       DELIVERED  RETRIED  DROPPED  PARKED  WAITING  STATE",
        "state   12       7          1        3        2       0        ok",
        "gnss-é  1234567  5          0        0        0       1234562  held 403, last failure connection refused?[31m",
        "",
        "PORT  DEVICE      LINE                                                 FRAMES  BAD  ERRORS  RESYNCS  STATE",
        "ecu   /dev/ttyS1  9600 CS8 PARENB SER_RS485_ENABLED ASYNC_LOW_LATENCY  10      1    7       0        "
        "open, garbage: check baud, parity, framing",
        "bms   /dev/ttyS2  -                                                    0       0    3       0        "
        "closed, No such file or directory",
        "",
        "mqtt: connected, 127.0.0.1:1883, 77 messages, 2 unacknowledged",
        "",
        "spool: 1205 KiB of 48 MiB, 1234562 records in 5 segments, 0 corrupt frames",
    ]


def test_status_as_json_holds_every_page(daemon):
    result = spokectl("status", "--json", f"--socket={daemon}")
    assert result.returncode == 0
    document = json.loads(result.stdout)
    for name in ["server_info", "streams", "serial", "mqtt", "spool"]:
        assert document[name] == json.loads(PAGES["/" + name])


@pytest.mark.parametrize(
    ("arguments", "page"),
    [
        (["stats"], "/stats?format=text"), (["--json", "stats"], "/stats?format=json"),
        (["stats", r"^spoke\.*"], "/stats?format=text&filter=%5espoke%5c.%2a"),
        (["memory"], "/memory"), (["get", "/ready"], "/ready"), (["get", "/streams"], "/streams"),
    ])
def test_a_page_is_printed_as_it_is(daemon, arguments, page):
    result = spokectl("--socket", daemon, *arguments)
    assert (result.returncode, result.stderr) == (0, b"")
    assert result.stdout == PAGES[page].removesuffix(b"\n") + b"\n"


@pytest.mark.parametrize("arguments", [
    ["stats"], ["status"], ["status", "--json"], ["memory"], ["get", "/ready"], ["xds"], ["failures"],
    ["route", "--authority", "ingest", "--path", "/", "--json"], ["--help"], ["--version"]])
def test_an_output_that_takes_nothing_is_no_success(daemon, arguments):
    with open("/dev/full", "wb") as full:
        result = subprocess.run(
            [SPOKECTL, "--socket", daemon, *arguments], stdout=full, stderr=subprocess.PIPE, timeout=60)
    assert (result.returncode, result.stderr) == (1, b"spokectl: the output could not be written\n")


def test_an_error_page_is_told_apart_from_no_daemon(daemon):
    result = spokectl("--socket", daemon, "get", "/nothing")
    assert (result.returncode, result.stdout) == (1, b"")
    assert result.stderr == b"spokectl: 404 no such page: /nothing\n"


def test_no_daemon_is_69_and_names_the_socket(tmp_path):
    for path in [tmp_path / "none.sock", tmp_path, "/" + "x" * 200]:
        result = spokectl("--socket", path, "status")
        assert (result.returncode, result.stdout) == (69, b"")
        assert str(path) in result.stderr.decode()


@pytest.mark.parametrize(
    "answer",
    [b"", b"SSH-2.0-x\r\n", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\n\r\nno length",
     b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort", b"HTTP/1.1 20x OK\r\n\r\n"])
def test_an_answer_that_is_not_http_or_cut_short_is_69(tmp_path, answer):
    path = tmp_path / "odd.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve():
            peer, _ = listener.accept()
            with peer:
                peer.recv(65536)
                peer.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        result = spokectl("--socket", path, "get", "/ready")
        thread.join()
    assert (result.returncode, result.stdout) == (69, b"")


def test_a_daemon_that_hangs_is_69_after_five_seconds(tmp_path):
    path = tmp_path / "hung.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        result = spokectl("--socket", path, "get", "/ready")
    assert result.returncode == 69
    assert b"no answer within 5 seconds" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [[], ["nothing"], ["--nothing", "status"], ["status", "x"], ["get"], ["get", "ready"],
     ["get", "/a b"], ["stats", "a", "b"], ["--socket"], ["status", "--config", "x"], ["--socket="]])
def test_wrong_use_is_64_with_the_reason(arguments):
    result = spokectl(*arguments)
    assert (result.returncode, result.stdout) == (64, b"")
    assert result.stderr.startswith(b"spokectl: ")
    assert b"--help" in result.stderr


def test_help_and_version():
    result = spokectl("--help")
    assert result.returncode == 0 and result.stdout.startswith(b"Usage: spokectl")
    assert all(len(line) <= 100 for line in result.stdout.decode().splitlines())
    result = spokectl("--version")
    assert result.returncode == 0 and result.stdout.startswith(b"spokectl ")


def test_check_names_the_place_of_every_error(tmp_path):
    file = tmp_path / "spoke.toml"
    file.write_text('[node]\nid = "a"\nclustre = "b"\n[node\n')
    result = spokectl("check", "--config", file)
    assert (result.returncode, result.stdout) == (78, b"")
    assert f"{file}:" in result.stderr.decode()
    result = spokectl("check", "--config", tmp_path / "none.toml")
    assert result.returncode == 78
    assert "none.toml" in result.stderr.decode()


def test_check_accepts_the_example():
    result = spokectl("check", "--config", REPO / "board/scooter.toml")
    assert (result.returncode, result.stdout) == (0, b"")


def test_xds_is_a_table_of_resources_with_their_errors_and_remarks(daemon):
    result = spokectl("--socket", daemon, "xds")
    assert (result.returncode, result.stderr) == (0, b"")
    assert result.stdout.decode().splitlines() == [
        "control plane: connected, xds.example.com, sotw, plane-1",
        "",
        "TYPE      NAME       VERSION  STATE      SOURCE  UPDATED                   REMARKS",
        "cluster   telemetry  7        NACKED     server  2026-11-23T18:10:39.123Z  version 8: type: not supported; "
        "not applied: outlier_detection; clamped: max_requests: 1024, the device takes 64",
        "listener  ingest     -        REQUESTED  server  -                         -",
    ]
    assert json.loads(spokectl("--socket", daemon, "--json", "xds").stdout) == json.loads(PAGES["/config_dump"])


def test_failures_are_a_table_with_the_reason_that_ended_the_retries(daemon):
    result = spokectl("--socket", daemon, "failures")
    assert result.returncode == 0
    assert result.stdout.decode().splitlines()[1:] == [
        "TIME                      CLUSTER    STREAM  STATUS  ATTEMPTS  NOT RETRIED  DETAILS",
        "2026-11-23T18:10:39.123Z  telemetry  state   503     2         limit        overloaded",
    ]


def test_route_asks_with_everything_that_it_was_given(daemon):
    result = spokectl(
        "--socket", daemon, "route", "--authority", "ingest", "--path=/v1?a=b", "--header", "x-a=1", "--header=x-b=",
        "--method", "GET", "--listener", "l",
    )
    assert (result.returncode, result.stdout) == (0, b"listener l: \n")
    result = spokectl("--socket", daemon, "--json", "route", "--authority", "ingest", "--path", "/")
    assert json.loads(result.stdout) == {"steps": []}


@pytest.mark.parametrize("words, message", [
    (["route", "--path", "/"], "route needs --authority"),
    (["route", "--authority", "a"], "route needs --path"),
    (["route", "--authority", "a", "--path", "x"], "--path needs a path that begins with /"),
    (["route", "--authority", "a", "--path", "/", "--header", "x"], "--header needs NAME=VALUE"),
    (["status", "--path", "/"], "--authority, --path, --header, --method and --listener belong to 'route'"),
    (["xds", "more"], "too many words behind 'xds'"),
])
def test_what_route_is_not_told_is_a_usage_error(daemon, words, message):
    result = spokectl("--socket", daemon, *words)
    assert result.returncode == 64
    assert result.stderr.decode().splitlines()[0] == f"spokectl: {message}"

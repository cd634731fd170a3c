"""How the daemon is started, checked, reloaded, watched and stopped."""

import json
import re
import signal
import socket
import subprocess
import time

import pytest
from spoke import check, configuration, mqtt, program, serial, stream, tls
from upstream import Answer
from waiting import holds_for, wait_until


def run(name, *arguments):
    return subprocess.run([program(name), *map(str, arguments)], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("name", ["spoked", "spokectl", "board-emulator"])
def test_help_and_version_are_printed(name):
    shown = run(name, "--help")
    assert shown.returncode == 0
    assert f"usage: {name}" in shown.stdout.lower()
    version = run(name, "--version")
    assert version.returncode == 0
    assert re.search(r"\d+\.\d+", version.stdout)


@pytest.mark.parametrize("arguments", [["--no-such-option"], ["--config"], ["stray"]])
def test_wrong_arguments_are_a_usage_error(arguments):
    ended = run("spoked", *arguments)
    assert ended.returncode == 64
    assert arguments[-1] in ended.stderr
    assert ended.stdout == ""


def test_a_valid_configuration_passes_the_check(folder):
    text = configuration(folder, stream("s", "http://localhost:1", path="/"), serial("a", "/dev/ttyS9", "s"))
    checked = check(folder, text)
    assert checked.returncode == 0, checked.stderr
    assert not (folder / "spool").exists(), "a check touches nothing"


WRONG = [
    ('[spool]\nsegmnet = "64KiB"', 'segment'),
    ("[node\n", ""),
    ('[[serial]]\nname = "x"\ndevice = "/dev/x"\nbaud = "fast"\nframing = "line"\nstream = "s"', "baud"),
    ('[[serial]]\nname = "x"\ndevice = "/dev/x"\nbaud = 9600\nframing = "morse"\nstream = "s"', "morse"),
    ('[[serial]]\nname = "x"\ndevice = "/dev/x"\nbaud = 9600\nframing = "line"\nstream = "nowhere"', "nowhere"),
    ('[[stream]]\nname = "t"\ntarget = "gopher://x:1"\npath = "/"', "gopher"),
    ('[mqtt]\nbroker = "mqtt://h:1"\n[[mqtt.subscribe]]\nfilter = "a/#/b"\nstream = "s"', "a/#/b"),
    ('[mqtt]\nbroker = "mqtt://h:1"\n[[mqtt.subscribe]]\nfilter = "a"\nqos = 2\nstream = "s"', "qos"),
]


@pytest.mark.parametrize(("part", "names"), WRONG)
def test_every_mistake_is_named_with_its_file_line_and_column(folder, part, names):
    text = '[node]\nid = "n"\ncluster = "c"\n'
    if not part.startswith("[spool]"):
        text += f'[spool]\ndirectory = "{folder}/spool"\n'
    text += '[[stream]]\nname = "s"\ntarget = "http://localhost:1"\npath = "/"\n'
    checked = check(folder, text + part + "\n")
    assert checked.returncode == 78
    said = checked.stdout + checked.stderr
    places = re.findall(rf"^{re.escape(str(folder))}/checked\.toml:(\d+):(\d+): (.+)$", said, re.M)
    assert places, said
    assert names in " ".join(place[2] for place in places)
    first_line = text.count("\n") + 1
    assert any(int(place[0]) >= first_line for place in places)


def test_all_mistakes_are_told_at_once(folder):
    text = configuration(folder, stream("s", "http://localhost:1", path="/", prioritty="alarm", ttl="soon"))
    said = check(folder, text)
    assert said.returncode == 78
    assert "prioritty" in said.stdout + said.stderr
    assert "priority" in said.stdout + said.stderr
    assert "soon" in said.stdout + said.stderr or "ttl" in said.stdout + said.stderr


def test_a_wrong_configuration_starts_nothing(folder, spoke):
    spoke.start(configuration(folder, 'surprise = "x"\n'), ready=False)
    assert spoke.process.wait(30) == 78
    assert "spoke.toml:" in spoke.log
    assert not (folder / "spool").exists()
    assert "READY=1" not in spoke.read_notifications()


def test_an_admin_socket_that_cannot_be_opened_is_named_with_its_key(folder, spoke):
    text = configuration(folder).replace("admin.sock", "nowhere/admin.sock")
    spoke.start(text, ready=False)
    assert spoke.process.wait(10) == 70
    place = re.escape(str(spoke.file))
    assert re.search(
        rf"^{place}:\d+:10: \[admin\] socket {folder}/nowhere/admin.sock: No such file or directory$", spoke.log, re.M
    )


def test_the_path_of_the_admin_socket_is_as_long_as_an_address_holds(folder, spoke):
    spoke.admin = folder / ("x" * (107 - len(str(folder)) - 1))
    assert len(str(spoke.admin)) == 107
    spoke.start(configuration(folder, f'[admin]\nsocket = "{spoke.admin}"\n', admin=False))
    assert spoke.get("/ready")[0] == 200
    assert [path for path in folder.iterdir() if path.is_socket() and path.name != "notify"] == [spoke.admin]


def test_a_port_of_the_admin_page_that_is_taken_is_named_with_its_key(folder, spoke):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        spoke.start(configuration(folder).replace("[admin]", f'[admin]\nlisten = "127.0.0.1:{port}"'), ready=False)
        assert spoke.process.wait(10) == 70
    assert re.search(rf"toml:\d+:10: \[admin\] listen 127.0.0.1, port {port}: Address already in use$", spoke.log, re.M)


def both(folder, spoke, text, code):
    """What the check and a start say; both must come to the same end."""
    checked = check(folder, text)
    assert checked.returncode == code, checked.stderr
    spoke.start(text, ready=code == 0)
    if code != 0:
        assert spoke.process.wait(10) == code
    return checked.stderr.replace("checked.toml", "spoke.toml").splitlines(), spoke.log.splitlines()


@pytest.mark.parametrize("key", ["ca", "certificate", "key"])
def test_a_file_of_a_tls_table_that_is_missing_is_named_by_the_check_and_by_the_start(folder, spoke, authority, key):
    device = authority.client("device", "device")
    files = {"ca": authority.certificate, "certificate": device.certificate, "key": device.key, key: folder / "none"}
    text = configuration(folder, stream("s", "https://localhost:1", path="/", tls="device"), tls("device", **files))
    row = next(n for n, line in enumerate(text.splitlines(), 1) if str(folder / "none") in line)
    checked, said = both(folder, spoke, text, 78)
    place = f"{spoke.file}:{row}:{len(key) + 4}: tls device: "
    assert any(line.startswith(place) and str(folder / "none") in line and "No such file" in line for line in said), said
    assert [line for line in checked if line.startswith(place)] == [line for line in said if line.startswith(place)]


def test_the_check_names_every_file_that_is_missing(folder):
    checked = check(folder, configuration(
        folder, stream("s", "https://localhost:1", path="/", tls="one"), tls("one", ca="/none/1"),
        tls("two", ca="/none/2"),
        mqtt("mqtts://localhost:1", ("a", "s"), tls="two", username="u", password_file="/none/3"),
    ))
    assert checked.returncode == 78
    for name in ("/none/1", "/none/2", "/none/3"):
        assert len(re.findall(rf"checked\.toml:\d+:\d+: .*{name}", checked.stderr)) == 1, checked.stderr


def test_a_tls_table_that_nothing_uses_stops_neither_the_check_nor_the_start(folder, spoke):
    text = configuration(folder, stream("s", "http://localhost:1", path="/"), tls("spare", ca="/none", certificate="/none",
                                                                                  key="/none"))
    for said in both(folder, spoke, text, 0):
        assert any("nothing uses [tls.spare]" in line for line in said)
    assert spoke.json("/certs") == {"certificates": []}
    spoke.reload(text + "\n# again\n")
    spoke.wait_for_log("configuration read again")


def test_a_password_that_stands_for_its_file_is_not_shown(folder, spoke):
    text = configuration(
        folder, stream("s", "http://localhost:1", path="/"),
        mqtt("mqtt://localhost:1", ("a", "s"), username="u", password_file="SECRETPW"))
    for said in both(folder, spoke, text, 78):
        assert any(line.endswith("mqtt password_file: No such file or directory") for line in said), said
        assert "SECRETPW" not in " ".join(said)


@pytest.mark.parametrize("part", [
    '[mqtt]\nbroker = "mqtt://user:SECRETPW@127.0.0.1:1883"', '[mqtt]\nbroker = "tcp://u:SECRETPW@h"',
    '[[stream]]\nname = "t"\npath = "/"\ntarget = "https://user:SECRETPW@h:1"',
    '[xds]\nservers = ["https://user:SECRETPW@h:1"]',
])
def test_a_password_in_a_url_is_not_shown(folder, spoke, part):
    for said in both(folder, spoke, configuration(folder, part + "\n"), 78):
        assert any("//***@" in line for line in said), said
        assert "SECRETPW" not in " ".join(said)


def test_a_missing_configuration_is_named(folder):
    ended = run("spoked", "--config", folder / "none.toml")
    assert ended.returncode == 78
    assert "none.toml" in ended.stderr


def test_sigterm_delivers_what_it_can_and_ends_with_zero(make_upstream, make_line):
    upstream = make_upstream(rule=lambda request: Answer(delay=0.05))
    line = make_line(upstream)
    line.publish(*[b"%d" % n for n in range(5)])
    line.spoke.wait_for_stat("spoke.stream.state.records_in", 5)
    assert line.spoke.terminate()[0] == 0
    assert any(n.startswith("STOPPING=1") for n in line.spoke.read_notifications())
    line.spoke.start()
    bodies = [r.body for r in upstream.wait_for(5)]
    assert bodies == [b"%d" % n for n in range(5)], "the answer of the one under way was waited for"


def test_sigterm_ends_within_five_seconds_while_the_upstream_hangs(make_upstream, make_line):
    line = make_line(make_upstream(rule=lambda request: Answer(stall=True)))
    line.publish(b"1", b"2")
    line.upstream.wait_for(1)
    code, seconds = line.spoke.terminate()
    assert code == 0
    # Much sooner than the 15 s of the request; five, and a busy machine's delay.
    assert seconds < 10


def test_records_that_wait_in_memory_are_on_disk_after_sigterm(make_upstream, make_line):
    upstream = make_upstream(paused=True)
    line = make_line(upstream, durability="spill")
    line.publish(b"1", b"2")
    line.spoke.wait_for_stat("spoke.stream.state.records_in", 2)
    assert line.spoke.terminate()[0] == 0
    upstream.start()
    line.spoke.start()
    assert [r.body for r in upstream.wait_for(2)] == [b"1", b"2"]


def test_sighup_takes_a_new_configuration_without_losing_a_record(make_upstream, make_line):
    upstream = make_upstream(paused=True)
    line = make_line(upstream)
    line.publish(b"before")
    line.spoke.wait_for_stat("spoke.stream.state.backlog_records", 1)
    line.spoke.reload(line.text.replace('"/v1/state"', '"/v2/state"'))
    assert any(n.startswith("RELOADING=1") for n in line.spoke.read_notifications())
    line.publish(b"after")
    upstream.start()
    requests = upstream.wait_for(2, 30)
    assert [r.body for r in requests] == [b"before", b"after"]
    assert requests[1].path == "/v2/state"


def test_sighup_with_a_wrong_configuration_keeps_the_old_one_and_says_so(make_upstream, make_line):
    line = make_line(make_upstream(), reports=True)
    good = line.text
    line.spoke.reload(good + "\n[log2]\n")
    line.spoke.wait_for_log("log2")
    assert f"spoke.toml:{good.count(chr(10)) + 2}:" in line.spoke.log
    line.publish(b"still here")
    line.upstream.wait_for_body(b"still here")
    wait_until(
        lambda: any("config_rejected" in json.loads(r.body) for r in line.upstream.whole() if r.path == "/v1/health"),
        "a report that the configuration was rejected",
    )


def test_sighup_adds_a_serial_port_and_a_stream(folder, make_upstream, make_line, make_terminal):
    line = make_line(make_upstream())
    terminal = make_terminal()
    line.spoke.reload(line.text + stream("extra", line.upstream.url, path="/extra") + serial("x", terminal.path, "extra"))
    line.spoke.wait_for_ports()
    terminal.write(b"hello\n")
    line.upstream.wait_for_body(b"hello")
    line.publish(b"mqtt too")
    line.upstream.wait_for_body(b"mqtt too")


def test_the_watchdog_is_fed(folder, spoke):
    spoke.environment["WATCHDOG_USEC"] = "1000000"
    spoke.start(configuration(folder))
    spoke.wait_for_notification("WATCHDOG=1", 20, count=3)


def test_a_watchdog_without_a_socket_to_feed_it_through_costs_nothing(folder, spoke):
    spoke.environment |= {"WATCHDOG_USEC": "100000", "NOTIFY_SOCKET": ""}
    spoke.start(configuration(folder), ready=False)
    spoke.wait_for_log("is ready")

    def processor_time():
        fields = open(f"/proc/{spoke.process.pid}/stat").read().rsplit(")", 1)[1].split()
        return int(fields[11]) + int(fields[12])

    before = processor_time()
    holds_for(lambda: spoke.running, "it runs", 2)
    assert processor_time() - before <= 20, "clock ticks of 10 ms in two idle seconds"


def test_ready_does_not_wait_for_upstream_broker_or_ports(folder, spoke):
    spoke.start(configuration(
        folder, stream("s", "http://localhost:1", path="/"), serial("a", folder / "none", "s"),
        mqtt("mqtt://127.0.0.1:1", ("#", "s")),
    ))
    status, _, text = spoke.get("/ready")
    assert status == 200, text
    assert spoke.stat("spoke.mqtt.connected") == 0


def test_the_admin_pages(make_upstream, make_line, make_terminal, folder):
    terminal = make_terminal()
    upstream = make_upstream()
    line = make_line(upstream, serial("ecu", terminal.path, "state"))
    line.spoke.wait_for_ports()
    terminal.write(b"serial line\n")
    line.publish(b"1")
    line.spoke.wait_for_stat("spoke.stream.state.delivered", 2)
    for page in ("/memory", "/server_info", "/streams", "/serial", "/mqtt", "/spool"):
        status, kind, text = line.spoke.get(page)
        assert status == 200, page
        assert kind.startswith("application/json"), page
        json.loads(text)
    pools = line.spoke.json("/memory")["pools"]
    assert pools and all({"name", "limit", "used", "high"} <= set(pool) for pool in pools)
    assert all(0 <= pool["used"] <= pool["high"] <= pool["limit"] for pool in pools), pools
    assert "state" in json.dumps(line.spoke.json("/streams"))
    assert "ecu" in json.dumps(line.spoke.json("/serial"))
    stats = line.spoke.stats()
    for name in ("records_in", "delivered", "retried", "dropped", "expired", "parked", "held",
                 "backlog_records", "backlog_bytes"):
        assert f"spoke.stream.state.{name}" in stats
    for name in ("bytes", "frames", "bad_frames", "resyncs", "reopens"):
        assert f"spoke.serial.ecu.{name}" in stats
    for name in ("connected", "messages", "unacknowledged"):
        assert f"spoke.mqtt.{name}" in stats
    for name in ("bytes", "records", "segments", "corrupt_frames", "commits", "bytes_written", "degraded"):
        assert f"spoke.spool.{name}" in stats
    cluster = f"cluster.localhost_{upstream.port}"
    assert stats[f"{cluster}.upstream_rq_total"] == 2
    assert stats[f"{cluster}.upstream_cx_active"] == 1
    _, _, filtered = line.spoke.get("/stats?filter=spoke.mqtt")
    assert filtered and all("spoke.mqtt" in found for found in filtered.splitlines())
    assert json.loads(line.spoke.get("/stats?format=json")[2])


def test_the_admin_socket_answers_bad_requests_and_goes_on(folder, spoke):
    spoke.start(configuration(folder))
    assert spoke.get("/nothing-here")[0] == 404
    assert spoke.get("/ready", "DELETE")[0] in (404, 405)
    for garbage in (b"\x00\xff\x00\xff\r\n\r\n", b"GET " + b"/" * 100000, b"POST / HTTP/1.1\r\n", b""):
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(10)
            client.connect(str(spoke.admin))
            try:
                client.sendall(garbage)
                client.shutdown(socket.SHUT_WR)
                while client.recv(4096):
                    pass
            except (BrokenPipeError, ConnectionResetError):
                pass
    assert spoke.get("/ready")[0] == 200


def test_many_clients_of_the_admin_socket_that_say_nothing_do_not_stop_the_daemon(make_upstream, make_line):
    line = make_line(make_upstream())
    silent = []
    try:
        for _ in range(64):
            client = socket.socket(socket.AF_UNIX)
            client.settimeout(5)
            silent.append(client)
            try:
                client.connect(str(line.spoke.admin))
            except OSError:
                break
        line.publish(b"goes on")
        line.upstream.wait_for_body(b"goes on")
    finally:
        for client in silent:
            client.close()

    def answers():
        try:
            return line.spoke.get("/ready")[0] == 200
        except OSError:
            return False

    wait_until(answers, "the admin socket answers again")


def test_spokectl_shows_the_state_and_the_statistics(make_upstream, make_line, folder):
    line = make_line(make_upstream())
    line.publish(b"1")
    line.spoke.wait_for_stat("spoke.stream.state.delivered", 1)
    status = run("spokectl", "--socket", line.spoke.admin, "status")
    assert status.returncode == 0, status.stderr
    assert "state" in status.stdout
    stats = run("spokectl", "--socket", line.spoke.admin, "stats")
    assert "spoke.stream.state.delivered: 1" in stats.stdout
    assert run("spokectl", "check", "--config", line.spoke.file).returncode == 0
    (folder / "wrong.toml").write_text("[node\n")
    assert run("spokectl", "check", "--config", folder / "wrong.toml").returncode == 78
    assert run("spokectl", "--socket", folder / "none.sock", "status").returncode not in (0, 64, 78)
    assert run("spokectl", "dance").returncode == 64


def test_idle_means_idle(folder, spoke, make_upstream, make_line, make_terminal):
    terminal = make_terminal()
    line = make_line(make_upstream(), serial("ecu", terminal.path, "state"))
    line.spoke.wait_for_ports()
    line.publish(b"1")
    line.spoke.wait_for_stat("spoke.stream.state.delivered", 1)

    def processor_time():
        fields = open(f"/proc/{line.spoke.process.pid}/stat").read().rsplit(")", 1)[1].split()
        return int(fields[11]) + int(fields[12])

    before = processor_time()
    start = time.monotonic()
    holds_for(lambda: line.spoke.running, "it runs", 3)
    assert processor_time() - before <= 3, "clock ticks of 10 ms in three idle seconds"
    assert time.monotonic() - start >= 3


def test_sigint_ends_it_as_sigterm_does(folder, spoke):
    spoke.start(configuration(folder))
    spoke.signal(signal.SIGINT)
    assert spoke.process.wait(30) == 0

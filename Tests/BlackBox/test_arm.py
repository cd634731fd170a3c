"""The main job with the programs for the boards, under qemu, against the same broker and upstream."""

import subprocess

import pytest
from resources import (
    CDS, EDS, LDS, RDS, cluster, endpoints, graph, locality, match, retry, route, route_configuration, secret_ca,
    upstream_tls, virtual_host,
)
from serialport import nmea, vesc
from spoke import ROOT, Spoke, configuration, emulator_for, mqtt, serial, stream, tls
from spoke_xds import Target, resources, table, wait_for_resource
from upstream import Answer
from waiting import wait_until

ARCHITECTURES = ["aarch64", "armhf"]


def built(architecture, name="spoked"):
    path = ROOT / f".build-{architecture}/stripped/{name}"
    assert path.exists(), f"{path} is not built: board/build {architecture}"
    return path


@pytest.fixture(params=ARCHITECTURES)
def board(request, folder):
    daemon = Spoke(folder, built(request.param), emulator_for(request.param))
    yield daemon
    daemon.cleanup()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("name", ["spoked", "spokectl", "board-emulator"])
def test_every_program_starts(architecture, name):
    ended = subprocess.run(
        [*emulator_for(architecture), built(architecture, name), "--version"], capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_daemon_fits_its_budget(architecture):
    assert built(architecture).stat().st_size <= 1 << 20


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("name", ["spoked", "spokectl", "board-emulator"])
def test_the_empty_array_is_aligned_for_every_element(architecture, name):
    """Where the linker left it at a multiple of 4 bytes, a virtual host without routes ended the 32-bit program."""
    program = ROOT / f".build-{architecture}/release/{name}"
    symbols = subprocess.run(["nm", program], capture_output=True, text=True, check=True).stdout
    found = [line.split()[0] for line in symbols.splitlines() if "_swiftEmptyArrayStorage" in line]
    assert found and all(int(address, 16) % 16 == 0 for address in found), found


def test_serial_and_mqtt_arrive_over_tls_and_a_kill_loses_nothing(
    board, folder, make_upstream, make_broker, make_publisher, make_terminal, identity, authority
):
    upstream, broker = make_upstream(identity), make_broker()
    gnss, motor = make_terminal("gnss"), make_terminal("motor")
    keys = {"tls": "fleet", "content_type": "application/octet-stream", "durability": "sync"}
    board.configure(configuration(
        folder,
        *(stream(name, upstream.url, path=f"/{name}", **keys) for name in ("gps", "vesc", "state")),
        serial("gnss", gnss.path, "gps", "nmea", 9600),
        serial("motor", motor.path, "vesc", "vesc"),
        mqtt(broker.url, ("telemetry/+/state", "state")),
        tls("fleet", ca=authority.certificate),
    ))
    board.start(seconds=60)
    wait_until(lambda: board.stat("spoke.mqtt.connected") == 1, lambda: board.log[-2000:], 60)
    publisher = make_publisher(broker)
    sentences = [nmea(f"GPTXT,{n}") for n in range(20)]
    payloads = [bytes([4, n]) * 30 for n in range(20)]
    board.wait_for_ports(60)
    gnss.write(b"".join(s + b"\r\n" for s in sentences))
    motor.write(b"".join(map(vesc, payloads)))
    messages = [b'{"n": %d}' % n for n in range(60)]
    send(publisher, messages[:20])
    upstream.wait_for(60, 60)
    board.kill()
    send(publisher, messages[20:40])
    board.start(seconds=60)
    send(publisher, messages[40:])
    upstream.wait_for_body(messages[-1], 60)
    bodies = {name: [r.body for r in upstream.whole() if r.path == f"/{name}"] for name in ("gps", "vesc", "state")}
    # A kill between delivery and the cursor repeats records, with the ids and bodies they had.
    assert list(dict.fromkeys(bodies["gps"])) == sentences
    assert list(dict.fromkeys(bodies["vesc"])) == payloads
    assert list(dict.fromkeys(bodies["state"])) == messages
    assert upstream.protocol_errors == []
    assert board.terminate(30)[0] == 0


def send(publisher, messages):
    for message in messages:
        publisher.publish("telemetry/7/state", message)
    publisher.flush()


def test_an_outage_of_the_upstream_is_waited_out(board, folder, make_upstream, make_broker, make_publisher):
    upstream, broker = make_upstream(paused=True), make_broker()
    board.start(configuration(
        folder, stream("state", upstream.url, path="/state"), mqtt(broker.url, ("#", "state"))
    ), seconds=60)
    wait_until(lambda: board.stat("spoke.mqtt.connected") == 1, lambda: board.log[-2000:], 60)
    messages = [b"%d" % n for n in range(20)]
    send(make_publisher(broker), messages)
    board.wait_for_stat("spoke.stream.state.backlog_records", 20, 30)
    upstream.start()
    assert [r.body for r in upstream.wait_for(20, 60)] == messages


def test_a_port_that_is_pulled_and_plugged_in_again_goes_on(board, folder, make_upstream, make_terminal):
    upstream, terminal = make_upstream(), make_terminal()
    board.start(configuration(
        folder, stream("s", upstream.url, path="/s"), serial("ecu", terminal.path, "s")
    ), seconds=60)
    board.wait_for_ports(60)
    terminal.write(b"before\n")
    upstream.wait_for_body(b"before", 30)
    terminal.unplug()
    board.wait_for_log("ecu", 30)
    terminal.plug_in()
    # Open is not enough: whoever opens a port throws away what it held before.
    board.wait_for_stat("spoke.serial.ecu.reopens", 1, 60)
    terminal.write(b"after\n")
    upstream.wait_for_body(b"after", 30)


@pytest.mark.parametrize("transport", ["sotw", "delta"])
def test_a_control_plane_steers_it_and_its_cache_carries_it(
    board, folder, make_plane, make_upstream, make_broker, make_publisher, identity, authority, transport
):
    """LDS, RDS, CDS, EDS and SDS: a record arrives where EDS says, over TLS with roots that SDS brought, by a retry; the
    next one where the new EDS says; a refusal has its text; a start without the control plane goes by the cache."""
    failures = [503]
    upstream = make_upstream(identity, rule=lambda request: Answer(status=failures.pop() if failures else 200))
    other, broker = make_upstream(identity), make_broker()
    plane = make_plane(
        *graph(upstream.port), cluster("telemetry", tls=upstream_tls(ca_secret="roots", sni="localhost")),
        secret_ca("roots", authority.certificate),
        route_configuration("routes", virtual_host(
            route("nowhere", match(path="/elsewhere")), route("telemetry", retry_policy=retry("5xx", 2, base=0.01)),
        )),
    )
    board.configure(configuration(
        folder, stream("state", Target.url, path="/v1/state", durability="sync"), mqtt(broker.url, ("in/#", "state")),
        table(folder, plane.url, transport=transport, fetch_timeout="2s"),
    ))
    board.start(seconds=60)
    wait_until(lambda: board.stat("spoke.mqtt.connected") == 1, lambda: board.log[-2000:], 60)
    publisher = make_publisher(broker)

    def publish(body):
        publisher.publish("in/state", body)
        publisher.flush()

    publish(b"1")
    upstream.wait_for_body(b"1", 60)
    wait_until(lambda: [r.body for r in upstream.whole()] == [b"1", b"1"], "one retry", 30)
    for kind in (LDS, RDS, CDS, EDS):
        plane.wait_for_ack(kind, seconds=30)
    plane.set(endpoints("telemetry", locality(other.port)))
    plane.wait_for_ack(EDS, seconds=30)
    publish(b"2")
    other.wait_for_body(b"2", 30)
    plane.set(cluster("telemetry", "ORIGINAL_DST"))
    assert "telemetry: type: " in plane.wait_for_nack(CDS, seconds=30).error
    wait_for_resource(board, CDS, "telemetry", "NACKED", 30, version="1")
    assert board.terminate(30)[0] == 0
    plane.stop()
    board.start(seconds=60)
    publish(b"3")
    other.wait_for_body(b"3", 60)
    assert {r.source for r in resources(board) if r.version} == {"cache"}
    assert upstream.protocol_errors == other.protocol_errors == []

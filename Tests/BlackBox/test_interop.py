"""Upstreams that others wrote take every record, over TLS and as h2c, and over their graceful restarts."""

import pytest
from hyperframe.frame import GoAwayFrame
from interop import NO_ERROR, PATH, SECURE, bodies, of_stream, second_stream, sequence, sequences
from relay import Fault
from servers import PROXIES, Nghttpd
from upstream import Answer
from waiting import wait_until

SEED = 20
COUNT = 120
MORE = 30


def publish(line, name, payloads):
    for payload in payloads:
        line.publisher.publish(f"in/{name}", payload)


def busy(request):
    """Slow enough that a restart falls among requests that wait for their answers."""
    return Answer(delay=0.004)


def start_two_streams(make_line, server, secure):
    others = [second_stream(server.url, secure, name) for name in ("many", "more")]
    return make_line(server, *others, filters=[(f"in/{name}", name) for name in ("state", "many", "more")], **PATH)


def wait_for_farewell(relay, line):
    """The old generation may take its time to hear that it ends, and says so with its next answer."""

    def moved():
        line.publish(b"once more", topic="in/more")
        return len(relay.connections) > 1

    wait_until(moved, "a connection to the new generation", 30, 0.1)


@pytest.mark.parametrize("secure", SECURE.values(), ids=SECURE)
@pytest.mark.parametrize("kind", PROXIES, ids=lambda kind: kind.name)
def test_every_record_arrives_over_a_graceful_restart(make_server, make_relay, make_line, kind, secure):
    server = make_server(kind, secure, rule=busy)
    relay = make_relay(server)
    line = start_two_streams(make_line, relay, secure)
    sent = {name: bodies(SEED, COUNT + MORE, name) for name in ("state", "many")}
    for name, payloads in sent.items():
        publish(line, name, payloads[:COUNT])
    server.back.wait_for(40)
    server.restart()
    for name, payloads in sent.items():
        publish(line, name, payloads[COUNT:])
    for name in sent:
        line.spoke.wait_for_stat(f"spoke.stream.{name}.delivered", COUNT + MORE, 40)
        if not kind.repeats:
            assert line.spoke.stat(f"spoke.stream.{name}.retried") == 0, "nothing waited for a back-off"
    for name, payloads in sent.items():
        assert_arrived(of_stream(server.back.whole(), name), name, payloads, kind.repeats)
    if secure or not kind.silent_over_h2c:
        wait_for_farewell(relay, line)
    if not secure:
        farewells = [f.error_code for _, _, up, f in relay.frames(GoAwayFrame) if not up]
        assert (NO_ERROR in farewells) != kind.silent_over_h2c, "the old generation says goodbye"


def assert_arrived(requests, name, payloads, may_repeat):
    numbers = [sequence(request.id) for request in requests]
    if name == "state":
        assert numbers == sorted(numbers), "a stream with one request at once keeps its order"
    taken = set(numbers) if may_repeat else numbers
    assert sorted(taken) == list(range(1, len(payloads) + 1)), "every record"
    for request in requests:
        assert request.body == payloads[sequence(request.id) - 1]
        assert request.header("content-type") == "application/octet-stream"
        assert request.header("ce-subject") == f"in/{name}"


@pytest.mark.parametrize("secure", SECURE.values(), ids=SECURE)
@pytest.mark.parametrize("flags", [(), ("--echo-upload",), ("--trailer", "x-checksum: 1")], ids=["plain", "echo", "trailer"])
def test_nghttpd_takes_every_record(make_line, make_server, secure, flags):
    server = make_server(Nghttpd, secure, flags=flags)
    line = make_line(server)
    line.publish(*[b"payload %d" % n for n in range(50)])
    line.spoke.wait_for_stat("spoke.stream.state.delivered", 50, 30)
    assert sequences(server.text) == list(range(1, 51))
    assert "content-type: application/json" in server.text
    assert "recv RST_STREAM" not in server.text


@pytest.mark.parametrize("secure", SECURE.values(), ids=SECURE)
def test_nghttpd_that_is_ended_and_started_under_load_gets_every_record(make_line, make_server, secure):
    server = make_server(Nghttpd, secure)
    line = make_line(server, in_flight=8)
    for start in range(0, 200, 100):
        publish(line, "state", [b"payload %d" % n for n in range(start, start + 100)])
        wait_until(lambda: len(sequences(server.text)) > start + 10, "requests at nghttpd")
        server.restart()
    line.spoke.wait_for_stat("spoke.stream.state.delivered", 200, 40)
    assert sorted(sequences(server.text)) == list(range(1, 201))


@pytest.mark.parametrize("kind", PROXIES, ids=lambda kind: kind.name)
def test_a_graceful_restart_in_the_middle_of_a_body(make_server, make_relay, make_line, kind):
    server = make_server(kind, False)
    relay = make_relay(server, plan=lambda number: Fault(rate=100_000))
    line = make_line(relay, in_flight=2, **PATH)
    payloads = [b"%d" % n * 30_000 for n in range(3)]
    line.publish(*payloads)
    wait_until(lambda: relay.passed_up() > 20_000, "a part of a body")
    server.restart()
    line.spoke.wait_for_stat("spoke.stream.state.delivered", 3, 40)
    taken = {sequence(r.id): r.body for r in server.back.whole()}
    assert taken == {n + 1: body for n, body in enumerate(payloads)}
    if not kind.repeats:
        assert line.spoke.stat("spoke.stream.state.retried") == 0, "nothing waited for a back-off"

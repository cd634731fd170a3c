"""What goes wrong on an ADS stream, XDS.md §3.A: refusals, errors, deletions, lives that end, servers that go away."""

import time

import grpc
import pytest
from control_plane import Raw
from resources import (
    CDS, EDS, LDS, RDS, cluster, endpoints, graph, locality, match, packed, route, route_configuration, static,
    virtual_host,
)
from spoke_xds import NAME, resource, wait_for_resource
from test_xds_protocol import BOTH, STEERING, wait_for_acks
from waiting import holds_for, wait_until, within


@pytest.fixture
def start(make_plane, make_upstream, make_xds_line):
    """A line that works, with two clusters: the routes lead to `telemetry`, and `/other` to `other`."""

    def start(**xds):
        upstream = make_upstream()
        plane = make_plane(
            *graph(upstream.port), cluster("other"), endpoints("other", locality(upstream.port)),
            route_configuration("routes", virtual_host(route("other", match("/other")), route("telemetry"))),
        )
        line = make_xds_line(plane, xds=xds)
        wait_for_acks(plane)
        return plane, upstream, line

    return start


def arrives(line, upstream, body, seconds=20):
    line.publish(body)
    return upstream.wait_for_body(body, seconds)


@BOTH
def test_item_15_partial_nack_keeps_the_bad_one_as_it_was_and_takes_its_sibling(start, transport):
    plane, upstream, line = start(transport=transport)
    bad = cluster("telemetry", connect_timeout=2, lb_policy=99)
    plane.set(bad, cluster("other", connect_timeout=1))
    nack = plane.wait_for_nack(CDS)
    assert "telemetry" in nack.error and "lb_policy" in nack.error
    assert "other" not in nack.error.replace("another", "")
    kept, taken = resource(line.spoke, CDS, "telemetry"), resource(line.spoke, CDS, "other")
    assert (kept.state, kept.version, kept.error_version) == ("NACKED", "1", "2")
    assert "lb_policy" in kept.error
    assert (taken.state, taken.version) == ("ACKED", "2")
    arrives(line, upstream, b"by the old one")
    plane.set(cluster("telemetry"))
    plane.wait_for_ack(CDS)
    assert resource(line.spoke, CDS, "telemetry").error == ""


def test_item_15_a_first_one_that_is_bad_is_refused_and_does_not_count_as_missing(
    make_plane, make_upstream, make_xds_line
):
    upstream = make_upstream()
    plane = make_plane(*graph(upstream.port)[1:], cluster("telemetry", lb_policy=99))
    line = make_xds_line(plane, xds={"fetch_timeout": "1s"})
    plane.wait_for_nack(CDS)
    line.publish(b"waits")
    wait_for_resource(line.spoke, CDS, "telemetry", "NACKED", version="")
    holds_for(lambda: resource(line.spoke, CDS, "telemetry").state == "NACKED", "the timer has ended", 1.3)
    plane.set(cluster("telemetry"))
    upstream.wait_for_body(b"waits", 20)


@pytest.mark.parametrize("kind", [CDS, EDS], ids=["cluster", "endpoints"])
def test_item_16_a_name_twice_in_a_response_is_refused(start, kind):
    plane, upstream, line = start()
    stream = plane.open_streams()[0]
    held = plane.resources(kind)["telemetry"]
    others = [(n, h) for n, h in plane.resources(kind).items() if n != "telemetry"]
    stream.send(stream.response(kind, [("telemetry", held), *others, ("telemetry", held)], "9"))
    nack = plane.wait_for_nack(kind, "9")
    assert "telemetry" in nack.error
    arrives(line, upstream, b"still")


def test_item_17_a_refusal_is_said_once_and_the_same_thing_again_is_acknowledged(start):
    plane, upstream, line = start()
    plane.set(cluster("telemetry", lb_policy=99))
    plane.wait_for_nack(CDS)
    count = len(plane.requests)
    holds_for(lambda: len(plane.requests) == count, "no request follows a refusal", 1)
    connections = upstream.connections
    for _ in range(3):
        plane.set(cluster("telemetry"))
        plane.wait_for_ack(CDS)
    arrives(line, upstream, b"same")
    assert upstream.connections <= max(connections, 1), "what did not change is not built again"


@BOTH
def test_item_18_what_has_no_name_is_refused_by_its_place_and_every_fault_is_listed(start, transport):
    plane, upstream, line = start(transport=transport)
    if transport == "sotw":
        stream = plane.open_streams()[0]
        response = stream.response(CDS, list(plane.resources(CDS).items()), "9")
        broken = response.resources.add(type_url=CDS)
        broken.value = b"\x0a\x7fabc"
        response.resources.insert(0, broken)
        response.resources.append(packed(static("telemetry2", (1, "no.address"))))
        stream.send(response)
        nack = plane.wait_for_nack(CDS, "9")
        assert "[0]" in nack.error or "resource 0" in nack.error, nack.error
    else:
        plane.set(Raw(CDS, "telemetry", b"\x0a\x7fabc"), cluster("other", lb_policy=99))
        nack = plane.wait_for_nack(CDS)
        assert "telemetry" in nack.error and "other" in nack.error
    arrives(line, upstream, b"still")


def test_item_19_a_deleted_resource_is_kept_where_the_device_says_so(start):
    plane, upstream, line = start(keep_deleted=True)
    plane.remove(LDS, NAME)
    plane.remove(CDS, "telemetry")
    wait_for_acks(plane, LDS, CDS)
    arrives(line, upstream, b"goes on")
    assert resource(line.spoke, CDS, "telemetry").version == "1"


@BOTH
def test_item_20_errors_of_single_resources(make_plane, make_upstream, make_xds_line, transport):
    upstream = make_upstream()
    plane = make_plane(*graph(upstream.port))
    plane.errors[EDS] = {"telemetry": (5, "no such thing")}
    del plane._held[EDS]["telemetry"]
    line = make_xds_line(plane, xds={"transport": transport})
    found = wait_for_resource(line.spoke, EDS, "telemetry", "RECEIVED_ERROR")
    assert "no such thing" in found.error
    assert not plane.nacks()
    plane.errors.clear()
    line.publish(b"waits")
    plane.set(endpoints("telemetry", locality(upstream.port)))
    upstream.wait_for_body(b"waits", 20)
    # Of a resource that is there, an error is said, and it stays.
    plane.send_errors(EDS, telemetry=(14, "try later"))
    wait_until(lambda: "try later" in resource(line.spoke, EDS, "telemetry").error, "the error is shown")
    arrives(line, upstream, b"still")


@BOTH
def test_item_21_a_life_ends_unless_it_is_renewed(make_plane, make_upstream, make_xds_line, transport):
    upstream, other = make_upstream(), make_upstream()
    plane = make_plane(*graph(upstream.port))
    line = make_xds_line(plane, xds={"transport": transport})
    wait_for_acks(plane)
    plane.set(endpoints("telemetry", locality(other.port)), ttl=3)
    plane.wait_for_ack(EDS)
    arrives(line, other, b"by the short-lived one")
    end = time.monotonic() + 4.5
    while time.monotonic() < end:
        plane.heartbeat(EDS, "telemetry")
        plane.wait_for_ack(EDS)
        time.sleep(0.4)  # the pace of the heart
    assert resource(line.spoke, EDS, "telemetry").state == "ACKED"
    arrives(line, other, b"renewed")
    wait_for_resource(line.spoke, EDS, "telemetry", "DOES_NOT_EXIST")
    line.publish(b"waits")
    holds_for(lambda: len(other.whole()) == 2 and not upstream.whole(), "neither it nor the one before it", 0.5)
    plane.set(endpoints("telemetry", locality(upstream.port)))
    upstream.wait_for_body(b"waits", 20)


def test_item_22_a_burst_is_answered_in_its_order_one_by_one(start):
    plane, upstream, line = start()
    stream = plane.open_streams()[0]
    for number in range(60):
        kind = (CDS, EDS, RDS)[number % 3]
        stream.send(stream.response(kind, list(plane.resources(kind).items()), f"burst-{number}"))
    plane.wait(lambda: all(s.answer for s in stream.sent), "an answer to each")
    sent = [s for s in stream.sent if s.version.startswith("burst")]
    assert [s.answer.time for s in sent] == sorted(s.answer.time for s in sent)
    assert [s.answer.version for s in sent] == [s.version for s in sent]
    arrives(line, upstream, b"after")


def test_item_23_a_stream_that_answered_and_ended_is_opened_again_at_once(start):
    plane, upstream, line = start()

    def end_it() -> float:
        """How long it takes until there is another one."""
        count, ended = len(plane.streams), time.monotonic()
        plane.open_streams()[0].end(grpc.StatusCode.OK)
        stream = plane.wait_for_streams(count + 1)
        plane.wait(lambda: len(stream.sent) >= 4 and all(s.answer for s in stream.sent), "it is answered")
        return stream.started - ended

    for _ in range(2):
        # The pause before a second try in a row is 0.8 s at least.
        within(0.5, end_it)


def test_item_23_a_server_that_ends_streams_without_an_answer_is_left_alone_longer_and_longer(
    make_plane, make_upstream, make_xds_line
):
    upstream = make_upstream()
    plane = make_plane(*graph(upstream.port))
    plane.on_stream = lambda stream: stream.end(grpc.StatusCode.UNAVAILABLE, "not now")
    plane.silent |= set(STEERING)
    line = make_xds_line(plane, connected=False)
    line.publish(b"waits")
    plane.wait_for_streams(4, 40)
    starts = [s.started for s in plane.streams]
    gaps = [after - before for before, after in zip(starts, starts[1:])]
    # 1 s · 1.6ⁿ ± 20 %, and the server may be late to see the first stream of two, or the second.
    least = [0.8 * 1.6**n - 0.4 for n in range(3)]
    assert all(gap >= bound for gap, bound in zip(gaps, least)) and sum(gaps[:3]) <= 20, gaps
    plane.on_stream = lambda stream: None
    plane.silent.clear()
    upstream.wait_for_body(b"waits", 20)


@pytest.mark.parametrize("code", ["INVALID_ARGUMENT", "NOT_FOUND", "DATA_LOSS", "FAILED_PRECONDITION"])
def test_item_24_a_status_of_the_control_plane_is_none_of_a_record(make_plane, make_upstream, make_xds_line, code):
    upstream = make_upstream()
    plane = make_plane(*graph(upstream.port))
    plane.silent |= set(STEERING)
    plane.on_stream = lambda stream: stream.end(grpc.StatusCode[code], "of the server's own")
    line = make_xds_line(plane, connected=False)
    line.publish(b"waits")
    plane.wait_for_streams(1)
    wait_until(lambda: "of the server's own" in line.spoke.log, lambda: line.spoke.log[-2000:])
    assert line.spoke.stat("spoke.stream.state.parked") == 0
    wait_until(lambda: line.spoke.stat("spoke.stream.state.backlog_records") == 1, "the record waits")
    plane.on_stream = lambda stream: None
    plane.silent.clear()
    upstream.wait_for_body(b"waits", 20)


def test_item_25_the_fallback_serves_while_the_primary_is_away_and_no_longer(make_plane, make_upstream, make_xds_line):
    upstream, other = make_upstream(), make_upstream()
    primary = make_plane(*graph(upstream.port), identifier="primary", paused=True)
    fallback = make_plane(*graph(other.port), identifier="fallback")
    line = make_xds_line(primary, fallback, xds={"runtime": []})
    arrives(line, other, b"by the fallback")
    first = fallback.streams[0].requests[0]
    assert first.version == "" and first.has_node
    primary.start()
    wait_for_acks(primary)
    fallback.wait(lambda: not fallback.open_streams(), "the stream to the fallback is given up", 20)
    assert {r.version for r in primary.requests if not r.nonce} == {""}, "versions are of one server"
    arrives(line, upstream, b"by the primary")
    # Everything is known now: the primary's absence is no reason to fall back.
    primary.stop()
    before = len(fallback.streams)
    holds_for(lambda: len(fallback.streams) == before, "the fallback is left alone", 2)
    arrives(line, upstream, b"still by the primary's word")


def test_item_26_the_dump_has_the_state_of_each_resource(make_plane, make_upstream, make_xds_line):
    upstream = make_upstream()
    plane = make_plane(
        *graph(upstream.port), cluster("refused", lb_policy=99), cluster("silent"),
        route_configuration("routes", virtual_host(*(
            route(name, match(f"/{name}")) for name in ("refused", "silent", "missing")
        ), route("telemetry"))),
    )
    line = make_xds_line(plane, xds={"fetch_timeout": "1s"})
    plane.wait_for_nack(CDS)
    wait_for_resource(line.spoke, LDS, NAME, "ACKED", version="1", source="server")
    wait_for_resource(line.spoke, CDS, "refused", "NACKED")
    wait_for_resource(line.spoke, CDS, "missing", "DOES_NOT_EXIST")
    wait_for_resource(line.spoke, EDS, "silent", "DOES_NOT_EXIST")
    plane.remove(CDS, "telemetry")
    wait_for_resource(line.spoke, CDS, "telemetry", "DOES_NOT_EXIST")

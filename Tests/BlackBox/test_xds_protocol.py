"""The ADS protocol, XDS.md §3.A: what the daemon sends, and when, in both transports."""

import time

import pytest
from control_plane import Held
from resources import (
    CDS, EDS, LDS, RDS, RTDS, SHORT, cluster, endpoints, graph, listener, locality, match, packed, route,
    route_configuration, static, virtual_host,
)
from spoke_xds import CONNECTED, NAME, resource, wait_for_resource
from waiting import holds_for, wait_until

BOTH = pytest.mark.parametrize("transport", ["sotw", "delta"])
STEERING = (LDS, RDS, CDS, EDS)


def wait_for_acks(plane, *kinds):
    for kind in kinds or STEERING:
        plane.wait_for_ack(kind)


def firsts(stream):
    """The first request of each type."""
    return {r.kind: r for r in reversed(stream.requests)}


@BOTH
def test_item_01_the_node_comes_with_the_first_request_of_each_stream_alone(
    make_plane, make_upstream, make_xds_line, transport
):
    plane = make_plane(*graph(make_upstream().port))
    make_xds_line(plane, xds={"transport": transport})
    wait_for_acks(plane)
    plane.open_streams()[0].end()
    stream = plane.wait_for_streams(2)
    plane.wait(lambda: set(STEERING) <= set(stream.subscribed), "every type is asked for again")
    for one in plane.streams:
        assert [r.has_node for r in one.requests] == [True] + [False] * (len(one.requests) - 1)
    node = plane.streams[0].requests[0].message.node
    assert (node.id, node.cluster) == ("board-1", "boards")
    assert node.user_agent_name and node.user_agent_version
    assert "xds.config.supports-resource-ttl" in node.client_features
    assert node == stream.requests[0].message.node


def test_items_02_to_05_every_request_has_the_newest_nonce_and_every_name(make_plane, make_upstream, make_xds_line):
    upstream = make_upstream()
    plane = make_plane(*graph(upstream.port))
    make_xds_line(plane)
    wait_for_acks(plane)
    for number in range(3):
        both = route_configuration("routes", virtual_host(route("extra", match(f"/{number}")), route("telemetry")))
        plane.set(*(graph(upstream.port)[:2] if number else []), static("extra", upstream.port), both)
        wait_for_acks(plane, CDS, RDS)
    nonces, accepted = {}, {}
    for request in plane.streams[0].requests:
        sent = [s for s in plane.streams[0].sent if s.kind == request.kind and s.time <= request.time]
        # A request that was on its way when a response was sent has the nonce before it.
        assert request.nonce in {"", *(s.nonce for s in sent[-2:])}
        assert (request.nonce == "") == (request.kind not in nonces)
        if request.answers is not None and not request.is_nack:
            accepted[request.kind] = request.answers.version
        assert request.version == accepted.get(request.kind, "")
        nonces[request.kind] = request.nonce
    assert [r.names for r in plane.of(CDS)][-1] == ["extra", "telemetry"], "SotW: the whole set"
    assert all(s.answer is not None for s in plane.streams[0].sent), "one answer to each response"
    answered = [r for r in plane.requests if r.nonce]
    assert len(answered) - len(plane.streams[0].sent) <= 2, "and hardly any request besides: names that are new"


def test_item_03_versions_outlive_a_stream_and_nonces_do_not(make_plane, make_upstream, make_xds_line):
    upstream = make_upstream()
    plane = make_plane(*graph(upstream.port))
    line = make_xds_line(plane)
    wait_for_acks(plane)
    plane.set(endpoints("telemetry", locality(upstream.port, weight=7)))
    wait_for_acks(plane)
    plane.withholds = True
    plane.open_streams()[0].end()
    stream = plane.wait_for_streams(2)
    plane.wait(lambda: set(STEERING) <= set(stream.subscribed), "every type is asked for again")
    assert {SHORT[k]: (r.version, r.nonce, r.names) for k, r in firsts(stream).items() if k != RTDS} == {
        "listener": ("1", "", [NAME]), "route": ("1", "", ["routes"]), "cluster": ("1", "", ["telemetry"]),
        "endpoints": ("2", "", ["telemetry"]),
    }
    # A server that says nothing, because the client has it already, takes nothing away.
    line.publish(b"after")
    upstream.wait_for_body(b"after")
    assert resource(line.spoke, CDS, "telemetry").state == "ACKED"


def test_item_03_a_cache_sends_no_versions(make_plane, make_upstream, make_xds_line):
    plane = make_plane(*graph(make_upstream().port))
    line = make_xds_line(plane)
    wait_for_acks(plane)
    line.spoke.terminate()
    line.spoke.start()
    stream = plane.wait_for_streams(2)
    plane.wait(lambda: set(STEERING) <= set(stream.subscribed), "every type")
    assert {r.version for r in firsts(stream).values()} == {""}


@BOTH
def test_item_04_and_14_a_refusal_has_the_new_nonce_the_old_version_and_code_3(
    make_plane, make_upstream, make_xds_line, transport
):
    upstream = make_upstream()
    plane = make_plane(*graph(upstream.port))
    line = make_xds_line(plane, xds={"transport": transport})
    wait_for_acks(plane)
    plane.set(cluster("telemetry", "ORIGINAL_DST"))
    nack = plane.wait_for_nack(CDS)
    assert nack.nonce == plane.streams[0].sent[-1].nonce or nack.answers.version == "2"
    assert nack.version == ("1" if transport == "sotw" else "")
    assert nack.message.error_detail.code == 3
    assert "telemetry" in nack.error and "type" in nack.error and len(nack.error) <= 4096
    plane.set(*graph(upstream.port))
    wait_for_acks(plane)
    assert len(plane.nacks()) == 1
    line.publish(b"after")
    upstream.wait_for_body(b"after")


@BOTH
def test_item_06_a_name_that_was_given_up_is_asked_for_and_sent_again(
    make_plane, make_upstream, make_xds_line, transport
):
    first, second = make_upstream(), make_upstream()
    to_one = route_configuration("routes", virtual_host(route("one")))
    to_two = route_configuration("routes", virtual_host(route("two")))
    plane = make_plane(listener(NAME), to_one, *graph(first.port, cluster_name="one")[:2],
                       *graph(second.port, cluster_name="two")[:2])
    line = make_xds_line(plane, xds={"transport": transport})
    for routes, upstream, name in ((to_one, first, "one"), (to_two, second, "two"), (to_one, first, "one")):
        plane.set(routes)
        plane.wait_for_names(CDS, name)
        plane.wait_for_names(EDS, name)
        line.publish(name.encode())
        wait_until(lambda: upstream.whole() and upstream.whole()[-1].body == name.encode(), f"{name} has it")
    stream = plane.streams[0]
    if transport == "sotw":
        asked = [tuple(r.names) for r in plane.of(CDS)]
        assert [n for n, before in zip(asked, [None, *asked]) if n != before][0] == ("one",)
    else:
        asked = [r for r in plane.of(CDS) if "one" in r.message.resource_names_subscribe]
        assert len(asked) == 2 and not asked[1].nonce
        assert any("one" in r.message.resource_names_unsubscribe for r in plane.of(CDS))
    # The server sent it again, although it had not changed.
    assert len([s for s in stream.sent if s.kind == CDS]) >= 3


@BOTH
def test_item_07_it_subscribes_by_name_and_never_to_everything(make_plane, make_upstream, make_xds_line, transport):
    plane = make_plane(*graph(make_upstream().port), cluster("of somebody else"), listener("of.somebody.else"))
    line = make_xds_line(plane, xds={"transport": transport})
    wait_for_acks(plane)
    first = firsts(plane.streams[0])
    assert [first[kind].names for kind in STEERING] == [[NAME], ["routes"], ["telemetry"], ["telemetry"]]
    assert plane.streams[0].wildcard == set()
    assert resource(line.spoke, CDS, "of somebody else") is None


@BOTH
def test_item_08_what_nobody_asked_for_is_ignored(make_plane, make_upstream, make_xds_line, transport):
    plane = make_plane(*graph(make_upstream().port))
    line = make_xds_line(plane, xds={"transport": transport})
    wait_for_acks(plane)
    stream, before = plane.open_streams()[0], len(plane.requests)
    other = [(name, Held(packed(message), "9")) for name, message in (
        ("unasked", cluster("unasked")), ("telemetry", cluster("telemetry")))]
    stream.send(stream.response(CDS, other, "9"))
    plane.wait_for_ack(CDS, "9")
    assert resource(line.spoke, CDS, "unasked") is None
    # A type that nobody knows is neither acknowledged nor refused.
    response = stream.response(CDS, [], "1")
    response.type_url = "type.googleapis.com/spoke.test.Unknown"
    stream.send(response)
    plane.set(endpoints("telemetry", locality(1)))
    plane.wait_for_ack(EDS)
    assert not [r for r in plane.requests[before:] if r.kind == response.type_url]
    assert plane.open_streams() == [stream]


def test_item_09_absence_is_deletion_for_listeners_and_clusters_alone(make_plane, make_upstream, make_xds_line):
    upstream = make_upstream()
    plane = make_plane(*graph(upstream.port))
    line = make_xds_line(plane)
    wait_for_acks(plane)
    stream = plane.open_streams()[0]
    for kind in (RDS, EDS):
        stream.send(stream.response(kind, [], "5"))
        plane.wait_for_ack(kind, "5")
    line.publish(b"still")
    upstream.wait_for_body(b"still")
    stream.send(stream.response(CDS, [], "6"))
    plane.wait_for_ack(CDS, "6")
    wait_for_resource(line.spoke, CDS, "telemetry", "DOES_NOT_EXIST")


def test_item_10_a_name_that_is_new_is_not_deleted_by_a_response_that_was_on_its_way(
    make_plane, make_upstream, make_xds_line
):
    upstream = make_upstream()
    plane = make_plane(*graph(upstream.port))
    line = make_xds_line(plane)
    wait_for_acks(plane)
    plane.set(route_configuration("routes", virtual_host(route("late"))))
    plane.wait_for_names(CDS, "late", "telemetry")
    stream = plane.open_streams()[0]
    stream.send(stream.response(CDS, list(plane.resources(CDS).items()), "7"))
    plane.wait_for_ack(CDS, "7")
    assert resource(line.spoke, CDS, "late").state == "REQUESTED"
    plane.set(*graph(upstream.port, cluster_name="late")[:2])
    plane.wait_for_names(CDS, "late")
    line.publish(b"by the late one")
    upstream.wait_for_body(b"by the late one")


def test_item_11_what_does_not_come_in_time_does_not_exist_until_it_comes(make_plane, make_upstream, make_xds_line):
    upstream = make_upstream()
    plane = make_plane(listener(NAME))
    line = make_xds_line(plane, xds={"fetch_timeout": "3s"})
    plane.wait_for_names(RDS, "routes")
    asked = plane.of(RDS)[-1].time
    assert resource(line.spoke, RDS, "routes").state == "REQUESTED"
    line.publish(b"waits")
    gone = wait_for_resource(line.spoke, RDS, "routes", "DOES_NOT_EXIST")
    # The server may have been late to see the question; without the setting it takes 15 s.
    assert 2 <= time.monotonic() - asked <= 12
    assert gone.source != "cache"
    plane.set(*graph(upstream.port))
    upstream.wait_for_body(b"waits", 20)
    assert resource(line.spoke, RDS, "routes").state == "ACKED"


def test_item_11_the_time_counts_on_a_stream_alone(make_plane, make_xds_line, make_upstream):
    plane = make_plane(paused=True)
    line = make_xds_line(plane, xds={"fetch_timeout": "1s"}, connected=False)
    holds_for(
        lambda: resource(line.spoke, LDS, NAME).state == "REQUESTED", "without a stream nothing does not exist", 1.5
    )
    assert line.spoke.stat(CONNECTED) == 0
    plane.start()
    wait_for_resource(line.spoke, LDS, NAME, "DOES_NOT_EXIST", 30)


def test_item_12_in_delta_the_server_says_that_something_does_not_exist(make_plane, make_upstream, make_xds_line):
    upstream = make_upstream()
    plane = make_plane(listener(NAME))
    line = make_xds_line(plane, xds={"transport": "delta"})
    plane.wait_for_ack(RDS, "0")
    assert resource(line.spoke, RDS, "routes").state == "DOES_NOT_EXIST", "at once, not after the fetch timeout"
    plane.set(*graph(upstream.port))
    line.publish(b"it came after all")
    upstream.wait_for_body(b"it came after all", 20)


def test_item_13_a_delta_stream_begins_with_what_is_known(make_plane, make_upstream, make_xds_line):
    upstream = make_upstream()
    plane = make_plane(*graph(upstream.port))
    line = make_xds_line(plane, xds={"transport": "delta"})
    wait_for_acks(plane)
    plane.stop()
    plane.set(endpoints("telemetry", locality(upstream.port, zone="moved")))
    plane.start()
    stream = plane.wait_for_streams(2, 30)
    plane.wait(lambda: set(STEERING) <= set(stream.subscribed), "every type")
    found = firsts(stream)
    for kind, name in ((LDS, NAME), (RDS, "routes"), (CDS, "telemetry"), (EDS, "telemetry")):
        assert dict(found[kind].message.initial_resource_versions) == {name: "1"}
        assert found[kind].names == [name] and not found[kind].nonce
    plane.wait_for_ack(EDS)
    sent = {SHORT[s.kind] for s in stream.sent if s.kind != RTDS}
    assert sent == {"endpoints"}, "only what changed is sent"
    assert not [r for r in stream.requests if r.message.initial_resource_versions and r is not found[r.kind]]
    line.publish(b"after")
    upstream.wait_for_body(b"after")

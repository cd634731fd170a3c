"""The daemon obeys a control plane: the whole way, from ADS to a request."""

import pytest
from resources import (
    CDS, EDS, LDS, RDS, cluster, endpoints, graph, listener, locality, route, route_configuration, virtual_host,
)
from steered import LISTENER, Steered, xds
from waiting import holds_for, wait_until


@pytest.fixture
def steered(folder, spoke, make_broker, make_publisher):
    broker = make_broker("max_queued_messages 0")
    return Steered(folder, spoke, broker, make_publisher(broker))


@pytest.mark.parametrize("transport", ["sotw", "delta"])
def test_a_request_goes_where_the_control_plane_says(steered, make_plane, make_upstream, transport):
    upstream, other = make_upstream(), make_upstream()
    plane = make_plane(*graph(upstream.port))
    steered.start(steered.text(table=xds(plane.url, transport=transport)))
    steered.publish(b"1")
    steered.wait_for_records(upstream, b"1")
    assert upstream.whole()[0].path == "/v1/state"
    for kind in (LDS, RDS, CDS, EDS):
        plane.wait_for_ack(kind)
    plane.set(endpoints("telemetry", locality(other.port)))
    plane.wait_for_ack(EDS)
    steered.publish(b"2")
    steered.wait_for_records(other, b"2")
    assert {r.stream.transport for r in plane.requests} == {transport}
    assert [r.message.node.id for r in plane.requests if r.has_node] == ["board-1"]


def test_records_wait_for_the_first_policy_without_a_request(steered, make_plane, make_upstream):
    upstream = make_upstream()
    plane = make_plane()
    steered.start(steered.text(table=xds(plane.url)))
    steered.publish(b"1", b"2")
    wait_until(lambda: steered.spoke.stat("spoke.stream.state.backlog_records") == 2, "both wait")
    holds_for(lambda: steered.spoke.stat("spoke.stream.state.retried") == 0, "nothing is tried", 1)
    plane.set(*graph(upstream.port))
    steered.wait_for_records(upstream, b"1", b"2")
    assert steered.spoke.stat("spoke.stream.state.retried") == 0


def test_a_listener_that_is_deleted_stops_the_stream_and_one_that_comes_again_starts_it(
    steered, make_plane, make_upstream
):
    upstream = make_upstream()
    plane = make_plane(*graph(upstream.port))
    steered.start(steered.text(table=xds(plane.url)))
    steered.publish(b"1")
    steered.wait_for_records(upstream, b"1")
    plane.remove(LDS, LISTENER)
    steered.wait_for_resource("listener", LISTENER, state="DOES_NOT_EXIST")
    steered.publish(b"2")
    wait_until(lambda: steered.spoke.stat("spoke.stream.state.backlog_records") == 1, "it waits")
    plane.set(listener(LISTENER))
    steered.wait_for_records(upstream, b"1", b"2")


def test_a_refused_resource_is_named_in_the_dump_and_the_good_one_stays_in_force(
    steered, make_plane, make_upstream
):
    upstream = make_upstream()
    plane = make_plane(*graph(upstream.port))
    steered.start(steered.text(table=xds(plane.url)))
    steered.publish(b"1")
    steered.wait_for_records(upstream, b"1")
    plane.set(cluster("telemetry", "ORIGINAL_DST"))
    nack = plane.wait_for_nack(CDS)
    assert "telemetry" in nack.error and nack.message.error_detail.code == 3
    bad = steered.wait_for_resource("cluster", "telemetry", state="NACKED")
    assert bad["version"] == "1" and bad["error"]["version"] == "2" and bad["error"]["message"] in nack.error
    steered.publish(b"2")
    steered.wait_for_records(upstream, b"1", b"2")
    assert steered.spoke.stats()["cluster_manager.cds.update_rejected"] == 1


def test_new_routes_wait_for_their_cluster_while_the_old_ones_carry_on(steered, make_plane, make_upstream):
    upstream, other = make_upstream(), make_upstream()
    plane = make_plane(*graph(upstream.port))
    steered.start(steered.text(table=xds(plane.url)))
    steered.publish(b"1")
    steered.wait_for_records(upstream, b"1")
    plane.set(route_configuration("routes", virtual_host(route("new"))))
    plane.wait_for_ack(RDS)
    steered.publish(b"2")
    steered.wait_for_records(upstream, b"1", b"2")
    plane.set(cluster("new"), endpoints("new", locality(other.port)))
    steered.wait_for_resource("endpoints", "new", state="ACKED")
    steered.publish(b"3")
    steered.wait_for_records(other, b"3")


def test_the_cache_carries_a_device_that_starts_without_its_control_plane(steered, make_plane, make_upstream, folder):
    upstream = make_upstream()
    plane = make_plane(*graph(upstream.port))
    text = steered.text(table=xds(plane.url, cache=folder / "xds"))
    steered.start(text)
    steered.publish(b"1")
    steered.wait_for_records(upstream, b"1")
    assert steered.spoke.terminate()[0] == 0
    assert (folder / "xds/resources").stat().st_mode & 0o777 == 0o600
    plane.stop()
    steered.start(text)
    steered.publish(b"2")
    steered.wait_for_records(upstream, b"1", b"2", seconds=5)
    assert {r["source"] for r in steered.resources().values()} == {"cache"}
    plane.start()
    steered.wait_for_resource("endpoints", "telemetry", source="server", seconds=30)


def test_a_corrupt_cache_is_set_aside_and_costs_nothing_else(steered, make_plane, make_upstream, folder):
    upstream = make_upstream()
    plane = make_plane(*graph(upstream.port))
    (folder / "xds").mkdir()
    (folder / "xds/resources").write_bytes(b"SPKXDS\0\1" + bytes(100))
    steered.start(steered.text(table=xds(plane.url, cache=folder / "xds")))
    steered.publish(b"1")
    steered.wait_for_records(upstream, b"1")
    assert (folder / "xds/resources.corrupt").exists()
    assert steered.spoke.stats()["spoke.xds.corrupt_files"] == 1
    steered.spoke.wait_for_log("the cache is set aside")

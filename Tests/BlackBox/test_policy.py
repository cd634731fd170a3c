"""The daemon obeys a control plane: the whole way, from ADS to a request."""

import subprocess

import pytest
from resources import (
    CDS, EDS, LDS, RDS, cluster, endpoints, graph, listener, locality, route, route_configuration, runtime,
    virtual_host,
)
from spoke import program, tls
from spoke_xds import chosen_cluster, cluster_lines, discovery_file, spokectl
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


def test_check_names_what_is_wrong_in_the_files_of_static_resources(steered, folder):
    spoke = steered.spoke.configure(steered.text(table=xds(servers=None, resources=folder / "xds.d")))
    (folder / "xds.d").mkdir()
    discovery_file(folder / "xds.d/10.pb", LDS, listener(LISTENER))
    discovery_file(folder / "xds.d/20.pb", CDS, cluster("telemetry", "ORIGINAL_DST"))
    (folder / "xds.d/30.pb").write_bytes(b"\xff")
    checked = subprocess.run(
        [program("spoked"), "--check", "--config", spoke.file], capture_output=True, text=True, timeout=20
    )
    assert checked.returncode == 78
    lines = [line for line in checked.stderr.splitlines() if "xds.d" in line]
    assert lines[0].startswith(f"{folder}/xds.d/20.pb: cluster telemetry: ")
    assert lines[1].startswith(f"{folder}/xds.d/30.pb: not a DiscoveryResponse: ")
    assert len(lines) == 2


def test_static_files_are_a_policy_and_a_reload_reads_them_again(steered, make_upstream, folder):
    upstream, other = make_upstream(), make_upstream()
    (folder / "xds.d").mkdir()
    discovery_file(folder / "xds.d/10.pb", LDS, listener(LISTENER))
    discovery_file(folder / "xds.d/20.pb", RDS, route_configuration("routes", virtual_host(route("telemetry"))))
    discovery_file(folder / "xds.d/30.pb", CDS, cluster("telemetry"))
    discovery_file(folder / "xds.d/40.pb", EDS, endpoints("telemetry", locality(upstream.port)))
    steered.start(steered.text(table=xds(servers=None, resources=folder / "xds.d")))
    steered.publish(b"1")
    steered.wait_for_records(upstream, b"1")
    assert {r["source"] for r in steered.resources().values()} == {"static"}
    discovery_file(folder / "xds.d/40.pb", EDS, endpoints("telemetry", locality(other.port)))
    steered.spoke.reload()
    steered.publish(b"2")
    steered.wait_for_records(other, b"2")


def test_the_pages_of_envoy_and_the_way_of_a_request(steered, make_plane, make_upstream):
    upstream = make_upstream()
    plane = make_plane(*graph(upstream.port), runtime("runtime", upstream__base_retry_backoff_ms=40))
    steered.start(steered.text(table=xds(plane.url, runtime=["runtime"])))
    steered.publish(b"1")
    steered.wait_for_records(upstream, b"1")
    stats = steered.spoke.stats()
    assert stats["control_plane.connected_state"] == 1
    assert stats["listener_manager.lds.update_success"] == 1
    assert stats["listener_manager.total_listeners_active"] == 1
    assert stats["cluster.telemetry.upstream_rq_total"] == 1
    wait_until(
        lambda: steered.spoke.json("/runtime")["entries"],
        lambda: steered.spoke.get("/runtime"),
    )
    assert steered.spoke.json("/runtime") == {
        "layers": ["runtime"],
        "entries": {"upstream.base_retry_backoff_ms": {"final_value": "40", "layer_values": ["40"]}},
    }
    lines = cluster_lines(steered.spoke, "telemetry")
    assert f"telemetry::127.0.0.1:{upstream.port}::cx_active::1" in lines
    assert f"telemetry::127.0.0.1:{upstream.port}::health_flags::healthy" in lines
    page = steered.spoke.json("/clusters?format=json")
    status = next(c for c in page["cluster_statuses"] if c["name"] == "telemetry")
    assert status["added_via_api"] is True
    assert status["host_statuses"][0]["address"]["socket_address"] == {
        "address": "127.0.0.1", "port_value": upstream.port,
    }
    assert chosen_cluster(steered.spoke, "/v1/state", LISTENER) == "telemetry"
    plane_page = steered.spoke.json("/config_dump")["control_plane"]
    assert plane_page["connected"] is True and plane_page["identifier"] == "control-plane"
    assert "telemetry" in spokectl(steered.spoke, "xds")


def test_a_control_plane_over_tls_is_reached_by_the_configuration_alone(
    steered, make_plane, make_upstream, authority, identity
):
    upstream = make_upstream()
    plane = make_plane(*graph(upstream.port), identity=identity)
    table = xds(plane.url, tls="fleet")
    steered.start(steered.text(tls("fleet", ca=authority.certificate), table=table))
    steered.publish(b"1")
    steered.wait_for_records(upstream, b"1")

"""The daemon obeys a control plane: the whole way, from ADS to a request, and what an operator sees of it."""

import pytest
from resources import (
    CDS, EDS, LDS, RDS, cluster, endpoints, graph, listener, locality, runtime,
)
from spoke import check, configuration, mqtt, stream, tls
from spoke_xds import (
    NAME, Target, chosen_cluster, cluster_lines, discovery_file, runtime_page, spokectl, table, wait_for_resource,
)
from waiting import holds_for, wait_until


@pytest.mark.parametrize("transport", ["sotw", "delta"])
def test_a_request_goes_where_the_control_plane_says(make_plane, make_upstream, make_xds_line, transport):
    upstream, other = make_upstream(), make_upstream()
    plane = make_plane(*graph(upstream.port))
    line = make_xds_line(plane, xds={"transport": transport, "runtime": []})
    line.publish(b"1")
    assert upstream.wait_for_body(b"1").path == "/v1/state"
    for kind in (LDS, RDS, CDS, EDS):
        plane.wait_for_ack(kind)
    plane.set(endpoints("telemetry", locality(other.port)))
    plane.wait_for_ack(EDS)
    line.publish(b"2")
    other.wait_for_body(b"2")
    assert {r.stream.transport for r in plane.requests} == {transport}
    assert [r.message.node.id for r in plane.requests if r.has_node] == ["board-1"]


def test_records_wait_for_the_first_policy_without_a_request(make_plane, make_upstream, make_xds_line):
    upstream = make_upstream()
    plane = make_plane()
    line = make_xds_line(plane, connected=False)
    line.publish(b"1", b"2")
    wait_until(lambda: line.spoke.stat("spoke.stream.state.backlog_records") == 2, "both wait")
    holds_for(lambda: line.spoke.stat("spoke.stream.state.retried") == 0, "nothing is tried", 1)
    plane.set(*graph(upstream.port))
    upstream.wait_for_body(b"2")
    assert [r.body for r in upstream.whole()] == [b"1", b"2"]
    assert line.spoke.stat("spoke.stream.state.retried") == 0


def test_a_refused_resource_is_counted_where_envoy_counts_it(make_plane, make_upstream, make_xds_line):
    plane = make_plane(*graph(make_upstream().port))
    line = make_xds_line(plane)
    wait_for_resource(line.spoke, CDS, "telemetry")
    plane.set(cluster("telemetry", "ORIGINAL_DST"))
    nack = plane.wait_for_nack(CDS)
    bad = wait_for_resource(line.spoke, CDS, "telemetry", "NACKED", version="1", error_version="2")
    assert bad.error in nack.error
    assert line.spoke.stats()["cluster_manager.cds.update_rejected"] == 1


def test_check_names_what_is_wrong_in_the_files_of_static_resources(folder):
    place = folder / "xds.d"
    place.mkdir()
    discovery_file(place / "10.pb", LDS, listener(NAME))
    discovery_file(place / "20.pb", CDS, cluster("telemetry", "ORIGINAL_DST"))
    (place / "30.pb").write_bytes(b"\xff")
    checked = check(folder, configuration(
        folder, stream("state", Target.url, path="/v1/state"), mqtt("mqtt://localhost:1", ("in/state", "state")),
        table(folder, resources=place),
    ))
    assert checked.returncode == 78
    lines = [line for line in checked.stderr.splitlines() if "xds.d" in line]
    assert lines[0].startswith(f"{place}/20.pb: cluster telemetry: ")
    assert lines[1].startswith(f"{place}/30.pb: not a DiscoveryResponse: ")
    assert len(lines) == 2


def test_a_folder_of_static_resources_that_is_not_there_is_named_with_its_place(folder, spoke):
    text = configuration(
        folder, stream("state", Target.url, path="/v1/state"), mqtt("mqtt://localhost:1", ("in/state", "state")),
        table(folder, resources=folder / "nowhere"),
    )
    checked = check(folder, text)
    assert checked.returncode == 78
    row = next(n for n, line in enumerate(text.splitlines(), 1) if line.startswith("resources"))
    said = f"spoke.toml:{row}:13: xds: {folder}/nowhere: open: No such file or directory"
    assert said.replace("spoke", "checked", 1) in checked.stderr
    spoke.start(text)
    assert said in spoke.wait_for_log("nowhere")


def test_the_pages_of_envoy_and_the_way_of_a_request(make_plane, make_upstream, make_xds_line):
    upstream = make_upstream()
    plane = make_plane(*graph(upstream.port), runtime("runtime", upstream__base_retry_backoff_ms=40))
    line = make_xds_line(plane, xds={"runtime": ["runtime"]})
    spoke = line.spoke
    line.publish(b"1")
    upstream.wait_for_body(b"1")
    stats = spoke.stats()
    assert stats["control_plane.connected_state"] == 1
    assert stats["listener_manager.lds.update_success"] == 1
    assert stats["listener_manager.total_listeners_active"] == 1
    assert stats["cluster.telemetry.upstream_rq_total"] == 1
    wait_until(lambda: runtime_page(spoke), lambda: spoke.get("/runtime"))
    assert spoke.json("/runtime") == {
        "layers": ["runtime"],
        "entries": {"upstream.base_retry_backoff_ms": {"final_value": "40", "layer_values": ["40"]}},
    }
    lines = cluster_lines(spoke, "telemetry")
    assert f"telemetry::127.0.0.1:{upstream.port}::cx_active::1" in lines
    assert f"telemetry::127.0.0.1:{upstream.port}::health_flags::healthy" in lines
    page = spoke.json("/clusters?format=json")
    status = next(c for c in page["cluster_statuses"] if c["name"] == "telemetry")
    assert status["added_via_api"] is True
    assert status["host_statuses"][0]["address"]["socket_address"] == {
        "address": "127.0.0.1", "port_value": upstream.port,
    }
    assert chosen_cluster(spoke, "/v1/state", NAME) == "telemetry"
    plane_page = spoke.json("/config_dump")["control_plane"]
    assert plane_page["connected"] is True and plane_page["identifier"] == "control-plane"
    assert "telemetry" in spokectl(spoke, "xds")


def test_a_control_plane_over_tls_is_reached_by_the_configuration_alone(
    make_plane, make_upstream, make_xds_line, authority, identity
):
    upstream = make_upstream()
    plane = make_plane(*graph(upstream.port), identity=identity)
    line = make_xds_line(plane, xds={"tls": "fleet"}, parts=[tls("fleet", ca=authority.certificate)])
    line.publish(b"1")
    upstream.wait_for_body(b"1")

"""The control plane of these tests, against the xDS clients of others: it serves both transports correctly."""

import grpc
import pytest
from control_plane import SERVICE, Raw
from differences import CALL, everywhere, grpc_answer
from envoy.service.discovery.v3 import discovery_pb2
from resources import (
    CDS, EDS, LDS, RDS, SHORT, cluster, endpoints, graph, listener, locality, route, route_configuration,
    virtual_host, weighted,
)
from upstream import Answer
from waiting import wait_until

def test_grpcio_is_steered_and_acknowledges_every_type(make_plane, make_upstream, make_grpc_client):
    upstream = everywhere(make_upstream, 2, grpc_answer)
    plane = make_plane(*graph(upstream.port))
    client = make_grpc_client(plane)
    assert client.call((CALL, [])) == [{"code": "OK", "body": "127.0.0.1"}]
    for kind in (LDS, RDS, CDS, EDS):
        plane.wait_for_ack(kind)
    assert [SHORT[r.kind] for r in plane.requests if r.has_node] == ["listener"]
    assert all(r.answers.nonce == r.nonce for r in plane.requests if r.nonce and r.answers)
    plane.set(endpoints("telemetry", locality((upstream.port, "127.0.0.2"))))
    plane.wait_for_ack(EDS)
    wait_until(lambda: client.call((CALL, []))[0].get("body") == "127.0.0.2", "the new endpoint is used")


def test_grpcio_applies_the_good_ones_of_a_response_and_refuses_the_bad_one(make_plane, make_upstream, make_grpc_client):
    upstream = make_upstream(rule=grpc_answer)
    plane = make_plane(*graph(upstream.port))
    client = make_grpc_client(plane)
    assert client.call((CALL, []))[0]["code"] == "OK"
    plane.set(cluster("telemetry", "ORIGINAL_DST"))
    nack = plane.wait_for_nack(CDS)
    assert "telemetry" in nack.error and nack.message.error_detail.code == 3
    assert client.call((CALL, []))[0]["code"] == "OK", "the last good one stays in force"


def test_grpcio_comes_back_with_its_versions_after_an_outage(make_plane, make_upstream, make_grpc_client):
    upstream = make_upstream(rule=grpc_answer)
    plane = make_plane(*graph(upstream.port))
    client = make_grpc_client(plane)
    assert client.call((CALL, []))[0]["code"] == "OK"
    plane.wait_for_ack(EDS)
    plane.stop()
    assert client.call((CALL, []))[0]["code"] == "OK", "an outage of the control plane costs nothing"
    plane.start()
    stream = plane.wait_for_streams(2)
    plane.wait(lambda: len(stream.subscribed) == 4, "all types are asked for")
    firsts = {r.kind: r for r in reversed(stream.requests)}
    assert {SHORT[kind]: (r.version, r.nonce) for kind, r in firsts.items()} == {
        SHORT[kind]: ("1", "") for kind in (LDS, RDS, CDS, EDS)
    }


@pytest.mark.parametrize("transport", ["sotw", "delta"])
def test_envoy_is_steered_in_both_transports(make_plane, make_upstream, make_envoy_client, transport):
    upstream = everywhere(make_upstream, 2, lambda request: Answer(headers=[("x-address", request.address)]))
    plane = make_plane(*graph(upstream.port))
    envoy = make_envoy_client(plane, transport=transport)
    envoy.wait_until_live()
    assert envoy.request("any", "/v1/state")[1]["x-address"] == "127.0.0.1"
    assert {r.stream.transport for r in plane.requests} == {transport}
    assert sum(r.has_node for r in plane.requests) == 1
    # A new cluster, routes to it, then the old one goes: nothing fails on the way.
    plane.set(
        cluster("second"), endpoints("second", locality((upstream.port, "127.0.0.2"))),
        route_configuration("routes", virtual_host(route("second"))),
    )
    for kind in (CDS, EDS, RDS):
        plane.wait_for_ack(kind)
    wait_until(lambda: envoy.request("any", "/")[1].get("x-address") == "127.0.0.2", "the new route is used")
    plane.remove(CDS, "telemetry")
    plane.wait_for_ack(CDS)
    wait_until(lambda: "telemetry::" not in envoy.operator("/clusters"), "the old cluster is gone")
    assert envoy.request("any", "/")[0] == 200


@pytest.mark.parametrize("transport", ["sotw", "delta"])
def test_envoy_refuses_what_is_broken_and_keeps_the_last_good_one(
    make_plane, make_upstream, make_envoy_client, transport
):
    upstream = make_upstream()
    plane = make_plane(*graph(upstream.port))
    envoy = make_envoy_client(plane, transport=transport)
    envoy.wait_until_live()
    plane.set(route_configuration("routes", virtual_host(route(**weighted(telemetry=0)))))
    nack = plane.wait_for_nack(RDS)
    assert nack.version == ("1" if transport == "sotw" else "")
    assert envoy.request("any", "/")[0] == 200
    plane.set(Raw(RDS, "routes", b"\x12\xff"))
    plane.wait_for_nack(RDS)
    plane.set(*graph(upstream.port))
    plane.wait_for_ack(RDS)
    assert envoy.request("any", "/")[0] == 200


def test_envoy_starts_over_when_a_stream_ends_and_is_sent_everything_again(make_plane, make_upstream, make_envoy_client):
    upstream = make_upstream()
    plane = make_plane(*graph(upstream.port))
    envoy = make_envoy_client(plane, transport="delta")
    envoy.wait_until_live()
    plane.wait_for_ack(RDS)
    plane.open_streams()[0].end(grpc.StatusCode.UNAVAILABLE, "restarting")
    stream = plane.wait_for_streams(2)
    plane.wait(lambda: {CDS, EDS, RDS} <= set(stream.subscribed), "all types are asked for")
    firsts = {r.kind: r for r in reversed(stream.requests)}
    assert dict(firsts[RDS].message.initial_resource_versions) == {"routes": "1"}
    assert list(firsts[RDS].message.resource_names_subscribe) == ["routes"]
    assert envoy.request("any", "/")[0] == 200
    # Unchanged resources are not sent again in delta.
    assert not [s for s in stream.sent if s.kind == RDS]


def test_load_reports_of_grpcio_come_in(make_plane, make_upstream, make_grpc_client):
    upstream = make_upstream(rule=grpc_answer)
    parts = graph(upstream.port)
    parts[0] = cluster("telemetry", lrs_server={"self": {}, "resource_api_version": "V3"})
    plane = make_plane(*parts)
    plane.report_loads(0.3)
    client = make_grpc_client(plane)
    assert {r["code"] for r in client.call(*[(CALL, [])] * 20)} == {"OK"}

    def issued():
        return sum(
            entry.total_issued_requests for _, message in plane.load_requests()
            for stats in message.cluster_stats for entry in stats.upstream_locality_stats
        )

    wait_until(lambda: issued() >= 20, lambda: f"20 requests are reported: {plane.load_requests()}")
    assert issued() == 20


def test_over_tls_it_is_the_same(make_plane, identity, authority):
    plane = make_plane(listener("one"), identity=identity, client_authority=authority.certificate)
    own = authority.client("board", "board-1")
    credentials = grpc.ssl_channel_credentials(
        authority.certificate.read_bytes(), own.key.read_bytes(), own.certificate.read_bytes()
    )
    with grpc.secure_channel(f"127.0.0.1:{plane.port}", credentials) as channel:
        call = channel.stream_stream(
            SERVICE + "StreamAggregatedResources",
            request_serializer=discovery_pb2.DiscoveryRequest.SerializeToString,
            response_deserializer=discovery_pb2.DiscoveryResponse.FromString,
        )
        response = next(call(iter([discovery_pb2.DiscoveryRequest(type_url=LDS, resource_names=["one"])])))
        assert [any_value.type_url for any_value in response.resources] == [LDS]
        assert (response.version_info, response.nonce) == ("1", "1.1")

"""TLS as the control plane says: from files and from secrets, whose rotation is for new connections (XDS.md items 36
and 112)."""

import pytest
from certificates import Authority
from resources import (
    CDS, EDS, SDS, cluster, endpoints, graph, locality, route, route_configuration, san, secret_ca,
    secret_certificate, upstream_tls, virtual_host,
)
from spoke_xds import cluster_stat, resource, wait_for_resource
from test_xds_protocol import BOTH, wait_for_acks
from waiting import holds_for, wait_until


@pytest.fixture(scope="session")
def others(tmp_path_factory):
    """Somebody else's authority."""
    return Authority(tmp_path_factory.mktemp("others"), "another authority")


@pytest.fixture
def start(make_plane, make_upstream, make_xds_line, identity):
    """A line whose cluster `telemetry` has the TLS given, to an upstream over TLS."""

    def start(context, *secrets, xds=(), upstream=(), **keys):
        server = make_upstream(identity, **dict(upstream))
        plane = make_plane(*graph(server.port), cluster("telemetry", tls=context), *secrets)
        line = make_xds_line(plane, xds={"runtime": [], **dict(xds)}, **keys)
        return plane, server, line

    return start


def arrives(line, upstream, body, seconds=15):
    line.publish(body)
    upstream.wait_for_body(body, seconds)


@BOTH
def test_item_36_authorities_that_rotate_are_for_new_connections(start, authority, others, transport):
    plane, upstream, line = start(
        upstream_tls(ca_secret="roots", sni="localhost"), secret_ca("roots", authority.certificate),
        xds={"transport": transport},
    )
    arrives(line, upstream, b"1")
    plane.set(secret_ca("roots", others.certificate))
    plane.wait_for_ack(SDS)
    arrives(line, upstream, b"2")
    assert upstream.connections == 1, "the connection that is there stays"
    upstream.drop_connections()
    line.publish(b"3")
    wait_until(lambda: cluster_stat(line.spoke, "telemetry", "upstream_cx_connect_fail") >= 1, "the new one is refused")
    assert not [r for r in upstream.whole() if r.body == b"3"]
    assert "certificate verify failed" in line.spoke.log
    plane.set(secret_ca("roots", authority.certificate))
    plane.wait_for_ack(SDS)
    upstream.wait_for_body(b"3", 20)
    assert line.spoke.stat("spoke.stream.state.parked") == 0


def test_item_36_a_certificate_of_the_device_rotates_with_new_connections(start, authority):
    first, second = authority.client("first", "board-1"), authority.client("second", "board-1-renewed")
    plane, upstream, line = start(
        upstream_tls(ca=authority.certificate, identity_secret="device", sni="localhost"),
        secret_certificate("device", first), upstream={"client_authority": authority.certificate},
    )
    arrives(line, upstream, b"1")
    assert names(upstream.peers[-1]) == ["board-1"]
    plane.set(secret_certificate("device", second))
    plane.wait_for_ack(SDS)
    arrives(line, upstream, b"2")
    assert upstream.connections == 1
    upstream.drop_connections()
    arrives(line, upstream, b"3")
    assert names(upstream.peers[-1]) == ["board-1-renewed"]


def names(peer):
    return [value for key, value in peer["certificate"]["subjectAltName"] if key == "DNS"]


def test_item_36_a_key_of_another_certificate_is_refused_and_the_secret_before_it_stays(start, authority):
    first, other = authority.client("one", "board-1"), authority.client("two", "board-2")
    plane, upstream, line = start(
        upstream_tls(ca=authority.certificate, identity_secret="device", sni="localhost"),
        secret_certificate("device", first), upstream={"client_authority": authority.certificate},
    )
    arrives(line, upstream, b"1")
    mixed = secret_certificate("device", first)
    mixed.tls_certificate.private_key.inline_bytes = other.key.read_bytes()
    plane.set(mixed)
    nack = plane.wait_for_nack(SDS)
    assert "device: tls_certificate: " in nack.error
    assert "PRIVATE KEY" not in nack.error
    kept = resource(line.spoke, SDS, "device")
    assert (kept.state, kept.version, kept.error_version) == ("NACKED", "1", "2")
    upstream.drop_connections()
    arrives(line, upstream, b"2")
    assert names(upstream.peers[-1]) == ["board-1"]


def test_items_30_and_36_without_its_secret_a_cluster_connects_to_nobody_until_it_comes(start, authority):
    plane, upstream, line = start(
        upstream_tls(ca_secret="roots", sni="localhost"), xds={"fetch_timeout": "1s"},
    )
    line.publish(b"waits")
    wait_for_resource(line.spoke, SDS, "roots", "DOES_NOT_EXIST")
    holds_for(lambda: upstream.connections == 0, "never in the clear, and never unverified", 0.5)
    plane.set(secret_ca("roots", authority.certificate))
    upstream.wait_for_body(b"waits", 20)


@pytest.mark.parametrize("names, is_taken", [
    ([san(exact="localhost")], True), ([san(exact="elsewhere")], False), ([san(prefix="local")], True),
    ([san("IP_ADDRESS", exact="127.0.0.1")], True), ([san("URI", exact="localhost")], False),
    ([san(exact="elsewhere"), san(suffix="host")], True),
], ids=["its own", "another", "prefix", "address", "of another kind", "one of two"])
def test_item_112_the_names_that_the_control_plane_wants_decide(start, authority, names, is_taken):
    plane, upstream, line = start(upstream_tls(ca=authority.certificate, sans=names, sni="localhost"))
    line.publish(b"1")
    if is_taken:
        upstream.wait_for_body(b"1")
        return
    wait_until(lambda: cluster_stat(line.spoke, "telemetry", "upstream_cx_connect_fail") >= 1, lambda: line.spoke.log[-2000:])
    assert upstream.whole() == []
    assert "hostname mismatch" in line.spoke.log
    # The names are the cluster's to change, for the same connection's next attempt.
    plane.set(cluster("telemetry", tls=upstream_tls(ca=authority.certificate, sans=[san(exact="localhost")], sni="localhost")))
    plane.wait_for_ack(CDS)
    upstream.wait_for_body(b"1", 20)


def test_a_validation_context_of_two_parts_is_that_of_both(start, authority):
    """`combined_validation_context`: the names of the cluster, the authorities of the secret."""
    plane, upstream, line = start(
        upstream_tls(ca_secret="roots", sans=[san(exact="elsewhere")], sni="localhost"),
        secret_ca("roots", authority.certificate),
    )
    line.publish(b"1")
    wait_until(lambda: cluster_stat(line.spoke, "telemetry", "upstream_cx_connect_fail") >= 1, "another name is wanted")
    plane.set(cluster("telemetry", tls=upstream_tls(ca_secret="roots", sans=[san(exact="localhost")], sni="localhost")))
    plane.wait_for_ack(CDS)
    upstream.wait_for_body(b"1", 20)


def test_a_cluster_changes_from_cleartext_to_tls_without_a_lost_record(
    make_plane, make_upstream, make_xds_line, identity, authority
):
    plain, secure = make_upstream(), make_upstream(identity)
    plane = make_plane(*graph(plain.port))
    line = make_xds_line(plane)
    wait_for_acks(plane)
    arrives(line, plain, b"1")
    plane.set(
        cluster("secure", tls=upstream_tls(ca=authority.certificate, sni="localhost")),
        endpoints("secure", locality(secure.port)), route_configuration("routes", virtual_host(route("secure"))),
    )
    plane.wait_for_ack(EDS)
    wait_for_resource(line.spoke, EDS, "secure")
    arrives(line, secure, b"2")
    assert secure.peers[0]["alpn"] == "h2"
    assert line.spoke.stat("spoke.stream.state.retried") == 0

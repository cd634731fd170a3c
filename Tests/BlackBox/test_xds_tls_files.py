"""Certificates, keys and roots that a policy names by their files."""

import shutil

from certificates import Authority
from resources import CDS, cluster, graph, upstream_tls
from waiting import holds_for, wait_until


def names(upstream):
    return [peer["certificate"]["subject"][0][0][1] for peer in upstream.peers]


def reconnect(line, upstream, body):
    """A record on a connection of its own."""
    upstream.drop_connections()
    line.publish(body)
    upstream.wait_for_body(body)


def install(identity, certificate, key):
    """As a tool that renews certificates does it: each file is replaced as a whole."""
    for source, place in ((identity.certificate, certificate), (identity.key, key)):
        fresh = place.with_suffix(".new")
        shutil.copy(source, fresh)
        fresh.rename(place)


def test_files_that_were_replaced_serve_new_connections_once_they_fit_together(
    folder, make_plane, make_upstream, make_xds_line, identity, authority
):
    first, second = authority.client("first", "first"), authority.client("second", "second")
    live = authority.client("live", "live")
    install(first, live.certificate, live.key)
    upstream = make_upstream(identity, client_authority=authority.certificate)
    tls = upstream_tls(ca=authority.certificate, identity=live, sni="localhost")
    line = make_xds_line(make_plane(*graph(upstream.port), cluster("telemetry", tls=tls)))
    line.publish(b"one")
    upstream.wait_for_body(b"one")
    shutil.copy(second.certificate, live.certificate)
    line.publish(b"two")
    upstream.wait_for_body(b"two")
    assert names(upstream) == ["first"], "the connection that is up goes on"
    reconnect(line, upstream, b"three")
    assert names(upstream) == ["first", "first"], "the key is not the certificate's"
    line.spoke.wait_for_log("files of a policy have changed and are not used")
    shutil.copy(second.key, live.key)
    reconnect(line, upstream, b"four")
    install(first, live.certificate, live.key)
    line.spoke.reload()
    reconnect(line, upstream, b"five")
    assert names(upstream) == ["first", "first", "second", "first"]
    live.key.unlink()
    reconnect(line, upstream, b"six")
    assert names(upstream)[-1] == "first"
    paths = [c["path"] for entry in line.spoke.json("/certs")["certificates"] for c in entry["cert_chain"]]
    assert paths == [str(live.certificate)]


def test_roots_that_were_replaced_decide_about_new_connections(
    folder, make_plane, make_upstream, make_xds_line, identity, authority
):
    roots = folder / "roots.pem"
    shutil.copy(authority.certificate, roots)
    upstream = make_upstream(identity)
    tls = upstream_tls(ca=roots, sni="localhost")
    line = make_xds_line(make_plane(*graph(upstream.port), cluster("telemetry", tls=tls)))
    line.publish(b"one")
    upstream.wait_for_body(b"one")
    shutil.copy(Authority(folder, "another").certificate, roots)
    upstream.drop_connections()
    line.publish(b"two")
    wait_until(lambda: upstream.failed_handshakes, "the server is not trusted any more")
    holds_for(lambda: len(upstream.whole()) == 1, "nothing is sent to it", 0.5)
    shutil.copy(authority.certificate, roots)
    upstream.wait_for_body(b"two", 30)


def test_a_resource_whose_files_are_not_there_is_refused_and_taken_when_it_comes_again(
    folder, make_plane, make_upstream, make_xds_line, identity, authority
):
    upstream = make_upstream(identity)
    good = upstream_tls(ca=authority.certificate, sni="localhost")
    plane = make_plane(*graph(upstream.port), cluster("telemetry", tls=good))
    line = make_xds_line(plane)
    line.publish(b"one")
    upstream.wait_for_body(b"one")
    roots = folder / "later.pem"
    missing = cluster("telemetry", tls=upstream_tls(ca=roots, sni="localhost"))
    plane.set(missing)
    nack = plane.wait_for_nack(CDS)
    assert "telemetry" in nack.error and str(roots) in nack.error and "trusted_ca" in nack.error
    reconnect(line, upstream, b"two")
    shutil.copy(authority.certificate, roots)
    plane.set(missing)
    plane.wait_for_ack(CDS)
    reconnect(line, upstream, b"three")


def test_a_resource_whose_files_were_not_there_is_asked_for_again_by_a_reload(
    folder, make_plane, make_upstream, make_xds_line, identity, authority
):
    upstream = make_upstream(identity)
    roots = folder / "later.pem"
    late = cluster("telemetry", tls=upstream_tls(ca=roots, sni="localhost"))
    plane = make_plane(*graph(upstream.port), late)
    line = make_xds_line(plane)
    assert str(roots) in plane.wait_for_nack(CDS).error
    line.publish(b"one")
    shutil.copy(authority.certificate, roots)
    line.spoke.reload()
    upstream.wait_for_body(b"one")
    streams = len(plane.streams)
    line.spoke.reload()
    line.publish(b"two")
    upstream.wait_for_body(b"two")
    assert len(plane.streams) == streams, "nothing is refused any more: the stream goes on"

"""Servers of others set to extremes: no windows, no header table, padding, small bodies, short idle times."""

import pytest
from hyperframe.frame import GoAwayFrame, RstStreamFrame, SettingsFrame
from interop import NO_ERROR, PATH, REFUSED_STREAM, assert_each_once, bodies, sequence
from servers import H2O, Apache, Caddy, Envoy, HAProxy, Nghttpx, Nginx
from spoke import tls
from waiting import wait_until

HEADER_TABLE_SIZE, INITIAL_WINDOW_SIZE = 1, 4

# A server, its options, a setting that it must announce for the test to mean something.
EXTREMES = {
    "nginx-no-window": (Nginx, {"inside": "http2_body_preread_size 0;"}, (INITIAL_WINDOW_SIZE, 0)),
    "nghttpx-small-windows": (
        Nghttpx, {"lines": "frontend-http2-window-size=1000\nfrontend-http2-connection-window-size=65535"},
        (INITIAL_WINDOW_SIZE, 1000),
    ),
    "haproxy-small-windows": (HAProxy, {"globals": "tune.h2.initial-window-size 1000"}, (INITIAL_WINDOW_SIZE, 1000)),
    "nghttpx-no-header-table": (
        Nghttpx, {"lines": "frontend-http2-decoder-dynamic-table-size=0"}, (HEADER_TABLE_SIZE, 0),
    ),
    "haproxy-large-header-table": (
        HAProxy, {"globals": "tune.h2.header-table-size 65536"}, (HEADER_TABLE_SIZE, 65_536),
    ),
    "nghttpx-padding": (Nghttpx, {"lines": "padding=200"}, None),
}


def assert_the_daemon_had_no_complaint(relay):
    assert {f.error_code for _, _, up, f in relay.frames(GoAwayFrame) if up} <= {NO_ERROR}
    assert not [f for _, _, up, f in relay.frames(RstStreamFrame) if up]


@pytest.mark.parametrize("kind, options, setting", EXTREMES.values(), ids=EXTREMES)
def test_a_server_at_its_extremes_gets_every_record(make_server, make_relay, make_line, kind, options, setting):
    server = make_server(kind, False, **options)
    relay = make_relay(server)
    line = make_line(relay, in_flight=6, **PATH)
    payloads = bodies(13, 40, "state")
    line.publish(*payloads)
    line.spoke.wait_for_stat("spoke.stream.state.delivered", 40, 30)
    assert_each_once(server.back.whole(), payloads)
    if setting is not None:
        code, value = setting
        assert [f.settings[code] for _, _, up, f in relay.frames(SettingsFrame) if not up and code in f.settings] == [value]
    assert_the_daemon_had_no_complaint(relay)
    assert line.spoke.stat("spoke.stream.state.retried") == 0


BUFFER = """
          - name: envoy.filters.http.buffer
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.buffer.v3.Buffer
              max_request_bytes: 10240"""

# A server and the options that make it refuse a body over 10 kB with 413, maybe before it has seen it.
SMALL_BODIES = [
    (Nginx, {"inside": "client_max_body_size 10k;"}),
    (Caddy, {"inside": "request_body {\n max_size 10KB\n }"}),
    (Envoy, {"filters": BUFFER}),
]


@pytest.mark.parametrize("kind, options", SMALL_BODIES, ids=[kind.name for kind, _ in SMALL_BODIES])
def test_a_record_that_is_too_large_for_the_server_is_parked_and_the_others_arrive(
    make_server, make_line, kind, options
):
    server = make_server(kind, False, **options)
    line = make_line(server, in_flight=4, **PATH)
    payloads = bodies(14, 40, "state")
    large = {n for n, payload in enumerate(payloads, 1) if len(payload) > 10_240}
    assert len(large) == 4
    line.publish(*payloads)
    line.spoke.wait_for_stat("spoke.stream.state.delivered", 36, 30)
    line.spoke.wait_for_stat("spoke.stream.state.parked", 4, 30)
    # What a proxy has passed on of a large one is not whole.
    taken = [r for r in server.back.whole() if sequence(r.id) not in large]
    assert {sequence(r.id): r.body for r in taken} == {
        n: payload for n, payload in enumerate(payloads, 1) if n not in large
    }
    assert line.spoke.stat("spoke.stream.state.backlog_records") == 0


def test_h2o_refuses_the_stream_of_a_large_body_which_is_no_verdict_and_the_record_waits(make_server, make_relay, make_line):
    # REFUSED_STREAM says that the request was not processed and may come again (RFC 9113 §8.7).
    relay = make_relay(make_server(H2O, False, lines="limit-request-body: 10240"))
    line = make_line(relay, in_flight=2, **PATH)
    line.publish(b"l" * 20_000, *[b"small %d" % n for n in range(20)])
    line.spoke.wait_for_stat("spoke.stream.state.delivered", 20, 30)
    line.spoke.wait_for_stat("spoke.stream.state.retried", 1)
    assert REFUSED_STREAM in [f.error_code for _, _, up, f in relay.frames(RstStreamFrame) if not up]
    stats = line.spoke.stats()
    assert stats["spoke.stream.state.backlog_records"] == 1
    assert stats["spoke.stream.state.parked"] == stats["spoke.stream.state.dropped"] == 0


IDLE = [
    (Nginx, {"inside": "keepalive_timeout 2s;"}),
    (HAProxy, {"rules": "timeout client 2s"}),
    (Apache, {"lines": "KeepAliveTimeout 2"}),
    (H2O, {"lines": "http2-idle-timeout: 2"}),
    (Caddy, {"servers": "timeouts {\n idle 2s\n }"}),
    (Envoy, {"manager": "common_http_protocol_options: { idle_timeout: 2s }"}),
    (Nghttpx, {"lines": "frontend-http2-read-timeout=2s"}),
]


@pytest.mark.parametrize("kind, options", IDLE, ids=[kind.name for kind, _ in IDLE])
def test_a_connection_that_the_server_closed_for_idleness_is_opened_again(
    make_server, make_relay, make_line, kind, options
):
    server = make_server(kind, False, **options)
    relay = make_relay(server)
    line = make_line(relay, **PATH)
    payloads = bodies(15, 8, "state")
    active = f"cluster.localhost_{relay.port}.upstream_cx_active"
    for half in (payloads[:4], payloads[4:]):
        line.publish(*half)
        line.spoke.wait_for_stat("spoke.stream.state.delivered", payloads.index(half[-1]) + 1, 15)
        wait_until(lambda: line.spoke.stat(active) == 0, f"{kind.name} closes", 20, 0.05)
    assert [r.body for r in server.back.whole()] == payloads
    assert len(relay.connections) == 2
    assert line.spoke.stat("spoke.stream.state.retried") == 0
    assert_the_daemon_had_no_complaint(relay)


# What makes a server ask for a certificate of this authority.
ASKS_FOR_A_CERTIFICATE = [
    (Nginx, lambda ca: {"inside": f"ssl_client_certificate {ca}; ssl_verify_client on;"}),
    (HAProxy, lambda ca: {"tls": f"ca-file {ca} verify required"}),
    (Apache, lambda ca: {"lines": f"SSLVerifyClient require\nSSLCACertificateFile {ca}"}),
    (Caddy, lambda ca: {"tls": f"{{\n client_auth {{\n mode require_and_verify\n trusted_ca_cert_file {ca}\n }}\n }}"}),
    (Envoy, lambda ca: {"tls": f"validation_context: {{ trusted_ca: {{ filename: {ca} }} }}"}),
    (Nghttpx, lambda ca: {"lines": f"verify-client=yes\nverify-client-cacert={ca}"}),
]


@pytest.mark.parametrize("kind, options", ASKS_FOR_A_CERTIFICATE, ids=[kind.name for kind, _ in ASKS_FOR_A_CERTIFICATE])
def test_a_server_that_asks_for_a_certificate_gets_the_devices(
    make_server, make_line, authority, kind, options
):
    server = make_server(kind, True, **options(authority.certificate))
    device = authority.client(f"device-{kind.name}", "board-1")
    own = tls("device", ca=authority.certificate, certificate=device.certificate, key=device.key)
    line = make_line(server, own, tls="device", **PATH)
    payloads = bodies(16, 8, "state")
    line.publish(*payloads)
    line.spoke.wait_for_stat("spoke.stream.state.delivered", 8, 20)
    assert_each_once(server.back.whole(), payloads)


# nginx is not among them: it answers such requests with 400.
REFUSE_WITH_AN_ALERT = ASKS_FOR_A_CERTIFICATE[1:]


@pytest.mark.parametrize("kind, options", REFUSE_WITH_AN_ALERT, ids=[kind.name for kind, _ in REFUSE_WITH_AN_ALERT])
def test_a_server_that_misses_the_devices_certificate_says_so_and_nothing_is_lost(
    make_server, make_line, authority, kind, options
):
    # With TLS 1.3 the daemon believes the connection to be up before the server has looked.
    server = make_server(kind, True, **options(authority.certificate))
    line = make_line(server, **PATH)
    line.publish(b"1", b"2", b"3")
    # RFC 8446 §6.2 has certificate_required for it; Go's older servers say bad_certificate.
    line.spoke.wait_for_log("bad certificate" if kind is Caddy else "certificate required")
    stats = line.spoke.stats()
    assert stats["spoke.stream.state.backlog_records"] == 3
    assert stats["spoke.stream.state.parked"] == stats["spoke.stream.state.dropped"] == 0
    assert not server.back.whole()

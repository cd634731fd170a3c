"""What each server does in its own way, seen on an h2c link, and what the daemon makes of it."""

from collections import Counter

import hpack
import pytest
from h2.settings import SettingCodes
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    GoAwayFrame,
    HeadersFrame,
    RstStreamFrame,
    SettingsFrame,
)
from interop import NO_ERROR, PATH, REFUSED_STREAM, STREAM_CLOSED, assert_each_once, bodies, sequence
from relay import Fault
from servers import H2O, Apache, Caddy, Envoy, HAProxy, Nghttpx, Nginx
from upstream import Answer
from waiting import wait_until

# A server, its options, the settings that it announces.
ANNOUNCED = [
    (Nginx, {}, {SettingCodes.MAX_CONCURRENT_STREAMS: 128, SettingCodes.MAX_FRAME_SIZE: 16_777_215}),
    (HAProxy, {"globals": "tune.h2.max-concurrent-streams 2"}, {SettingCodes.MAX_CONCURRENT_STREAMS: 2}),
    (Apache, {"lines": "H2MaxSessionStreams 4"}, {SettingCodes.MAX_CONCURRENT_STREAMS: 4}),
    (H2O, {}, {SettingCodes.MAX_CONCURRENT_STREAMS: 100, SettingCodes.INITIAL_WINDOW_SIZE: 16_777_216}),
    (Caddy, {}, {SettingCodes.MAX_FRAME_SIZE: 1_048_576, SettingCodes.MAX_CONCURRENT_STREAMS: 250}),
    (Envoy, {"streams": 3}, {SettingCodes.MAX_CONCURRENT_STREAMS: 3}),
    (Nghttpx, {"lines": "frontend-http2-max-concurrent-streams=5"}, {SettingCodes.MAX_CONCURRENT_STREAMS: 5}),
]


def announced(relay):
    """The first SETTINGS of the server."""
    return next(f.settings for _, _, up, f in relay.frames(SettingsFrame) if not up)


def most_streams_at_once(relay):
    """How many streams a connection carried at most, from when those that were sent before the daemon
    had acknowledged the server's SETTINGS were over."""
    most = 0
    for passed in relay.connections:
        streams, early = set(), None
        for _, up, frame in passed.frames():
            if up and isinstance(frame, SettingsFrame) and "ACK" in frame.flags and early is None:
                early = set(streams)
            elif up and isinstance(frame, HeadersFrame):
                streams.add(frame.stream_id)
                if early is not None and not early & streams:
                    most = max(most, len(streams))
            elif isinstance(frame, RstStreamFrame) or (not up and "END_STREAM" in frame.flags):
                streams.discard(frame.stream_id)
    return most


def header_blocks(relay, upwards):
    """(connection, time, stream, headers) of every header block that the server got, or sent."""
    found = []
    for passed in relay.connections:
        decoder, block = hpack.Decoder(), b""
        for moment, up, frame in passed.frames():
            if up != upwards or not isinstance(frame, (HeadersFrame, ContinuationFrame)):
                continue
            block += frame.data
            if "END_HEADERS" in frame.flags:
                found.append((passed.number, moment, frame.stream_id, dict(decoder.decode(block))))
                block = b""
    return found


def responses(relay):
    return header_blocks(relay, upwards=False)


def with_status(relay, status):
    return [entry for entry in responses(relay) if entry[3].get(":status") == status]


def request_times(relay):
    return [moment for _, moment, up, _ in relay.frames(HeadersFrame) if up]


@pytest.mark.parametrize("kind, options, settings", ANNOUNCED, ids=[kind.name for kind, *_ in ANNOUNCED])
def test_what_a_server_announces_is_kept_to(make_server, make_relay, make_line, kind, options, settings):
    relay = make_relay(make_server(kind, False, rule=lambda request: Answer(delay=0.005), **options))
    line = make_line(relay, in_flight=16, **PATH)
    payloads = bodies(3, 80, "state")
    line.publish(*payloads)
    line.spoke.wait_for_stat("spoke.stream.state.delivered", len(payloads), 30)
    found = announced(relay)
    assert {code: found.get(code) for code in settings} == settings
    most = settings.get(SettingCodes.MAX_CONCURRENT_STREAMS, 100)
    assert 1 <= most_streams_at_once(relay) <= most
    largest = max(len(frame.data) for _, _, up, frame in relay.frames(DataFrame) if up)
    assert largest <= found.get(SettingCodes.MAX_FRAME_SIZE, 16_384)


@pytest.mark.parametrize("in_flight", [1, 10])
def test_nginx_says_goaway_every_seven_requests_and_loses_none(make_server, make_relay, make_line, in_flight):
    server = make_server(Nginx, False, inside="keepalive_requests 7;")
    relay = make_relay(server)
    line = make_line(relay, in_flight=in_flight, **PATH)
    payloads = bodies(4, 60, "state")
    line.publish(*payloads)
    line.spoke.wait_for_stat("spoke.stream.state.delivered", 60, 30)
    assert_each_once(server.back.whole(), payloads)
    farewells = [f for _, _, up, f in relay.frames(GoAwayFrame) if not up]
    assert len(farewells) >= 60 // 7 - 1
    assert {f.error_code for f in farewells} == {NO_ERROR}
    # What nginx did not process is sent again at once, and that is no retry; the second time it is one.
    sent = Counter(headers["ce-id"] for *_, headers in header_blocks(relay, upwards=True))
    assert line.spoke.stat("spoke.stream.state.retried") <= sum(count - 2 for count in sent.values() if count > 2)
    if in_flight == 1:
        assert [sequence(r.id) for r in server.back.whole()] == list(range(1, 61))


def test_nginx_that_limits_the_rate_with_429_gets_everything_in_order(make_server, make_relay, make_line):
    server = make_server(
        Nginx, False, http="limit_req_zone $binary_remote_addr zone=all:64k rate=4r/s;",
        location="limit_req zone=all burst=1 nodelay; limit_req_status 429;",
    )
    relay = make_relay(server)
    line = make_line(relay, **PATH)
    payloads = bodies(5, 10, "state")
    line.publish(*payloads)
    line.spoke.wait_for_stat("spoke.stream.state.delivered", 10, 30)
    assert with_status(relay, "429")
    assert [r.body for r in server.back.whole()] == payloads


def assert_retry_after_was_waited(relay, status, seconds):
    refusals = with_status(relay, status)
    assert refusals
    for _, moment, _, headers in refusals:
        assert headers["retry-after"] == str(seconds)
        later = [sent for sent in request_times(relay) if sent > moment]
        assert later and later[0] - moment >= seconds - 0.1, "no request before its time"


def test_haproxy_that_answers_503_with_retry_after_is_left_alone_for_so_long(make_server, make_relay, make_line):
    server = make_server(
        HAProxy, False, rules="http-request return status 503 hdr Retry-After 2 if { nbsrv(out) eq 0 }",
    )
    relay = make_relay(server)
    line = make_line(relay, **PATH)
    payloads = bodies(6, 8, "state")
    server.operator("set server out/one state maint")
    line.publish(*payloads)
    wait_until(lambda: with_status(relay, "503"), "haproxy answers 503")
    server.operator("set server out/one state ready")
    line.spoke.wait_for_stat("spoke.stream.state.delivered", 8, 40)
    assert_retry_after_was_waited(relay, "503", 2)
    assert [r.body for r in server.back.whole()] == payloads


def test_haproxy_that_limits_the_rate_with_429_gets_everything_in_order(make_server, make_relay, make_line):
    server = make_server(HAProxy, False, rules="""
  stick-table type ip size 1k expire 10s store http_req_rate(1s)
  http-request track-sc0 src
  http-request return status 429 hdr Retry-After 1 if { sc_http_req_rate(0) gt 4 }""")
    relay = make_relay(server)
    line = make_line(relay, **PATH)
    payloads = bodies(7, 9, "state")
    line.publish(*payloads)
    line.spoke.wait_for_stat("spoke.stream.state.delivered", 9, 40)
    assert_retry_after_was_waited(relay, "429", 1)
    assert [r.body for r in server.back.whole()] == payloads


@pytest.mark.parametrize(
    "kind, options",
    [(HAProxy, {"globals": "tune.h2.max-concurrent-streams 2"}), (Apache, {"lines": "H2MaxSessionStreams 4"})],
    ids=["haproxy", "apache"],
)
def test_streams_above_the_servers_limit_are_refused_and_sent_again(make_server, make_relay, make_line, kind, options):
    # A client may open streams before it has the SETTINGS; those above the limit are refused.
    server = make_server(kind, False, rule=lambda request: Answer(delay=0.02), **options)
    relay = make_relay(server, plan=lambda number: Fault(silent_until=8 if number == 1 else 0))
    line = make_line(relay, in_flight=16, **PATH)
    payloads = bodies(8, 30, "state")
    line.publish(*payloads)
    line.spoke.wait_for_stat("spoke.stream.state.delivered", 30, 40)
    resets = [f.error_code for _, _, up, f in relay.frames(RstStreamFrame) if not up]
    # HAProxy answers what is still on its way on a refused stream with one more reset.
    assert REFUSED_STREAM in resets and set(resets) <= {REFUSED_STREAM, STREAM_CLOSED, NO_ERROR}
    assert line.spoke.stat("spoke.stream.state.retried") == 0, "nothing waited for a back-off"
    assert_each_once(server.back.whole(), payloads)


def test_nghttpx_before_two_back_ends_of_which_one_dies_gets_everything(make_server, make_upstream, make_line):
    slow = lambda request: Answer(delay=0.002)  # noqa: E731
    second = make_upstream(rule=slow)
    server = make_server(Nghttpx, False, rule=slow, more_backs=[second.port])
    line = make_line(server, in_flight=8, **PATH)
    payloads = bodies(9, 120, "state")
    line.publish(*payloads[:60])
    wait_until(lambda: second.whole() and server.back.whole(), "both back ends have work")
    second.stop()
    line.publish(*payloads[60:])
    line.spoke.wait_for_stat("spoke.stream.state.delivered", 120, 40)
    taken = {sequence(r.id): r.body for r in server.back.whole() + second.whole()}
    assert taken == {n + 1: body for n, body in enumerate(payloads)}


def test_envoy_before_a_dead_upstream_answers_503_and_gets_everything_later(make_server, make_relay, make_line):
    server = make_server(Envoy, False)
    relay = make_relay(server)
    server.back.stop()
    line = make_line(relay, **PATH)
    payloads = bodies(10, 8, "state")
    line.publish(*payloads)
    wait_until(lambda: with_status(relay, "503"), "envoy answers 503")
    server.back.start()
    line.spoke.wait_for_stat("spoke.stream.state.delivered", 8, 30)
    _, _, _, headers = with_status(relay, "503")[0]
    assert headers["server"] == "envoy"
    assert headers["content-type"] == "text/plain"
    assert [r.body for r in server.back.whole()] == payloads
    cluster = f"cluster.localhost_{relay.port}"
    assert line.spoke.stat(f"{cluster}.upstream_rq_5xx") == len(with_status(relay, "503"))


def test_envoy_whose_circuit_breaker_is_open_says_overloaded_and_gets_everything(make_server, make_relay, make_line):
    server = make_server(
        Envoy, False, rule=lambda request: Answer(delay=0.01),
        cluster="circuit_breakers: { thresholds: [{ max_requests: 2 }] }",
    )
    relay = make_relay(server)
    line = make_line(relay, in_flight=8, **PATH)
    payloads = bodies(11, 12, "state")
    line.publish(*payloads)
    line.spoke.wait_for_stat("spoke.stream.state.delivered", 12, 30)
    assert with_status(relay, "503")[0][3]["x-envoy-overloaded"] == "true"
    assert_each_once(server.back.whole(), payloads)


def test_envoy_whose_overload_manager_sheds_gets_everything_later(make_server, make_relay, make_line, folder):
    pressure = folder / "pressure"
    pressure.write_text("0.99")
    server = make_server(Envoy, False, top=f"""
overload_manager:
  refresh_interval: 0.05s
  resource_monitors:
  - name: envoy.resource_monitors.injected_resource
    typed_config:
      "@type": type.googleapis.com/envoy.extensions.resource_monitors.injected_resource.v3.InjectedResourceConfig
      filename: {pressure}
  actions:
  - name: envoy.overload_actions.stop_accepting_requests
    triggers: [{{ name: envoy.resource_monitors.injected_resource, threshold: {{ value: 0.9 }} }}]
""")
    # Its monitors are looked at every 50 ms, the first time after that much.
    active = "overload.envoy.overload_actions.stop_accepting_requests.active: 1"
    wait_until(lambda: active in server.operator("/stats?filter=overload"), "envoy is pressed")
    relay = make_relay(server)
    line = make_line(relay, **PATH)
    payloads = bodies(12, 8, "state")
    line.publish(*payloads)
    wait_until(lambda: with_status(relay, "503"), "envoy sheds")
    assert not server.back.whole()
    # Envoy notices a file that is moved into the place of the old one.
    (folder / "relief").write_text("0.1")
    (folder / "relief").rename(pressure)
    line.spoke.wait_for_stat("spoke.stream.state.delivered", 8, 30)
    assert [r.body for r in server.back.whole()] == payloads

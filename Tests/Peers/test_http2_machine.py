"""The HTTP/2 client machine against Python's `h2` as a scripted server, over pipes."""

import random
import zlib

import h2.errors
import h2.events
import pytest
from hyperframe.frame import ContinuationFrame, GoAwayFrame, HeadersFrame

from http2_upstream import Setting, Upstream, check_echo, content, echo_credit, requests

Codes = h2.errors.ErrorCodes


@pytest.mark.parametrize("chunk", [1, 7, 65_536])
def test_exchange(chunk):
    sizes = [0, 1, 300, 20_000]
    upstream = Upstream("--chunk", chunk, *requests(*sizes))
    check_echo(upstream, sizes)
    assert upstream.requests[1][":authority"] == "pipe"


def test_large_content_both_ways_flat_memory():
    sizes = [3_000_000, 1_000_000]
    upstream = Upstream(*requests(*sizes), limit=60)
    check_echo(upstream, sizes)
    memory = next(int(line.split()[1]) for line in upstream.report if line.startswith("memory"))
    # The output queue doubles as it grows, so that its array may be twice its limit.
    assert memory < 2 * (65_536 + 16_384) + 40_000


@pytest.mark.parametrize("window", [1, 2, 100])
def test_tiny_windows_of_the_server(window):
    sizes = [50, 0, 33]
    upstream = Upstream(*requests(*sizes), settings={Setting.INITIAL_WINDOW_SIZE: window})
    check_echo(upstream, sizes)


@pytest.mark.parametrize("window", [1, 3, 500])
def test_tiny_windows_of_the_client(window):
    sizes = [400, 100]
    upstream = Upstream("--window", window, *requests(*sizes))
    check_echo(upstream, sizes)


def test_goaway_mid_flight():
    def script(upstream, event):
        if isinstance(event, h2.events.StreamEnded) and event.stream_id == 5:
            upstream.raw(GoAwayFrame(0, last_stream_id=1, error_code=0, additional_data=b"bye"))
            upstream.answer(1, b"done")

    upstream = Upstream(*requests(0, 0, 0), script=script)
    assert upstream.has("goaway 1 NO_ERROR bye")
    assert upstream.has("refused 3") and upstream.has("refused 5")
    assert upstream.bodies_received()[1] == (4, zlib.adler32(b"done"))
    assert upstream.has("closed peer: NO_ERROR")
    upstream.check_ends([1, 3, 5])


def test_goaway_in_two_phases():
    def script(upstream, event):
        if isinstance(event, h2.events.StreamEnded) and event.stream_id == 3:
            upstream.raw(GoAwayFrame(0, last_stream_id=2**31 - 1, error_code=0))
            upstream.raw(GoAwayFrame(0, last_stream_id=1, error_code=0))
            upstream.answer(1, b"done")

    upstream = Upstream(*requests(0, 0), script=script)
    assert upstream.has("goaway 2147483647 NO_ERROR") and upstream.has("goaway 1 NO_ERROR")
    assert upstream.has("refused 3") and not upstream.has("refused 1")
    upstream.check_ends([1, 3])


def test_goaway_leaves_requests_unsent():
    def script(upstream, event):
        if isinstance(event, h2.events.StreamEnded) and event.stream_id == 1:
            upstream.raw(GoAwayFrame(0, last_stream_id=1, error_code=0))
            upstream.answer(1, b"")

    upstream = Upstream(
        *requests(0, 0, 0), script=script, settings={Setting.MAX_CONCURRENT_STREAMS: 1})
    assert upstream.has("body 1") and upstream.has("unsent 1") and upstream.has("unsent 2")


def test_requests_do_not_wait_for_settings():
    sizes = [100] * 8
    upstream = Upstream("--early", 1, *requests(*sizes))
    check_echo(upstream, sizes)
    assert upstream.report[0] == "open 1 0"


def test_refused_and_reset_streams():
    def script(upstream, event):
        echo_credit(upstream, event)
        if not isinstance(event, h2.events.StreamEnded):
            return
        stream = event.stream_id
        if stream == 1:
            upstream.h2.reset_stream(1, Codes.REFUSED_STREAM)
        elif stream == 3:
            upstream.h2.reset_stream(3, Codes.INTERNAL_ERROR)
        elif stream == 5:
            upstream.h2.send_headers(5, [(":status", "200")])
            upstream.h2.send_data(5, b"half")
            upstream.h2.reset_stream(5, Codes.REFUSED_STREAM)
        else:
            upstream.answer(stream, b"whole")

    upstream = Upstream(*requests(10, 10, 10, 10), script=script)
    assert upstream.has("refused 1")
    assert upstream.has("reset 3 INTERNAL_ERROR peer")
    assert upstream.has("reset 5 REFUSED_STREAM peer")
    assert upstream.bodies_received()[7][0] == 5
    upstream.check_ends([1, 3, 5, 7])


def test_early_response_then_no_error_reset():
    def script(upstream, event):
        if isinstance(event, h2.events.RequestReceived):
            upstream.h2.send_headers(event.stream_id, [(":status", "413")], end_stream=True)
            upstream.h2.reset_stream(event.stream_id, Codes.NO_ERROR)

    upstream = Upstream(*requests(200_000), script=script)
    assert upstream.has("headers 1 response end :status=413")
    upstream.check_ends([1])


def test_continuation_by_h2():
    def script(upstream, event):
        if isinstance(event, h2.events.StreamEnded):
            upstream.answer(event.stream_id, b"", headers=[
                (f"x-{index}", random.Random(index).randbytes(1_000).hex()) for index in range(15)])

    upstream = Upstream("--header-block", 60_000, "--chunk", 999, *requests(0), script=script)
    line = next(line for line in upstream.report if line.startswith("headers 1 response"))
    assert len(line) > 30_000 and random.Random(14).randbytes(1_000).hex() in line


@pytest.mark.parametrize("size", [16, 100])
def test_continuation_in_small_frames(size):
    def script(upstream, event):
        if not isinstance(event, h2.events.StreamEnded):
            return
        block = upstream.h2.encoder.encode([(":status", "200"), ("x", "y" * 14 * size)], huffman=False)
        parts = [block[place:place + size] for place in range(0, len(block), size)]
        first = HeadersFrame(event.stream_id, parts[0])
        first.flags.add("END_STREAM")
        frames = [first] + [ContinuationFrame(event.stream_id, part) for part in parts[1:]]
        frames[-1].flags.add("END_HEADERS")
        upstream.raw(*frames)

    upstream = Upstream(*requests(0), script=script)
    assert upstream.has("headers 1 response end :status=200|x=" + "y" * 14 * size)


def test_header_list_over_the_limit_is_the_streams_fault():
    def script(upstream, event):
        if isinstance(event, h2.events.StreamEnded):
            long = [("x", "y" * 3_000)] if event.stream_id == 1 else []
            if event.stream_id == 1:
                upstream.h2.send_headers(1, [(":status", "200"), *long])
            else:
                upstream.answer(event.stream_id, b"fine")

    upstream = Upstream("--header-list", 2_000, *requests(0, 0), script=script)
    assert upstream.has("reset 1 ENHANCE_YOUR_CALM local a header list over the limit")
    assert upstream.bodies_received()[3][0] == 4


def test_trailers_both_ways():
    def script(upstream, event):
        echo_credit(upstream, event)
        if isinstance(event, h2.events.StreamEnded):
            upstream.answer(event.stream_id, b"x" * 1_000, trailers=[("grpc-status", "0")])

    upstream = Upstream("--trailers", 1, *requests(0, 70_000), script=script)
    assert upstream.trailers == {1: {"x-sent": "0"}, 3: {"x-sent": "70000"}}
    assert upstream.has("headers 1 trailers end grpc-status=0")
    assert upstream.has("headers 3 trailers end grpc-status=0")


@pytest.mark.parametrize("padding", [1, 100, 255])
@pytest.mark.parametrize("chunk", [1, 65_536])
def test_padding(padding, chunk):
    def script(upstream, event):
        echo_credit(upstream, event)
        if isinstance(event, h2.events.StreamEnded):
            upstream.answer(
                event.stream_id, upstream.bodies[event.stream_id], padding=padding)

    sizes = [1, 40_000]
    upstream = Upstream("--window", 1_000, "--chunk", chunk, *requests(*sizes), script=script)
    check_echo(upstream, sizes)


def test_informational_responses():
    def script(upstream, event):
        if isinstance(event, h2.events.StreamEnded):
            upstream.h2.send_headers(1, [(":status", "100")])
            upstream.h2.send_headers(1, [(":status", "103"), ("link", "</style.css>")])
            upstream.answer(1, b"ok")

    upstream = Upstream(*requests(0), script=script)
    assert upstream.has("headers 1 informational open :status=100")
    assert upstream.has("headers 1 informational open :status=103|link=</style.css>")
    assert upstream.bodies_received()[1][0] == 2


def test_upload_stall_is_only_that_streams():
    def script(upstream, event):
        if not isinstance(event, (h2.events.DataReceived, h2.events.StreamEnded)):
            return
        # The first stream gets no credit until the second one, smaller, is done.
        if isinstance(event, h2.events.DataReceived) and event.flow_controlled_length:
            upstream.h2.increment_flow_control_window(event.flow_controlled_length)
            if event.stream_id == 3:
                upstream.h2.increment_flow_control_window(event.flow_controlled_length, 3)
        if isinstance(event, h2.events.StreamEnded):
            upstream.order.append(event.stream_id)
            upstream.answer(event.stream_id, upstream.bodies[event.stream_id])
            if event.stream_id == 3:
                upstream.h2.increment_flow_control_window(1_000_000, 1)

    Upstream.order = []
    sizes = [300_000, 100_000]
    upstream = Upstream(*requests(*sizes), script=script)
    check_echo(upstream, sizes)
    assert upstream.order == [3, 1]


def test_a_client_that_never_releases_stops_the_server_at_its_window():
    state = {}

    def script(upstream, event):
        if isinstance(event, h2.events.StreamEnded):
            upstream.answer(event.stream_id, b"x" * (70_000 if event.stream_id == 1 else 1_000))
            if event.stream_id == 1:
                # All that the window allows is out. The client acknowledges with the PING.
                state["window"] = upstream.h2.local_flow_control_window(1)
                upstream.h2.ping(b"mark1234")
        if isinstance(event, h2.events.PingAckReceived):
            state["after"] = upstream.h2.local_flow_control_window(1)
            upstream.pending.pop(1)
            upstream.h2.reset_stream(1, Codes.CANCEL)

    upstream = Upstream("--hold", 1, "--window", 20_000, *requests(0, 0), script=script)
    assert state == {"window": 0, "after": 0}
    assert upstream.has("reset 1 CANCEL peer")
    assert upstream.bodies_received()[3][0] == 1_000


def test_settings_mid_flight():
    def script(upstream, event):
        echo_credit(upstream, event)
        if isinstance(event, h2.events.DataReceived) and len(upstream.bodies[1]) > 100_000:
            if not upstream.changed:
                upstream.changed = True
                upstream.h2.update_settings({
                    Setting.INITIAL_WINDOW_SIZE: 0, Setting.HEADER_TABLE_SIZE: 0,
                    Setting.MAX_FRAME_SIZE: 100_000})
        if isinstance(event, h2.events.SettingsAcknowledged) and upstream.changed == True:
            upstream.changed = "back"
            upstream.h2.update_settings({
                Setting.INITIAL_WINDOW_SIZE: 70_000, Setting.HEADER_TABLE_SIZE: 4_096})
        if isinstance(event, h2.events.StreamEnded):
            upstream.answer(event.stream_id, upstream.bodies[event.stream_id])

    Upstream.changed = False
    sizes = [400_000, 10, 20]
    upstream = Upstream(*requests(*sizes), script=script)
    assert upstream.changed == "back"
    check_echo(upstream, sizes)


def test_streams_wait_for_the_servers_limit():
    state = {"most": 0, "step": 0}

    def script(upstream, event):
        echo_credit(upstream, event)
        state["most"] = max(state["most"], upstream.h2.open_inbound_streams)
        if isinstance(event, h2.events.SettingsAcknowledged):
            state["step"] += 1
            if state["step"] == 1:
                assert not upstream.requests
                upstream.h2.update_settings({Setting.MAX_CONCURRENT_STREAMS: 3})
        if isinstance(event, h2.events.StreamEnded):
            upstream.answer(event.stream_id, upstream.bodies[event.stream_id])

    sizes = [100] * 10
    upstream = Upstream(
        *requests(*sizes), script=script, settings={Setting.MAX_CONCURRENT_STREAMS: 0})
    check_echo(upstream, sizes)
    assert state["most"] == 3


def test_keep_alive_is_answered_and_then_not():
    pings = []

    def script(upstream, event):
        if isinstance(event, h2.events.PingReceived):
            pings.append(event.ping_data)
            if len(pings) == 3:
                upstream.h2.clear_outbound_data_buffer()
                upstream.h2 = None

    # A second for each answer: this process may be kept from its turn.
    upstream = Upstream("--keep-alive", 1_000, "--stay", 1, script=script)
    assert len(pings) == 3 and len(set(pings)) == 3
    assert upstream.has("closed timeout: no answer to the keep-alive PING")


def test_settings_are_never_acknowledged():
    upstream = Upstream(
        "--settings-timeout", 100, "--stay", 1, opening=b"\0\0\0\4\0\0\0\0\0")
    assert upstream.has("closed timeout: no answer to SETTINGS")


def test_a_server_that_speaks_http_1():
    upstream = Upstream(
        *requests(0), opening=b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
    assert upstream.has("closed local: PROTOCOL_ERROR: the peer answered with HTTP/1")


def test_cancel_mid_content_leaves_the_others_whole():
    def script(upstream, event):
        echo_credit(upstream, event)
        if isinstance(event, h2.events.StreamEnded):
            size = 200_000 if event.stream_id == 1 else 4_000
            upstream.answer(event.stream_id, b"x" * size)
        if isinstance(event, h2.events.StreamReset):
            upstream.resets.append((event.stream_id, event.error_code))
            upstream.pending.pop(event.stream_id, None)

    Upstream.resets = []
    upstream = Upstream("--cancel-after", 5_000, *requests(0, 0, 0), script=script)
    assert upstream.resets == [(1, Codes.CANCEL)]
    assert upstream.has("cancelled 1")
    assert upstream.bodies_received()[3][0] == 4_000
    assert upstream.bodies_received()[5][0] == 4_000


@pytest.mark.parametrize("seed", range(20))
def test_random_server(seed):
    """Windows, settings, padding, trailers, resets and informational responses at random."""
    rng = random.Random(seed)
    print("seed", seed)
    sizes = [rng.choice([0, 1, 100, 5_000, 100_000]) for _ in range(12)]
    resets = {}
    changes = []

    def script(upstream, event):
        echo_credit(upstream, event)
        if isinstance(event, h2.events.ConnectionTerminated):
            return
        # Fewer than the client takes for a flood.
        if rng.random() < 0.05 and len(changes) < 50:
            changes.append(event)
            upstream.h2.update_settings({
                Setting.INITIAL_WINDOW_SIZE: rng.choice([10_000, 65_535, 200_000]),
                Setting.HEADER_TABLE_SIZE: rng.choice([0, 100, 4_096])})
        if rng.random() < 0.05:
            upstream.h2.ping(rng.randbytes(8))
        if isinstance(event, h2.events.StreamEnded):
            stream = event.stream_id
            if rng.random() < 0.2:
                resets[stream] = rng.choice([Codes.REFUSED_STREAM, Codes.CANCEL])
                upstream.h2.reset_stream(stream, resets[stream])
                return
            if rng.random() < 0.3:
                upstream.h2.send_headers(stream, [(":status", "103")])
            upstream.answer(
                stream, upstream.bodies[stream], headers=[("x-seed", str(seed))],
                trailers=[("x-end", "1")] if rng.random() < 0.5 else None,
                padding=rng.choice([0, 0, 7, 200]))

    upstream = Upstream(
        "--chunk", rng.choice([1, 13, 1_000, 65_536]), "--window", rng.choice([500, 65_535]),
        "--output", rng.choice([16_384, 65_536]), *requests(*sizes), script=script, limit=60)
    received = upstream.bodies_received()
    for index, size in enumerate(sizes):
        stream = 2 * index + 1
        if stream in resets:
            refused = resets[stream] == Codes.REFUSED_STREAM
            assert upstream.has(f"refused {stream}" if refused else f"reset {stream} CANCEL peer")
        else:
            assert received[stream] == (size, zlib.adler32(content(size, index)))
    upstream.check_ends(range(1, 2 * len(sizes), 2))

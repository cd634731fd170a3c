"""The attacks of `test_hostile_peer.py`: each with the answer that RFC 9113 wants of a client."""

from hostile import (
    ACK, ALTSVC, CALM, CANCEL, COMPRESSION, CONTINUATION, DATA, END_HEADERS, FLOW_CONTROL, FRAME_SIZE, GOAWAY,
    HEADERS, NO_ERROR, ORIGIN, PADDED, PING, PRIORITY, PRIORITY_UPDATE, PROTOCOL, PUSH_PROMISE, REFUSED,
    RST_STREAM, SETTINGS, SETTINGS_TIMEOUT, STREAM_CLOSED, WINDOW_UPDATE, Attack, Visitor, block, data, frame,
    headers, settings, string, word,
)

BIG = [b"%03d" % n * 100 for n in range(3)]
MANY = 50  # frames handed to the socket at once


def once(make):
    """Sends what `make` answers for the stream of each request."""

    def run(visitor: Visitor):
        for stream in visitor.each_request():
            visitor.send(make(stream))

    return run


def flood(make, before=lambda stream: b""):
    """For ever, what `make` answers for the stream of the first request."""

    def run(visitor: Visitor):
        stream = visitor.next_request(0)
        visitor.send(before(stream))
        visitor.flood(make(stream) * MANY)

    return run


def connection(make, cause, code, **keys):
    return Attack(once(make), cause, go_away=code, statistic="upstream_cx_protocol_error", **keys)


def stream_error(make, cause, code=PROTOCOL, **keys):
    return Attack(once(make), cause, reset=code, statistic="upstream_cx_protocol_error", **keys)


def flooded(make, cause, statistic="upstream_cx_protocol_error", before=lambda stream: b"", **keys):
    return Attack(flood(make, before), cause, go_away=CALM, statistic=statistic, **keys)


def go_away(last, code=0, debug=b""):
    return frame(GOAWAY, 0, 0, word(last) + word(code) + debug)


def falling_go_aways(visitor: Visitor):
    visitor.flood(lambda turn: go_away(0x7FFFFFFF - turn))


def endless_response(visitor: Visitor):
    visitor.send(headers(visitor.next_request(0)))
    visitor.flood(data(visitor.next_request(0), bytes(8_192)))


def tiny_frames(visitor: Visitor):
    visitor.send(headers(visitor.next_request(0)))
    visitor.flood(data(visitor.next_request(0), b"x") * 2_000)


def dripping_response(visitor: Visitor):
    stream = visitor.next_request(0)
    visitor.send(headers(stream))
    visitor.drip(data(stream, b"x"), 0.2)


def dripping_headers(visitor: Visitor):
    stream = visitor.next_request(0)
    visitor.send(frame(HEADERS, 0, stream, block((":status", "200"))))
    # One octet of a CONTINUATION frame now and then.
    visitor.send(frame(CONTINUATION, 0, stream, bytes(9_000))[:9])
    visitor.drip(b"\x88", 0.2)


def tiny_windows(visitor: Visitor):
    # The first request set out before it could know of the window.
    visitor.send(headers(visitor.next_request(0), status="503", end=True))
    if (stream := visitor.next_request(1)) is not None:
        visitor.drip(frame(WINDOW_UPDATE, 0, stream, word(1)), 0.1)


def pings_while_deaf(visitor: Visitor):
    visitor.drip(frame(PING, 0, 0, bytes(8)), 0.2)


def nothing(visitor: Visitor):
    visitor.until_closed()


def closing(visitor: Visitor):
    visitor.close()


NAME = bytes([0x40]) + string(b"a" * 4_000) + b"\x00"
SEED = block((":status", "200")) + bytes([0x40]) + string(b"a") + string(b"b" * 4_000)

CONNECTION = {
    "6.5: SETTINGS flood": flooded(lambda s: settings(), "settings_flood", "http2.outbound_control_flood"),
    "6.5: SETTINGS of forty entries": connection(
        lambda s: settings(*[(0x100 + n, n) for n in range(40)]), "settings_flood", CALM),
    "6.5.2: windows moved up and down": flooded(
        lambda s: settings((4, 0)) + settings((4, 0x7FFFFFFF)), "settings_flood"),
    "6.5.2: ENABLE_PUSH from a server": connection(lambda s: settings((2, 1)), "setting_invalid", PROTOCOL),
    "6.5.2: MAX_FRAME_SIZE of 1": connection(lambda s: settings((5, 1)), "setting_invalid", PROTOCOL),
    "6.5.2: INITIAL_WINDOW_SIZE over 2^31-1": connection(
        lambda s: settings((4, 0x80000000)), "setting_window_invalid", FLOW_CONTROL),
    "6.5: SETTINGS of five octets": connection(lambda s: frame(SETTINGS, 0, 0, bytes(5)), "frame_size_wrong", FRAME_SIZE),
    "6.5: SETTINGS on a stream": connection(
        lambda s: frame(SETTINGS, 0, s), "stream_identifier_wrong", PROTOCOL),
    "6.5: an acknowledgement with content": connection(
        lambda s: frame(SETTINGS, ACK, 0, bytes(6)), "frame_size_wrong", FRAME_SIZE),
    "6.5.3: SETTINGS never acknowledged": Attack(
        nothing, "settings_timeout", go_away=SETTINGS_TIMEOUT, acknowledges=False, seconds=60),
    "6.7: PING flood": flooded(
        lambda s: frame(PING, 0, 0, bytes(8)), "ping_flood", "http2.outbound_control_flood"),
    "6.7: PING acknowledgement flood": flooded(lambda s: frame(PING, ACK, 0, bytes(8)), "frame_flood"),
    "6.7: PING of seven octets": connection(lambda s: frame(PING, 0, 0, bytes(7)), "frame_size_wrong", FRAME_SIZE),
    "6.10: empty CONTINUATION for ever": flooded(
        lambda s: frame(CONTINUATION, 0, s), "continuation_flood", "http2.header_overflow",
        lambda s: frame(HEADERS, 0, s)),
    "6.10: tiny CONTINUATION for ever": flooded(
        lambda s: frame(CONTINUATION, 0, s, b"\x88"), "continuation_flood", "http2.header_overflow",
        lambda s: frame(HEADERS, 0, s)),
    "6.10: large CONTINUATION for ever": flooded(
        lambda s: frame(CONTINUATION, 0, s, bytes(8_000)), "header_block_too_large", "http2.header_overflow",
        lambda s: frame(HEADERS, 0, s)),
    "6.10: CONTINUATION alone": connection(
        lambda s: frame(CONTINUATION, END_HEADERS, s), "continuation_unexpected", PROTOCOL),
    "6.10: PING inside a header block": connection(
        lambda s: frame(HEADERS, 0, s) + frame(PING, 0, 0, bytes(8)), "continuation_expected", PROTOCOL),
    "10.5: empty DATA for ever": flooded(
        lambda s: data(s), "empty_frame_flood", "http2.inbound_empty_frames_flood", headers),
    "10.5: DATA of padding for ever": flooded(
        lambda s: data(s, padding=255), "empty_frame_flood", "http2.inbound_empty_frames_flood", headers),
    "5.5: unknown frames for ever": flooded(lambda s: frame(0xBE, 0xFF, 0, bytes(64)), "frame_flood"),
    "5.5: ALTSVC for ever": flooded(lambda s: frame(ALTSVC, 0, 0, b"\0\1a" + b"h2"), "frame_flood"),
    "5.5: ORIGIN for ever": flooded(lambda s: frame(ORIGIN, 0, 0, b"\0\1a"), "frame_flood"),
    "5.5: PRIORITY_UPDATE for ever": flooded(lambda s: frame(PRIORITY_UPDATE, 0, 0, word(s)), "frame_flood"),
    "6.3: PRIORITY for ever": flooded(
        lambda s: frame(PRIORITY, 0, s, bytes(5)), "priority_flood", "http2.inbound_priority_frames_flood"),
    "6.8: GOAWAY for ever": flooded(
        lambda s: go_away(s), "go_away_flood", "upstream_cx_close_notify"),
    "6.8: GOAWAY that falls for ever": Attack(
        falling_go_aways, "go_away_flood", go_away=CALM, statistic="upstream_cx_close_notify"),
    "6.8: GOAWAY that rises": connection(
        lambda s: go_away(s) + go_away(s + 2), "go_away_increased", PROTOCOL),
    "6.9: WINDOW_UPDATE for ever": flooded(
        lambda s: frame(WINDOW_UPDATE, 0, 0, word(1)), "window_update_flood",
        "http2.inbound_window_update_frames_flood"),
    "6.9.1: the connection's window over 2^31-1": connection(
        lambda s: frame(WINDOW_UPDATE, 0, 0, word(0x7FFFFFFF)), "connection_window_overflow", FLOW_CONTROL),
    "6.9: an increment of 0 on the connection": connection(
        lambda s: frame(WINDOW_UPDATE, 0, 0, word(0)), "window_increment_zero", PROTOCOL),
    "6.9: WINDOW_UPDATE of three octets": connection(
        lambda s: frame(WINDOW_UPDATE, 0, 0, bytes(3)), "frame_size_wrong", FRAME_SIZE),
    "8.4: PUSH_PROMISE": connection(
        lambda s: frame(PUSH_PROMISE, END_HEADERS, s, word(2) + block((":status", "200"))), "push_refused", PROTOCOL),
    "5.1.1: a stream of the server's": connection(lambda s: headers(2), "stream_identifier_wrong", PROTOCOL),
    "5.1: DATA on an idle stream": connection(lambda s: data(s + 100, b"x"), "idle_stream", PROTOCOL),
    "5.1: RST_STREAM on an idle stream": connection(
        lambda s: frame(RST_STREAM, 0, s + 100, word(8)), "idle_stream", PROTOCOL),
    "5.1: DATA after END_STREAM": connection(
        lambda s: headers(s, status="503", end=True) + data(s, b"x"), "frame_on_closed_stream", STREAM_CLOSED),
    "5.1: HEADERS after END_STREAM": connection(
        lambda s: headers(s, status="503", end=True) + headers(s), "frame_on_closed_stream", STREAM_CLOSED),
    "5.1: DATA for ever on a stream that was reset": flooded(
        lambda s: data(s, bytes(100)), "late_frame_flood", before=lambda s: headers(s, status="")),
    "5.1: HEADERS for ever on a stream that was reset": flooded(
        lambda s: headers(s), "late_frame_flood", before=lambda s: headers(s, status="")),
    "5.4.2: RST_STREAM for ever": flooded(
        lambda s: frame(RST_STREAM, 0, s, word(CANCEL)), "reset_flood", "upstream_rq_rx_reset"),
    "4.3: a block that cannot be decoded": connection(
        lambda s: frame(HEADERS, END_HEADERS, s, b"\x80"), "header_compression", COMPRESSION),
    "7541 7.3: two octets that copy the table": connection(
        lambda s: frame(HEADERS, END_HEADERS, s, NAME + b"\x7e\x00" * 5_000), "header_list_too_large", CALM),
    "4.2: a frame over the limit": connection(lambda s: b"\xff\xff\xff\x00\x00" + word(s), "frame_too_large", FRAME_SIZE),
    "6.1: DATA on stream 0": connection(lambda s: data(0, b"x"), "stream_identifier_wrong", PROTOCOL),
    "6.1: padding longer than its frame": connection(
        lambda s: headers(s) + frame(DATA, PADDED, s, b"\x09ab"), "padding_too_long", PROTOCOL),
    "6.4: RST_STREAM of three octets": connection(
        lambda s: frame(RST_STREAM, 0, s, bytes(3)), "frame_size_wrong", FRAME_SIZE),
    "6.8: GOAWAY of seven octets": connection(
        lambda s: frame(GOAWAY, 0, 0, bytes(7)), "frame_size_wrong", FRAME_SIZE),
    "3.4: a PING before SETTINGS": Attack(
        nothing, "first_frame_not_settings", go_away=PROTOCOL, greeting=frame(PING, 0, 0, bytes(8)), at_once=True,
        acknowledges=False),
    "3.4: HTTP/1.1": Attack(
        nothing, "not_http2", go_away=PROTOCOL, greeting=b"HTTP/1.1 400 Bad Request\r\n\r\n" * 100, at_once=True,
        acknowledges=False),
    "3.4: noise": Attack(
        nothing, "first_frame_not_settings", greeting=b"\xf3" * 4_096, at_once=True, acknowledges=False),
}

STREAM = {
    "8.3.2: no :status": stream_error(lambda s: headers(s, ("a", "b"), status=""), "pseudo_field_missing"),
    "8.3: :status twice": stream_error(lambda s: headers(s, (":status", "200")), "pseudo_field_duplicate"),
    "8.3: :status behind a field": stream_error(
        lambda s: headers(s, ("a", "b"), (":status", "200"), status=""), "pseudo_field_misplaced"),
    "8.3: a request's field": stream_error(lambda s: headers(s, (":path", "/")), "pseudo_field_unknown"),
    "8.3: a field that nobody knows": stream_error(lambda s: headers(s, (":new", "x")), "pseudo_field_unknown"),
    "8.2.1: upper case": stream_error(lambda s: headers(s, ("Server", "x")), "field_name_invalid"),
    "8.2.1: a line break in a value": stream_error(lambda s: headers(s, ("a", "b\r\nc: d")), "field_value_invalid"),
    "8.2.2: connection": stream_error(lambda s: headers(s, ("connection", "close")), "connection_specific_field"),
    "8.2.2: transfer-encoding": stream_error(
        lambda s: headers(s, ("transfer-encoding", "chunked")), "connection_specific_field"),
    "8.1.1: more content than announced": stream_error(
        lambda s: headers(s, ("content-length", "3")) + data(s, b"abcd", end=True), "content_length_mismatch"),
    "8.1.1: less content than announced": stream_error(
        lambda s: headers(s, ("content-length", "3")) + data(s, b"ab", end=True), "content_length_mismatch"),
    "8.1.1: content of a 204": stream_error(
        lambda s: headers(s, status="204") + data(s, b"ab", end=True), "content_length_mismatch"),
    "8.6: 101": stream_error(lambda s: headers(s, status="101"), "pseudo_field_invalid"),
    "8.1: 1xx with END_STREAM": stream_error(lambda s: headers(s, status="103", end=True), "informational_ended"),
    "8.1: 1xx for ever": stream_error(lambda s: headers(s, status="102") * 40, "informational_flood", CALM),
    "8.1: 1xx behind the response": stream_error(
        lambda s: headers(s) + headers(s, status="103"), "trailers_without_end"),
    "8.1: DATA before HEADERS": stream_error(lambda s: data(s, b"x"), "data_before_headers"),
    "8.1: a pseudo-header field in trailers": stream_error(
        lambda s: headers(s) + headers(s, status="200", end=True), "pseudo_field_misplaced"),
    "6.9: an increment of 0 on the stream": stream_error(
        lambda s: frame(WINDOW_UPDATE, 0, s, word(0)), "window_increment_zero"),
    "6.9.1: the stream's window over 2^31-1": stream_error(
        lambda s: frame(WINDOW_UPDATE, 0, s, word(0x7FFFFFFF)), "stream_window_overflow", FLOW_CONTROL),
    "10.5.1: a header list over the limit": stream_error(
        lambda s: headers(s, *[(f"x-{n}", "") for n in range(200)]), "header_list_too_large", CALM),
    "7541 7.3: an entry repeated": stream_error(
        lambda s: frame(HEADERS, END_HEADERS, s, SEED + b"\xbe" * 9_000), "header_list_too_large", CALM),
}

ENDS = {
    "5.4.2: every request reset": Attack(
        once(lambda s: frame(RST_STREAM, 0, s, word(CANCEL))), statistic="upstream_rq_rx_reset"),
    "8.7: every request refused": Attack(once(lambda s: frame(RST_STREAM, 0, s, word(REFUSED)))),
    "6.8: GOAWAY before everything": Attack(
        once(lambda s: go_away(0, NO_ERROR)), statistic="upstream_cx_close_notify"),
    "6.8: GOAWAY(ENHANCE_YOUR_CALM)": Attack(
        once(lambda s: go_away(0, CALM, b"too_many_pings")), statistic="upstream_cx_close_notify"),
    "closed behind SETTINGS": Attack(closing, statistic="upstream_cx_destroy"),
    "closed behind a response's headers": Attack(
        lambda visitor: (visitor.send(headers(visitor.next_request(0))), visitor.close()),
        statistic="upstream_cx_destroy"),
    "8.1: a response without end": Attack(endless_response, "late_frame_flood", go_away=CALM, reset=CANCEL),
    "8.1: a response of one octet a frame": Attack(
        tiny_frames, "late_frame_flood", go_away=CALM, reset=CANCEL, seconds=40),
}

SLOW = {
    "never answers": Attack(nothing, statistic="upstream_rq_timeout"),
    "never reads": Attack(
        nothing, statistic="upstream_rq_timeout", reads=False, records=BIG,
        greeting=settings() + frame(SETTINGS, ACK, 0)),
    "asks and never reads": Attack(
        pings_while_deaf, statistic="upstream_rq_timeout", reads=False, records=BIG,
        greeting=settings() + frame(SETTINGS, ACK, 0)),
    "8.1: a response that drips": Attack(dripping_response, statistic="upstream_rq_timeout", reset=CANCEL),
    "6.10: a header block that drips": Attack(dripping_headers, statistic="upstream_rq_timeout", reset=CANCEL),
    "6.9: a window of one octet": Attack(
        tiny_windows, statistic="http2.tx_flush_timeout", reset=CANCEL, greeting=settings((4, 1)),
        records=[b"%04d" % n * 250 for n in range(3)]),
    "6.9: a window of nothing": Attack(
        nothing, statistic="http2.tx_flush_timeout", reset=CANCEL, greeting=settings((4, 0)), records=BIG),
}
for slow in SLOW.values():
    # Twice the 15 s of a request, and more for a machine that is busy.
    slow.seconds = 90

ATTACKS = {**CONNECTION, **STREAM, **ENDS, **SLOW}

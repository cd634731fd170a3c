"""What each answer of an upstream means: delivered, transient, held, or rejected."""

import json
import signal
import time

import pytest
from upstream import Answer
from waiting import holds_for, wait_until

INTERNAL_ERROR, REFUSED_STREAM, CANCEL, ENHANCE_YOUR_CALM = 2, 7, 8, 11


def once(answer):
    """The answer for the first request, 200 for those behind it."""
    left = [answer]
    return lambda request: left.pop() if left else Answer()


def reports(upstream, key):
    return [
        json.loads(r.body)[key] for r in upstream.whole()
        if r.path == "/v1/health" and key in json.loads(r.body)
    ]


def states(upstream):
    return [r for r in upstream.whole() if r.path == "/v1/state"]


def wait_for_states(upstream, count, seconds=20):
    wait_until(lambda: len(states(upstream)) >= count, lambda: f"{count} requests: {states(upstream)}", seconds)
    return states(upstream)


@pytest.mark.parametrize("status", [200, 201, 202, 204, 206, 299])
def test_every_2xx_is_delivered(make_upstream, make_line, status):
    line = make_line(make_upstream(rule=lambda request: Answer(status=status)))
    line.publish(b"1", b"2")
    line.spoke.wait_for_stat("spoke.stream.state.delivered", 2)
    assert [r.body for r in line.upstream.whole()] == [b"1", b"2"]


TRANSIENT = [408, 425, 429, 500, 501, 502, 503, 504, 507, 599]


@pytest.mark.parametrize("status", TRANSIENT)
def test_a_transient_status_is_tried_again_with_the_same_id_and_body_and_keeps_the_order(
    make_upstream, make_line, status
):
    line = make_line(make_upstream(rule=once(Answer(status=status))))
    line.publish(b"1", b"2")
    requests = line.upstream.wait_for(3)
    assert [r.body for r in requests] == [b"1", b"1", b"2"]
    assert requests[0].id == requests[1].id != requests[2].id
    line.spoke.wait_for_stat("spoke.stream.state.delivered", 2)
    assert line.spoke.stat("spoke.stream.state.retried") >= 1


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_honoured(make_upstream, make_line, status):
    line = make_line(make_upstream(rule=once(Answer(status=status, headers=[("retry-after", "3")]))))
    line.publish(b"1", b"2")
    requests = line.upstream.wait_for(3)
    assert [r.body for r in requests] == [b"1", b"1", b"2"]
    assert requests[1].time - requests[0].time >= 2.95


@pytest.mark.parametrize(
    "answer",
    [
        Answer(reset=INTERNAL_ERROR),
        Answer(reset=REFUSED_STREAM),
        Answer(reset=CANCEL),
        Answer(reset=ENHANCE_YOUR_CALM),
        Answer(drop=True),
        Answer(go_away=0),
        Answer(reset_after_headers=INTERNAL_ERROR),
    ],
    ids=["reset", "refused", "cancelled", "calm", "dropped", "goaway", "reset-behind-2xx"],
)
def test_a_transport_error_is_tried_again(make_upstream, make_line, answer):
    line = make_line(make_upstream(rule=once(answer)))
    line.publish(b"1", b"2")
    line.spoke.wait_for_stat("spoke.stream.state.delivered", 2)
    requests = line.upstream.whole()
    assert [r.body for r in requests] == [b"1", b"1", b"2"]
    assert requests[0].id == requests[1].id


def test_a_stream_refused_before_its_body_is_tried_again(make_upstream, make_line):
    upstream = make_upstream()
    left = [Answer(reset=REFUSED_STREAM)]
    upstream.on_headers = lambda request: left.pop() if left else None
    line = make_line(upstream)
    line.publish(b"1", b"2")
    line.spoke.wait_for_stat("spoke.stream.state.delivered", 2)
    assert [r.body for r in upstream.whole() if r.reset is None][-2:] == [b"1", b"2"]


def test_goaway_behind_every_answer_moves_on_to_a_new_connection_each_time(make_upstream, make_line):
    line = make_line(make_upstream(rule=lambda request: Answer(go_away_after=True)))
    payloads = [b"%d" % n for n in range(10)]
    line.publish(*payloads)
    line.spoke.wait_for_stat("spoke.stream.state.delivered", 10, 30)
    assert [r.body for r in line.upstream.whole()] == payloads
    assert line.upstream.connections >= 10


def test_goaway_in_mid_flight_replays_only_what_the_upstream_never_took(make_upstream, make_line):
    upstream = make_upstream(rule=lambda request: Answer(hold=True))
    line = make_line(upstream, in_flight=3)
    line.publish(b"1", b"2", b"3")
    first = upstream.wait_for(3)
    taken = sorted(first, key=lambda r: r.stream)[0]
    upstream.rule = lambda request: Answer()
    upstream.go_away(last_stream=taken.stream)
    upstream.release()
    line.spoke.wait_for_stat("spoke.stream.state.delivered", 3)
    again = [r for r in upstream.whole() if r.connection != taken.connection]
    assert sorted(r.id for r in again) == sorted(r.id for r in first if r is not taken)


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_refusal_that_a_person_can_mend_holds_the_stream_until_a_reload(make_upstream, make_line, status):
    upstream = make_upstream(
        rule=lambda request: Answer(status=status if request.path == "/v1/state" else 200)
    )
    line = make_line(upstream, reports=True)
    line.publish(b"1", b"2")
    wait_for_states(upstream, 1)
    wait_until(lambda: reports(upstream, "held"), "a report that the stream is held")
    holds_for(lambda: len(states(upstream)) == 1, "a held stream sends nothing", 2)
    assert line.spoke.stat("spoke.stream.state.held") == 1
    assert line.spoke.stat("spoke.stream.state.backlog_records") == 2
    upstream.rule = lambda request: Answer()
    line.spoke.reload()
    requests = wait_for_states(upstream, 3)
    assert [r.body for r in requests] == [b"1", b"1", b"2"]
    assert requests[0].id == requests[1].id
    line.spoke.wait_for_stat("spoke.stream.state.delivered", 2)
    assert line.spoke.stat("spoke.stream.state.held") == 0


REJECTED = [400, 405, 406, 409, 410, 413, 415, 422, 431, 451]


@pytest.mark.parametrize("status", REJECTED)
def test_a_record_that_is_rejected_is_parked_and_reported_and_the_next_goes_on(
    make_upstream, make_line, status
):
    def rule(request):
        return Answer(status=status if request.body == b"poison" else 200)

    upstream = make_upstream(rule=rule)
    line = make_line(upstream, reports=True)
    line.publish(b"1", b"poison", b"2")
    requests = wait_for_states(upstream, 3)
    assert [r.body for r in requests] == [b"1", b"poison", b"2"]
    line.spoke.wait_for_stat("spoke.stream.state.delivered", 2)
    assert line.spoke.stat("spoke.stream.state.parked") == 1
    gap = wait_until(lambda: reports(upstream, "gap"), "a gap report")[0]
    assert gap["stream"] == "state"
    assert gap["reason"] == "rejected"
    assert (gap["first"], gap["last"], gap["count"]) == (2, 2, 1)
    assert requests[1].id == f"board-1/state/{gap['epoch']}-2"
    assert gap["from"] == gap["to"] == requests[1].header("ce-time"), "when the record was taken"


def test_a_redirect_is_not_followed_and_not_delivered(make_upstream, make_line):
    upstream = make_upstream(rule=once(Answer(status=307, headers=[("location", "/elsewhere")])))
    line = make_line(upstream)
    line.publish(b"1", b"2")
    wait_until(lambda: any(r.body == b"2" for r in upstream.whole()) or line.spoke.stat("spoke.stream.state.held"),
               "the stream goes on, or is held")
    assert all(r.path == "/v1/state" for r in upstream.whole())
    assert line.spoke.stat("spoke.stream.state.delivered") <= 1 or len(upstream.whole()) == 3


def test_an_upstream_that_never_answers_is_given_up_after_the_routes_timeout_and_tried_again(
    make_upstream, make_line
):
    line = make_line(make_upstream(rule=once(Answer(stall=True))))
    line.publish(b"1")
    start = line.upstream.wait_for(1)[0].time
    again = line.upstream.wait_for(2, 40)[1]
    # The upstream may have been late to see the first one, and the second one.
    assert 13 <= again.time - start <= 35
    line.spoke.wait_for_stat("spoke.stream.state.delivered", 1)


@pytest.mark.parametrize("window", [1, 100])
def test_a_tiny_window_is_kept_to(make_upstream, make_line, window):
    line = make_line(make_upstream(settings={4: window}), content_type="text/plain")
    payloads = [b"first", bytes(range(256)) * (1 if window == 1 else 40)]
    line.publish(*payloads)
    assert [r.body for r in line.upstream.wait_for(2, 30)] == payloads
    assert line.upstream.protocol_errors == []


def test_a_window_that_stays_shut_stops_the_stream_and_opens_it_again(make_upstream, make_line):
    upstream = make_upstream(settings={4: 10})
    upstream.consume = False
    line = make_line(upstream)
    # The first request can leave before the settings came.
    line.publish(b"first")
    upstream.wait_for(1)
    line.publish(b"0123456789and more than the window")
    wait_until(lambda: len(upstream.requests) > 1 and len(upstream.requests[1].body) == 10, "ten bytes")
    holds_for(lambda: len(upstream.requests[1].body) == 10, "no byte above the window", 0.5)

    def open_window():
        upstream.consume = True
        for connection in upstream.open_connections.values():
            connection.h2.acknowledge_received_data(10, upstream.requests[1].stream)
            upstream._flush(connection)

    upstream.call(open_window)
    assert upstream.wait_for(2)[1].body == b"0123456789and more than the window"


def test_a_server_that_allows_one_stream_at_a_time_gets_one(make_upstream, make_line):
    upstream = make_upstream(settings={3: 1}, rule=lambda request: Answer(delay=0.05))
    line = make_line(upstream, in_flight=8)
    payloads = sorted(b"%d" % n for n in range(20))
    line.publish(*payloads)
    line.spoke.wait_for_stat("spoke.stream.state.delivered", 20, 30)
    assert sorted({r.body for r in upstream.whole()}) == payloads
    assert upstream.protocol_errors == []


def test_response_headers_as_long_as_several_frames_are_read(make_upstream, make_line):
    value = "".join(chr(33 + (n * n * 31 + n) % 90) for n in range(1000))
    headers = [(f"x-long-{n}", value[n:] + value[:n]) for n in range(4)]
    line = make_line(make_upstream(rule=lambda request: Answer(headers=headers, frame_size=1000)))
    line.publish(b"1", b"2")
    assert [r.body for r in line.upstream.wait_for(2)] == [b"1", b"2"]
    assert line.upstream.connections == 1


def test_an_outage_loses_nothing_and_the_backlog_comes_in_order(make_upstream, make_line):
    upstream = make_upstream(paused=True)
    line = make_line(upstream)
    payloads = [b"%d" % n for n in range(30)]
    line.publish(*payloads)
    line.spoke.wait_for_stat("spoke.stream.state.backlog_records", 30)
    upstream.start()
    assert [r.body for r in upstream.wait_for(30, 40)] == payloads


def test_a_connection_that_is_cut_again_and_again_delivers_in_order(make_upstream, make_line):
    line = make_line(make_upstream(rule=lambda request: Answer(delay=0.01)))
    payloads = [b"%d" % n for n in range(100)]
    for start in range(0, 100, 20):
        line.publish(*payloads[start : start + 20])
        line.upstream.wait_for(start + 3, 30)
        line.upstream.drop_connections()
    line.spoke.wait_for_stat("spoke.stream.state.delivered", 100, 60)
    seen, firsts = set(), []
    for request in line.upstream.whole():
        if request.id not in seen:
            firsts.append(request.body)
        seen.add(request.id)
    assert firsts == payloads


def test_sigterm_during_a_back_off_keeps_the_record_for_the_next_start(make_upstream, make_line):
    upstream = make_upstream(rule=lambda request: Answer(status=503, headers=[("retry-after", "60")]))
    line = make_line(upstream)
    line.publish(b"kept")
    first = upstream.wait_for(1)[0]
    start = time.monotonic()
    line.spoke.signal(signal.SIGTERM)
    assert line.spoke.process.wait(30) == 0
    assert time.monotonic() - start < 15, "it does not wait for the minute"
    upstream.rule = lambda request: Answer()
    line.spoke.start()
    again = upstream.wait_for(2)[1]
    assert (again.body, again.id) == (b"kept", first.id)

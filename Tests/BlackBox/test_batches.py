"""Batches: full, lingering, bisected, held, in memory only, live records first."""

import json

from spoke import configuration, mqtt, stream
from upstream import Answer
from waiting import holds_for, wait_until

# None of these is waited out: it is longer than a machine that is busy takes to bring ten records.
BATCH = {"encoding": "cloudevents-batch", "batch": {"records": 10, "linger": "1m"}}


def numbers(request):
    return [event["data"]["n"] for event in json.loads(request.body)]


def publish(line, *values):
    line.publish(*(json.dumps({"n": n}).encode() for n in values))


def batches(upstream, path="/v1/state"):
    return [numbers(r) for r in upstream.whole() if r.path == path]


def arrived(upstream):
    return [n for batch in batches(upstream) for n in batch]


def gaps(upstream):
    return [
        json.loads(r.body)["gap"] for r in upstream.whole()
        if r.path == "/v1/health" and "gap" in json.loads(r.body)
    ]


def test_a_batch_leaves_when_it_is_full_or_has_lingered(make_upstream, make_line):
    line = make_line(make_upstream(), **{**BATCH, "batch": {"records": 10, "linger": "4s"}})
    publish(line, *range(13))
    line.spoke.wait_for_stat("spoke.stream.state.delivered", 13)
    assert arrived(line.upstream) == list(range(13))
    assert [len(batch) for batch in batches(line.upstream)] == [10, 3]
    full, rest = [r for r in line.upstream.whole() if r.path == "/v1/state"]
    assert full.header("content-type") == "application/cloudevents-batch+json"
    assert rest.time - full.time > 1


def test_the_poison_record_is_found_parked_and_reported_and_the_others_keep_their_order(make_upstream, make_line):
    def rule(request):
        poison = request.path == "/v1/state" and 6 in numbers(request)
        return Answer(status=422 if poison else 200)

    line = make_line(make_upstream(rule=rule), reports=True, **BATCH)
    publish(line, *range(20))
    line.spoke.wait_for_stat("spoke.stream.state.delivered", 19)
    assert line.spoke.stat("spoke.stream.state.parked") == 1
    accepted = [n for batch in batches(line.upstream) if 6 not in batch for n in batch]
    assert accepted == [n for n in range(20) if n != 6]
    wait_until(lambda: gaps(line.upstream), "a gap report")
    (gap,) = gaps(line.upstream)
    assert (gap["first"], gap["last"], gap["count"], gap["reason"]) == (7, 7, 1, "rejected")
    assert (line.spoke.folder / "spool" / "dead-letter.seg").stat().st_size > 0


def test_a_held_batch_is_kept_and_sent_after_a_reload(make_upstream, make_line):
    held = [True]
    line = make_line(
        make_upstream(rule=lambda r: Answer(status=403 if held[0] and r.path == "/v1/state" else 200)), **BATCH)
    publish(line, *range(10))
    line.spoke.wait_for_stat("spoke.stream.state.held", 1)
    holds_for(lambda: len(batches(line.upstream)) == 1, "one probe in 30 s", 2)
    held[0] = False
    line.spoke.reload()
    line.spoke.wait_for_stat("spoke.stream.state.delivered", 10)
    assert batches(line.upstream) == [list(range(10))] * 2


def test_a_drain_does_not_wait_for_linger(make_upstream, make_line):
    line = make_line(make_upstream(), **{**BATCH, "batch": {"records": 10, "linger": "1h"}})
    publish(line, 1, 2, 3)
    line.spoke.wait_for_stat("spoke.stream.state.backlog_records", 3)
    code, _ = line.spoke.terminate()
    assert code == 0, "and sooner than an hour"
    assert arrived(line.upstream) == [1, 2, 3]


def test_a_memory_stream_keeps_the_newest_writes_nothing_and_reports_what_it_dropped(make_upstream, make_line):
    upstream = make_upstream(paused=True)
    line = make_line(upstream, reports=True, durability="memory", encoding="cloudevents-batch",
                     batch={"records": 100})
    publish(line, *range(3000))
    line.spoke.wait_for_stat("spoke.stream.state.records_in", 3000)
    assert line.spoke.json("/spool")["records"] <= 5, "only reports are on disk"
    upstream.start()
    line.spoke.reload()
    wait_until(lambda: 2999 in arrived(upstream), "the newest record", 30)
    stats = line.spoke.stats()
    dropped = stats["spoke.stream.state.dropped"]
    assert dropped + stats["spoke.stream.state.delivered"] + stats["spoke.stream.state.backlog_records"] == 3000
    assert dropped > 1000
    wait_until(lambda: sum(g["count"] for g in gaps(upstream)) == dropped, lambda: f"{dropped}: {gaps(upstream)}", 20)
    assert {g["reason"] for g in gaps(upstream)} == {"memory"}


def start_with_a_backlog(folder, spoke, upstream, broker, publisher, count, **keys):
    """A daemon that has `count` records from before it started, and an upstream that answers nothing yet."""
    spoke.start(configuration(
        folder,
        stream("state", upstream.url, path="/v1/state", content_type="application/json", durability="sync",
               order="live-first", **keys),
        mqtt(broker.url, ("in/state", "state")),
    ))
    wait_until(lambda: spoke.stat("spoke.mqtt.connected") == 1, "MQTT is connected")
    for number in range(count):
        publisher.publish("in/state", json.dumps({"n": number}).encode())
    publisher.flush()
    spoke.wait_for_stat("spoke.stream.state.backlog_records", count)
    spoke.terminate()
    upstream.rule = lambda request: Answer(hold=True)
    upstream.start()
    spoke.start()
    wait_until(lambda: spoke.stat("spoke.mqtt.connected") == 1, "MQTT is connected")


def answer_once_it_has(spoke, upstream, records, delay):
    """From when the daemon has that many new records beside its backlog, the upstream answers, slowly."""
    spoke.wait_for_stat("spoke.stream.state.records_in", records)
    upstream.rule = lambda request: Answer(delay=delay)
    upstream.release()


def test_live_first_lets_a_new_record_pass_the_backlog(folder, spoke, make_upstream, make_broker, make_publisher):
    upstream, broker = make_upstream(paused=True), make_broker("max_queued_messages 0")
    publisher = make_publisher(broker)
    start_with_a_backlog(folder, spoke, upstream, broker, publisher, 1000, encoding="cloudevents-batch",
                         batch={"records": 10})
    publisher.publish("in/state", b'{"n": 1000}')
    answer_once_it_has(spoke, upstream, 1, 0.02)
    spoke.wait_for_stat("spoke.stream.state.delivered", 1001, 60)
    whole = arrived(upstream)
    assert sorted(set(whole)) == list(range(1001))
    assert whole.index(1000) < 900, "the live record waited for the backlog"
    assert [n for n in dict.fromkeys(whole) if n < 1000] == list(range(1000))


def test_live_records_and_the_backlog_share_the_link_four_to_one(
    folder, spoke, make_upstream, make_broker, make_publisher
):
    upstream, broker = make_upstream(paused=True), make_broker("max_queued_messages 0")
    publisher = make_publisher(broker)
    start_with_a_backlog(folder, spoke, upstream, broker, publisher, 200, in_flight=1)
    for number in range(200, 240):
        publisher.publish("in/state", json.dumps({"n": number}).encode())
    answer_once_it_has(spoke, upstream, 40, 0.01)
    spoke.wait_for_stat("spoke.stream.state.delivered", 240, 60)
    order = [json.loads(r.body)["n"] for r in upstream.whole()]
    assert sorted(order) == list(range(240))
    live = [place for place, n in enumerate(order) if n >= 200]
    between = live[-1] - live[0] + 1 - len(live)
    # While both wait, the backlog has one turn in five.
    assert abs(between - len(live) / 4) <= 2, f"{between} of the backlog among {len(live)} live ones"

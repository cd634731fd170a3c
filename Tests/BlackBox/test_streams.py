"""Time to live, priorities, requests in flight, fairness between streams, room on the disk."""

import contextlib
import json
import subprocess
from datetime import UTC, datetime, timedelta

import pytest
from smalldisk import SmallDisk
from spoke import configuration, mqtt, program, stream
from upstream import Answer
from waiting import holds_for, wait_until


def gaps(upstream):
    return [
        json.loads(r.body)["gap"] for r in upstream.whole()
        if r.path == "/v1/health" and "gap" in json.loads(r.body)
    ]


def test_a_record_older_than_its_ttl_is_not_sent_but_counted_and_reported(make_upstream, make_line):
    upstream = make_upstream(paused=True)
    line = make_line(upstream, reports=True, ttl="1s")
    before = datetime.now(UTC)
    line.publish(b"old 1", b"old 2", b"old 3")
    after = datetime.now(UTC)
    line.spoke.wait_for_stat("spoke.stream.state.expired", 3, 20)
    upstream.start()
    line.publish(b"new")
    line.spoke.reload()  # which ends the pauses between tries
    upstream.wait_for_body(b"new", 30)
    wait_until(lambda: sum(g["count"] for g in gaps(upstream)) == 3, "gap reports for three", 20)
    assert {(g["reason"], g["stream"]) for g in gaps(upstream)} == {("expired", "state")}
    assert min(g["first"] for g in gaps(upstream)) == 1
    assert max(g["last"] for g in gaps(upstream)) == 3
    # The first was on its way, the others waited on the disk: of each it is known when it was taken.
    for gap in gaps(upstream):
        start, end = (datetime.fromisoformat(gap[key]) for key in ("from", "to"))
        assert before <= start + timedelta(milliseconds=1) and start <= end <= after + timedelta(seconds=2), gap
    assert not any(r.body.startswith(b"old") for r in upstream.whole())


def test_alarms_go_before_everything_that_waits(folder, spoke, make_upstream, make_broker, make_publisher):
    upstream, broker = make_upstream(paused=True), make_broker("max_queued_messages 0")
    priorities = ("bulk", "telemetry", "event", "alarm")
    spoke.start(configuration(
        folder,
        *(stream(p, upstream.url, path=f"/{p}", priority=p, durability="sync") for p in priorities),
        mqtt(broker.url, *((p, p) for p in priorities)),
    ))
    wait_until(lambda: spoke.stat("spoke.mqtt.connected") == 1, "MQTT is connected")
    publisher = make_publisher(broker)
    for priority in priorities:
        for number in range(20):
            publisher.publish(priority, b"%d" % number)
    publisher.flush()
    for priority in priorities:
        spoke.wait_for_stat(f"spoke.stream.{priority}.backlog_records", 20)
    # Nothing is answered before all streams have been woken: how long that takes is the machine's matter.
    upstream.rule = lambda request: Answer(hold=True)
    upstream.start()
    spoke.reload()  # which ends the pauses between tries, of all streams at once
    upstream.wait_for_path("/alarm")
    upstream.rule = lambda request: Answer(delay=0.02)
    upstream.release()
    paths = [r.path for r in upstream.wait_for(80, 60)]
    # Each stream may have had one request under way when the upstream came back.
    last_alarm = max(i for i, path in enumerate(paths) if path == "/alarm")
    assert last_alarm <= 20 + 12, paths
    for path in set(paths):
        bodies = [r.body for r in upstream.whole() if r.path == path]
        assert bodies == [b"%d" % n for n in range(20)]


@pytest.mark.parametrize("limit", [1, 4])
def test_as_many_requests_are_in_flight_as_the_stream_says(make_upstream, make_line, limit):
    upstream = make_upstream(rule=lambda request: Answer(hold=True))
    line = make_line(upstream, in_flight=limit)
    line.publish(*[b"%d" % n for n in range(10)])
    upstream.wait_for(limit)
    holds_for(lambda: len(upstream.requests) == limit, "no request above the limit", 0.5)
    upstream.rule = lambda request: Answer()
    upstream.release()
    assert sorted({r.body for r in upstream.wait_for(10)}) == sorted(b"%d" % n for n in range(10))


def test_a_stream_that_is_stuck_does_not_stop_another(folder, spoke, make_upstream, make_broker, make_publisher):
    upstream, broker = make_upstream(), make_broker()
    upstream.rule = lambda request: Answer(status=503 if request.path == "/stuck" else 200)
    spoke.start(configuration(
        folder,
        stream("stuck", upstream.url, path="/stuck", durability="sync"),
        stream("free", upstream.url, path="/free", durability="sync"),
        mqtt(broker.url, ("stuck", "stuck"), ("free", "free")),
    ))
    wait_until(lambda: spoke.stat("spoke.mqtt.connected") == 1, "MQTT is connected")
    publisher = make_publisher(broker)
    for number in range(20):
        publisher.publish("stuck", b"%d" % number)
        publisher.publish("free", b"%d" % number)
    publisher.flush()
    spoke.wait_for_stat("spoke.stream.free.delivered", 20)
    assert [r.body for r in upstream.whole() if r.path == "/free"] == [b"%d" % n for n in range(20)]
    assert {r.body for r in upstream.whole() if r.path == "/stuck"} == {b"0"}


def test_a_full_spool_drops_the_oldest_and_says_exactly_what(make_upstream, make_line):
    upstream = make_upstream(paused=True)
    spool = 'size = "256KiB"\nsegment = "64KiB"\nfree_floor = "64KiB"'
    line = make_line(upstream, reports=True, spool=spool, content_type="application/octet-stream")
    payloads = [b"%06d" % n + b"." * 2000 for n in range(400)]
    line.publish(*payloads)
    line.spoke.wait_for_stat("spoke.stream.state.dropped", 1, 30)
    wait_until(lambda: line.spoke.stat("spoke.stream.state.records_in") == 400, "all were taken")
    upstream.start()
    upstream.wait_for_body(payloads[-1], 60)
    dropped = line.spoke.stat("spoke.stream.state.dropped")
    wait_until(
        lambda: sum(g["count"] for g in gaps(upstream)) == dropped, lambda: f"{dropped} in {gaps(upstream)}"
    )
    missing = {n for g in gaps(upstream) for n in range(g["first"], g["last"] + 1)}
    arrived = [r for r in upstream.whole() if r.path == "/v1/state"]
    assert {g["reason"] for g in gaps(upstream)} == {"space"}
    numbers = [int(r.body[:6]) + 1 for r in arrived]
    assert numbers == sorted(numbers)
    assert set(numbers) | missing == set(range(1, 401))
    assert [int(r.id.rsplit("-", 1)[1]) for r in arrived] == numbers
    assert disk_usage(line) <= 256 * 1024 + 64 * 1024


def disk_usage(line):
    used = 0
    for path in (line.spoke.folder / "spool").rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            used += path.stat().st_size if path.is_file() else 0
    return used


def test_with_thinning_old_records_come_coarse_and_new_ones_whole(make_upstream, make_line):
    upstream, count = make_upstream(paused=True), 3000
    spool = 'size = "1MiB"\nsegment = "64KiB"\nfree_floor = "64KiB"\nthin = true\ncommit = { bytes = "16KiB" }'
    line = make_line(upstream, reports=True, spool=spool, content_type="application/octet-stream")
    payloads = [b"%06d" % n + b"." * 1000 for n in range(count)]
    most = 0
    for start in range(0, count, 100):
        line.publish(*payloads[start : start + 100])
        line.spoke.wait_for_stat("spoke.stream.state.records_in", start + 100, 30)
        most = max(most, disk_usage(line))
    # The cap is that of the segments and the cursor; the file of the lock is empty.
    assert most <= 1024 * 1024
    assert line.spoke.stat("spoke.spool.thinned") > count / 3
    levels = [s["level"] for s in listed(line) if any(e["name"] == "state" for e in s["streams"])]
    # The oldest one holds the record that is on its way, and stays as it is.
    if levels[0] == 0:
        levels = levels[1:]
    assert levels == sorted(levels, reverse=True) and max(levels) >= 2 and levels.count(0) >= len(levels) / 3
    dropped = line.spoke.stat("spoke.stream.state.dropped")
    assert dropped >= line.spoke.stat("spoke.spool.thinned") > 0
    upstream.start()
    upstream.wait_for_body(payloads[-1], 60)
    dropped = line.spoke.stat("spoke.stream.state.dropped")
    wait_until(
        lambda: sum(g["count"] for g in gaps(upstream)) == dropped, lambda: f"{dropped} in {gaps(upstream)}"
    )
    told = gaps(upstream)
    arrived = [r for r in upstream.whole() if r.path == "/v1/state"]
    numbers = [int(r.body[:6]) + 1 for r in arrived]
    assert [r.body for r in arrived] == [payloads[n - 1] for n in numbers]
    assert numbers == sorted(set(numbers)) and len(numbers) + dropped == count
    assert {g["reason"] for g in told} == {"space"} and not any(g.get("upper_bound") for g in told)
    missing = {n for g in told for n in range(g["first"], g["last"] + 1)}
    assert set(numbers) | missing == set(range(1, count + 1))
    # Without thinning some 800 would be left, and the oldest of them would be number 2200.
    assert numbers[0] < count / 3
    whole = next(n for n in range(count, 0, -1) if n not in set(numbers)) + 1
    assert count - whole > 180, whole
    old = [n for n in numbers if n < whole]
    assert len(old) < (whole - old[0]) / 3
    wait_until(lambda: line.spoke.stat("spoke.stream.state.backlog_records") == 0, "nothing waits")


def listed(line):
    done = subprocess.run(
        [program("spokectl"), "--config", line.spoke.file, "spool", "ls", "--json"], capture_output=True, timeout=30)
    return json.loads(done.stdout)["segments"]


@pytest.fixture
def small_disk(folder):
    """A file system of one megabyte, where the spool's folder will be."""
    disk = SmallDisk(folder / "spool", 1024, "tmpfs")
    yield disk.place
    disk.close()


def test_a_disk_that_another_program_fills_stops_nothing_and_is_said(make_upstream, make_line, small_disk):
    upstream = make_upstream()
    line = make_line(upstream, reports=True, spool='size = "512KiB"\nsegment = "64KiB"\nfree_floor = "4KiB"')
    line.publish(b"before")
    upstream.wait_for_body(b"before")
    hog = small_disk / "another programs file"
    with hog.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            pass
    for number in range(300):
        line.publisher.publish("in/state", b"during %d " % number + b"." * 400)
    wait_until(lambda: line.spoke.stat("spoke.spool.degraded") >= 1, lambda: line.spoke.log[-2000:], 60)
    assert line.spoke.get("/ready")[0] in (200, 503)
    hog.unlink()
    wait_until(lambda: line.spoke.stat("spoke.spool.degraded") == 0, lambda: line.spoke.log[-2000:], 90)
    line.publisher.flush()
    line.publish(b"after")
    upstream.wait_for_body(b"after", 40)
    def lost():
        arrived = {r.body for r in upstream.whole()}
        return [n for n in range(300) if b"during %d " % n + b"." * 400 not in arrived]

    # The one record that was on its way when its segment was given up may be named and arrive all the same.
    def named():
        return sum(g["count"] for g in gaps(upstream))

    wait_until(lambda: 0 <= named() - len(lost()) <= 1, lambda: f"{lost()} in {gaps(upstream)}", 30)

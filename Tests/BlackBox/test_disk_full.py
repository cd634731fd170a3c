"""The spool's disk is full for a while: nothing that it cannot keep is acknowledged, it says so, and it goes on by itself."""

import json
import os
import time

import pytest
from smalldisk import SmallDisk
from waiting import holds_for, settled, wait_until

SECONDS = 60 if os.environ.get("SPOKE_LONG") else 10
# The daemon leaves a full disk alone for a minute before it tries again.
AGAIN = 120
SPOOL = 'size = "2MiB"\nsegment = "64KiB"\nfree_floor = "4KiB"'


@pytest.fixture(params=["tmpfs", "ext4"])
def disk(request, folder):
    made = SmallDisk(folder / "spool", 4096, request.param)
    yield made
    made.close()


def acknowledged(line) -> int:
    """The messages that the daemon has acknowledged to the broker, by the broker's own log."""
    return line.broker.log.read_text(errors="replace").count("Received PUBACK from spoke-board-1")


def of_kind(upstream, kind):
    bodies = [json.loads(r.body) for r in upstream.whole() if r.path == "/v1/health"]
    return [body[kind] for body in bodies if kind in body]


def test_a_full_disk_acknowledges_nothing_that_it_has_not_and_goes_on_by_itself(make_upstream, make_line, disk):
    upstream = make_upstream(paused=True)
    line = make_line(upstream, reports=True, spool=SPOOL)
    spoke = line.spoke
    sent = [b"before %d" % n for n in range(50)]
    line.publish(*sent)
    wait_until(lambda: acknowledged(line) == 50, lambda: f"{acknowledged(line)} acknowledged")
    hog = disk.fill()
    begun, number = time.monotonic(), 0

    def publish():
        nonlocal number
        sent.append(b"during %d " % number + b"." * 400)
        line.publisher.publish("in/state", sent[-1])
        number += 1

    while spoke.stat("spoke.spool.degraded") == 0:
        assert time.monotonic() < begun + 60, "the full disk is not noticed"
        publish()
        time.sleep(0.01)
    status, _, said = spoke.get("/ready")
    assert (status, said) == (200, "LIVE, spool degraded: no space left on the device\n")
    page = spoke.json("/spool")
    assert (page["degraded"], page["reason"]) == (True, "no space left on the device")
    assert "spool degraded" in spoke.json("/server_info")["status"]
    # What it acknowledged before is still on its way to the broker's log.
    on_disk = settled(lambda: acknowledged(line))

    def still():
        publish()
        return acknowledged(line) == on_disk

    holds_for(still, "a message was acknowledged that is not on disk", SECONDS)
    assert spoke.stat("spoke.spool.degraded") == 1
    upstream.start()
    line.publisher.flush(60)
    hog.unlink()
    freed = time.monotonic()
    if disk.device is None:
        # An operator need not wait for the minute.
        assert spoke.get("/spool/drain", "POST")[0] == 200
    wait_until(lambda: spoke.stat("spoke.spool.degraded") == 0, lambda: spoke.log[-2000:], AGAIN, 0.1)
    print(f"{number} messages while it was full, {on_disk} acknowledged before, again after {time.monotonic() - freed:.1f} s")
    assert (spoke.get("/ready")[2], "reason" in spoke.json("/spool")) == ("LIVE\n", False)
    sent.append(b"after")
    line.publish(sent[-1])
    wait_until(lambda: acknowledged(line) >= len(sent), lambda: f"{acknowledged(line)} of {len(sent)} acknowledged", 60)

    def arrived():
        return list(dict.fromkeys(r.body for r in upstream.whole() if r.path == "/v1/state"))

    wait_until(lambda: len(arrived()) == len(sent), lambda: f"{len(arrived())} of {len(sent)}\n{spoke.log[-2000:]}", 60, 0.1)
    assert arrived() == sent
    assert of_kind(upstream, "gap") == [] and spoke.stat("spoke.stream.state.dropped") == 0
    wait_until(lambda: of_kind(upstream, "degraded") and of_kind(upstream, "recovered"), "both are reported")
    assert {r["reason"] for r in of_kind(upstream, "degraded")} == {"no space left on the device"}


def test_what_was_acknowledged_before_a_full_disk_outlives_a_kill_on_it(make_upstream, make_line, disk):
    """And a daemon that starts on a full disk is up, says so, and delivers what is there."""
    upstream = make_upstream(paused=True)
    line = make_line(upstream, spool=SPOOL)
    sent = [b"before %d" % n for n in range(50)]
    line.publish(*sent)
    wait_until(lambda: acknowledged(line) == 50, lambda: f"{acknowledged(line)} acknowledged")
    line.spoke.kill()
    hog = disk.fill()
    line.spoke.start()
    line.publish(*[b"during %d " % n + b"." * 400 for n in range(300)])
    upstream.start()
    wait_until(lambda: set(sent) <= {r.body for r in upstream.whole()}, lambda: line.spoke.log[-2000:], 30)
    line.spoke.kill()
    hog.unlink()
    line.spoke.start()
    upstream.wait_for_body(b"during 299 " + b"." * 400, 30)
    assert {r.body for r in upstream.whole()} == {*sent, *(b"during %d " % n + b"." * 400 for n in range(300))}

"""What must hold for long: the broker dies again and again, the spool is full of a backlog, a port floods a gateway that
has neither an upstream nor a disk. Shorter here, at full length with SPOKE_LONG."""

import base64
import json
import os
import random
import re
import statistics
import threading
import time
from pathlib import Path

from serialport import BoardEmulator
from smalldisk import SmallDisk
from spoke import configuration, mqtt, serial, stream
from upstream import Upstream
from waiting import wait_until

LONG = bool(os.environ.get("SPOKE_LONG"))
BROKER_KILLS = 60 if LONG else 6
FLOOD_SECONDS = 3600 if LONG else 60
# What 921600 baud carry of the emulator's lines, which are 64 bytes long on average.
FRAMES_PER_SECOND = 1435
MEMORY = 14 * 1024


def resident(spoke, what="VmRSS") -> int:
    """KiB; VmHWM is the most that it ever was."""
    status = Path(f"/proc/{spoke.process.pid}/status").read_text()
    return int(re.search(rf"{what}:\s+(\d+)", status).group(1))


def connected(spoke):
    wait_until(lambda: spoke.stat("spoke.mqtt.connected") == 1, lambda: spoke.log[-2000:], 60)


def sequence(record_id) -> int:
    return int(record_id.rpartition("-")[2])


# The broker is killed and started again under load.


def test_a_broker_that_is_killed_again_and_again_under_load_loses_nothing_of_ours(
    folder, spoke, make_upstream, make_broker, make_publisher
):
    """The broker saves its messages every second. What it had not saved when it was killed is its loss; what we had
    acknowledged is ours, and what it has it gives to us again."""
    seed = int(os.environ.get("SPOKE_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"SPOKE_SEED={seed}, {BROKER_KILLS} kills")
    chance, count, stop = random.Random(seed), 0, threading.Event()
    upstream = make_upstream()
    broker = make_broker(
        "max_queued_messages 0", "persistence true", f"persistence_location {folder}/", "autosave_interval 1")
    spoke.start(configuration(
        folder, stream("state", upstream.url, path="/", content_type="text/plain", durability="sync"),
        mqtt(broker.url, ("in/state", "state")), spool='size = "8MiB"\nsegment = "64KiB"\nfree_floor = "64KiB"'))
    connected(spoke)
    # A broker that is killed before it has saved our session once knows of no subscriber until we are there again.
    saving = "Saving in-memory database"
    wait_until(lambda: "Received SUBSCRIBE from spoke-board-1" in broker.log.read_text(errors="replace"), "subscribed")
    broker.wait_for_log(saving, broker.log.read_text(errors="replace").count(saving) + 2, 30)
    publisher = make_publisher(broker)

    def publish():
        nonlocal count
        while not stop.wait(0.01):
            publisher.publish("in/state", b"%d" % count)
            count += 1

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        for _ in range(BROKER_KILLS):
            stop.wait(chance.uniform(0.2, 1.5))
            broker.kill()
            stop.wait(chance.uniform(0, 0.3))
            broker.start()
            connected(spoke)
            if chance.random() < 0.3:
                upstream.drop_connections()
    finally:
        stop.set()
        thread.join()
    publisher.flush(120)
    publisher.publish("in/state", b"the last one")
    upstream.wait_for_body(b"the last one", 60)
    wait_until(lambda: spoke.stat("spoke.stream.state.backlog_records") == 0, "all is delivered", 60)
    records = list({r.id: r for r in upstream.whole()}.values())
    assert [sequence(r.id) for r in records] == list(range(1, len(records) + 1)), "none of ours is missing or late"
    stats = spoke.stats()
    assert (stats["spoke.stream.state.records_in"], stats["spoke.stream.state.dropped"]) == (len(records), 0)
    log = broker.log.read_text(errors="replace")
    given, acknowledged = (log.count(f"{what} spoke-board-1") for what in ("Sending PUBLISH to", "Received PUBACK from"))
    lost = count - len({r.body for r in records[:-1]})
    print(f"{count} published, given {given} times, {len(records)} records, {acknowledged} acknowledgements, {lost} lost by the "
          "broker")
    # What a broker gives again that had not saved our acknowledgement is acknowledged again, and is one record.
    assert given >= max(len(records), acknowledged) > 0
    assert lost <= BROKER_KILLS * 250, "the broker loses what it had not saved, and no more is missing"


# A long backlog.


def start_after_kill(spoke) -> tuple[float, float]:
    """Seconds by the clock from fork to READY=1, and of processor time, as the kernel counts both."""
    spoke.kill()
    begun = time.monotonic()
    spoke.start()
    ready = time.monotonic()
    fields = Path(f"/proc/{spoke.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return ready - begun, (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_a_backlog_of_48_mib_starts_within_a_second_and_drains_in_flat_memory(
    folder, spoke, make_upstream, make_broker, make_publisher
):
    upstream, broker = make_upstream(paused=True), make_broker("max_queued_messages 0", "max_inflight_messages 200")
    keys = {"content_type": "text/plain", "path": "/v1/state"}
    spoke.start(configuration(
        folder, stream("state", upstream.url, batch={"records": 16, "bytes": "60KiB"}, encoding="cloudevents-batch", **keys),
        mqtt(broker.url, ("in/state", "state")), spool="", log="warning",
    ))
    connected(spoke)
    publisher, size, count = make_publisher(broker), 8000, 6100
    for number in range(count):
        publisher.publish("in/state", b"%06d " % number + b"x" * (size - 7))
    publisher.flush(120)
    spoke.wait_for_stat("spoke.stream.state.records_in", count, 120)
    assert spoke.json("/spool")["bytes"] > 46 << 20
    full = resident(spoke, "VmHWM")
    assert full < MEMORY
    starts = [start_after_kill(spoke) for _ in range(3)]
    wall, cpu = (statistics.median(times) for times in zip(*starts))
    started = resident(spoke)
    print(f"ready after {wall * 1000:.0f} ms, {cpu * 1000:.0f} ms of CPU, {started} KiB then, at most {full} KiB while it filled")
    # A second is the promise. What the start itself takes is held to it; by the clock a machine that is busy with
    # other tests may take as long again, and twice.
    assert cpu <= 1 and wall < 3
    assert max(wall for wall, _ in starts) < 10
    waiting = spoke.stat("spoke.stream.state.backlog_records")
    upstream.start()
    spoke.wait_for_stat("spoke.stream.state.delivered", waiting, 180)
    wait_until(lambda: spoke.stat("spoke.stream.state.backlog_records") == 0, "drained", 30, 0.1)
    most = resident(spoke, "VmHWM")
    print(f"{waiting} records delivered, at most {most} KiB")
    assert most < MEMORY and most - started < 4096, "memory is flat while it drains"
    arrived = [event for r in upstream.whole() for event in json.loads(r.body)]
    numbers = [int(base64.b64decode(event["data_base64"])[:6]) for event in arrived]
    # The broker may have handed over the last one again after the backlog was counted.
    assert numbers == list(range(len(numbers))) and len(numbers) in (waiting, waiting + 1), "all that waited, in order"
    # `spill` records wait in memory until there are 64 KiB of them: these a SIGKILL may take, the last ones.
    assert count - waiting <= (64 << 10) // size + 1


# A flood.


def test_a_flood_with_the_upstream_down_and_the_disk_full_stays_in_14_mib_and_every_loss_is_named(
    folder, spoke, make_broker
):
    disk = SmallDisk(folder / "spool", 4096, "tmpfs")
    try:
        flood(folder, spoke, disk)
    finally:
        spoke.cleanup()
        disk.close()


def flood(folder, spoke, disk):
    upstream, link = Upstream(paused=True), folder / "board"
    hog = disk.fill()
    keys = {"content_type": "application/json", "encoding": "cloudevents-batch"}
    batch = {"records": 200, "linger": "50ms"}
    spoke.start(configuration(
        folder, stream("flood", upstream.url, path="/flood", batch=batch, **keys),
        stream("health", upstream.url, path="/health", priority="event", durability="sync", batch=batch, **keys),
        '[reports]\nstream = "health"\n', serial("board", link, "flood", "line", 921600),
        spool='size = "2MiB"\nsegment = "64KiB"\nfree_floor = "4KiB"', log="warning",
    ))
    sent, most = FLOOD_SECONDS * FRAMES_PER_SECOND, 0
    board = BoardEmulator(
        folder, "--framing", "line", "--baud", "921600", "--generate", str(sent), "--link", str(link), "--hold", held_back=True)
    try:
        spoke.wait_for_ports()
        board.play()
        begun = time.monotonic()
        wait_until(lambda: spoke.stat("spoke.spool.degraded") == 1, lambda: spoke.log[-2000:], 30)

        def all_read():
            nonlocal most
            most = max(most, resident(spoke))
            assert most < MEMORY
            return spoke.stat("spoke.serial.board.frames") == sent

        # On a busy machine the emulator falls behind the line's rate.
        wait_until(all_read, lambda: f"{sent} frames: {spoke.json('/serial')}", FLOOD_SECONDS * 3, 1)
        seconds = time.monotonic() - begun
        assert spoke.stat("spoke.spool.degraded") == 1
        hog.unlink()
        upstream.start()
        # Sooner than the minute after which it looks again by itself.
        assert spoke.get("/spool/drain", "POST")[0] == 200
        wait_until(lambda: spoke.stat("spoke.spool.degraded") == 0, lambda: spoke.log[-2000:], 75, 0.1)
        settle(spoke, upstream, sent)
    finally:
        board.stop()
        upstream.stop()
    high = resident(spoke, "VmHWM")
    print(f"{sent} frames in {seconds:.1f} s, resident {most} KiB, at most {high} KiB")
    assert high < MEMORY


def settle(spoke, upstream, sent):
    """Every frame that the board sent was delivered, or a gap report names its number."""

    def account():
        events = [(r.path, event) for r in upstream.whole() for event in json.loads(r.body)]
        gaps = [event["data"]["gap"] for path, event in events if path == "/health" and "gap" in event["data"]]
        return {sequence(event["id"]) for path, event in events if path == "/flood"}, gaps

    def story():
        delivered, gaps = account()
        return (f"{sent} sent, {len(delivered)} delivered, {sum(gap['count'] for gap in gaps)} in {len(gaps)} gap reports\n"
                f"{spoke.log[-1500:]}")

    def is_complete():
        delivered, gaps = account()
        return len(delivered) + sum(gap["count"] for gap in gaps) >= sent

    wait_until(is_complete, story, 60, 0.5)
    delivered, gaps = account()
    print(story().splitlines()[0])
    assert len(delivered) + sum(gap["count"] for gap in gaps) == sent, story()
    assert {(gap["stream"], gap["reason"]) for gap in gaps} <= {("flood", "memory"), ("flood", "space")}
    named = {number for gap in gaps for number in range(gap["first"], gap["last"] + 1)}
    assert delivered | named == set(range(1, sent + 1)), "no number is unaccounted for"
    stats = spoke.stats()
    assert stats["spoke.stream.flood.records_in"] == sent and stats["spoke.serial.board.bad_frames"] == 0

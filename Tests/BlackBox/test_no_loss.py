"""No loss: 500 SIGKILLs at random points, 20 to 300 ms after the start, while the upstream comes and goes.

What the broker acknowledged to the publisher arrives; first occurrences keep the order of their
stream; the same id always has the same body. Serial bytes that come while nobody listens are gone
by nature: there the loss is bounded by the time without a daemon.

The kills are shared out to daemons that can run beside one another. With SPOKE_LONG each is killed 500 times.
"""

import base64
import json
import os
import random
import select
import threading
import time
from dataclasses import dataclass

import pytest
from spoke import configuration, mqtt, serial, stream, tls
from upstream import Answer
from waiting import wait_until

DAEMONS = 5
ROUNDS = 500 if os.environ.get("SPOKE_LONG") else 100
RATE = 200
# Lines that a SIGKILL may cost besides: those of one commit's interval, and of the moment before the port opens.
LINES_LOST = 30
# The newest records on disk that the daemon knows again by their messages. mosquitto says that 20 are in flight, and has
# hundreds when it is connected to again and again on a machine that is busy.
REMEMBERED = 1024


@dataclass
class Record:
    path: str
    id: str
    body: bytes


def records(requests):
    """Each record by itself, also those of batches."""
    for request in requests:
        if request.header("content-type") != "application/cloudevents-batch+json":
            yield Record(request.path, request.id, request.body)
            continue
        for event in json.loads(request.body):
            body = event["data"].encode() if "data" in event else base64.b64decode(event["data_base64"])
            yield Record(request.path, event["id"], body)


class Trouble:
    """An upstream that answers well, badly, late, or not at all, as the seed says."""

    def __init__(self, upstream, seed):
        self.upstream, self.random = upstream, random.Random(seed)
        self.upstream.rule = self.answer
        self.calm = False

    def answer(self, request):
        chance = self.random.random()
        if self.calm or chance < 0.85:
            return Answer()
        if chance < 0.90:
            return Answer(status=503)
        if chance < 0.93:
            return Answer(reset=7)
        if chance < 0.96:
            return Answer(delay=self.random.random() * 0.1)
        return Answer(drop=True) if chance < 0.98 else Answer(go_away_after=True)

    def change(self):
        if self.random.random() < 0.3:
            if self.upstream._thread is None:
                self.upstream.start()
            else:
                self.upstream.stop()
        elif self.upstream._thread is not None:
            self.upstream.drop_connections()

    def end(self):
        self.calm = True
        if self.upstream._thread is None:
            self.upstream.start()


def publish_until(stop, publisher, counts, chance):
    """Publishes numbered messages on two topics at an uneven pace, until told to stop."""
    while not stop.is_set():
        for name in counts:
            for _ in range(chance.randrange(4)):
                publisher.publish(name, b"%s %d" % (name.encode(), counts[name]))
                counts[name] += 1
        stop.wait(chance.random() * 0.04)


def live_and_be_killed(spoke, seconds):
    """One life, from its start to its SIGKILL. How long nobody listened on the serial port in it: until it was ready."""
    spoke.start(ready=False)
    begun = time.monotonic()
    ready = None
    while (left := begun + seconds - time.monotonic()) > 0:
        if select.select([spoke._notify], [], [], left)[0] and "READY=1" in spoke.read_notifications() and ready is None:
            ready = time.monotonic()
        assert spoke.running, spoke.log_since_start[-3000:]
    spoke.kill()
    return (ready or time.monotonic()) - begun


@pytest.mark.parametrize("daemon", range(DAEMONS))
def test_nothing_that_was_acknowledged_is_lost(
    daemon, folder, spoke, make_upstream, make_broker, make_publisher, make_emulator, identity, authority
):
    seed = int(os.environ.get("SPOKE_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"SPOKE_SEED={seed}, {ROUNDS} kills")
    seed += daemon
    chance = random.Random(seed)
    upstream, broker = make_upstream(identity), make_broker("max_queued_messages 0")
    trouble = Trouble(upstream, seed)
    lines = folder / "lines"
    lines.write_text("".join(f"line {n}\n" for n in range(ROUNDS * RATE)))
    link = folder / "board"
    make_emulator("--framing", "line", "--baud", "115200", "--file", str(lines), "--rate", str(RATE), "--link", str(link), "--hold")
    counts = {"one": 0, "two": 0, "many": 0}
    keys = {"tls": "fleet", "content_type": "text/plain", "durability": "sync"}
    spoke.configure(configuration(
        folder,
        *(stream(name, upstream.url, path=f"/{name}", **keys) for name in ("one", "two", "lines")),
        stream("many", upstream.url, path="/many", **keys, encoding="cloudevents-batch",
               batch={"records": 7, "linger": "100ms"}),
        serial("board", link, "lines"),
        mqtt(broker.url, *((name, name) for name in counts)),
        tls("fleet", ca=authority.certificate),
        spool='size = "32MiB"\nsegment = "256KiB"\nfree_floor = "64KiB"', log="info",
    ))
    spoke.start()
    wait_until(lambda: spoke.stat("spoke.mqtt.connected") == 1, lambda: spoke.log[-1000:])
    publisher, stop = make_publisher(broker), threading.Event()
    thread = threading.Thread(target=publish_until, args=(stop, publisher, counts, chance))
    thread.start()
    deaf, lives = 0.0, 0
    spoke.kill()
    try:
        while lives < ROUNDS:
            if chance.random() < 0.3:
                trouble.change()
            killed = time.monotonic()
            seconds = chance.uniform(0.02, 0.3)
            deaf += live_and_be_killed(spoke, seconds) + time.monotonic() - killed - seconds
            lives += 1
    finally:
        stop.set()
        thread.join()
    spoke.start(seconds=30)
    trouble.end()
    publisher.flush(60)
    acknowledged = set(publisher.acknowledged)
    assert len(acknowledged) == sum(counts.values()) > ROUNDS

    def missing():
        return acknowledged - {r.body for r in records(upstream.whole())}

    # The more kills, the more there is to deliver to an upstream in Python.
    wait_until(
        lambda: not missing(), lambda: f"{len(missing())} of {len(acknowledged)}: {sorted(missing())[:9]}", 1.8 * ROUNDS, 0.2)
    changes = spoke.log.count("records have another epoch from now on")
    check(list(records(upstream.whole())), counts, deaf, changes, most_repeated(broker))


def twice(of_stream):
    """body → its ids, of those that have several."""
    ids = {}
    for record in of_stream:
        ids.setdefault(record.body, {})[record.id] = None
    return {body: list(found) for body, found in ids.items() if len(found) > 1}


def most_repeated(broker) -> int:
    """The most messages that the broker sent again on one connection."""
    most = number = 0
    for line in broker.log.read_text(errors="replace").splitlines():
        if "New client connected" in line and "spoke-board-1" in line:
            number = 0
        elif "Sending PUBLISH to spoke-board-1 (d1," in line:
            number += 1
            most = max(most, number)
    return most


def check(arrived, counts, deaf, changes, repeated):
    """Order of first occurrences, one body for each id, a bounded loss of serial lines."""
    by_id = {}
    for record in arrived:
        assert by_id.setdefault(record.id, record.body) == record.body, record.id
    for name in (*counts, "lines"):
        of_stream = [r for r in arrived if r.path == f"/{name}"]
        ids = list(dict.fromkeys(r.id for r in of_stream))
        sequences = [int(record_id.rsplit("-", 1)[1]) for record_id in ids]
        assert sequences == sorted(sequences), f"ids of {name} out of order"
        # The kernel may end a write between two pages when it is killed. A start that finds half of one says so and
        # begins another epoch, which is seldom: once in thousands of kills.
        epochs = list(dict.fromkeys(record_id.rsplit("-", 1)[0] for record_id in ids))
        assert len(epochs) <= 1 + changes <= 2, f"the epoch changed {changes} times by the log: {epochs}"
        numbers = list(dict.fromkeys(
            int(r.body.rsplit(b" ", 1)[1]) for r in of_stream if len(r.body.split()) == 2
        ))
        assert numbers == sorted(numbers), f"first occurrences of {name} out of order"
        if name in counts:
            # What the broker repeats after a kill is known again by what the spool has.
            assert not twice(of_stream) or repeated > REMEMBERED, f"messages of {name} have two ids: {twice(of_stream)}"
            assert numbers == list(range(counts[name]))
        else:
            lost = numbers[-1] - numbers[0] + 1 - len(numbers)
            assert lost <= deaf * RATE + ROUNDS * LINES_LOST, f"{lost} serial lines lost in {deaf:.1f} deaf seconds"
            assert len(numbers) > ROUNDS // 4

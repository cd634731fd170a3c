"""Servers that attack their client: the answer of the RFC, flat memory, an idle processor, no storm of
connections, a statistic that says what happened, and nothing lost. `HTTP2.docc/HostilePeers.md` has the table."""

import os
import subprocess
import time

import pytest
from attacks import ATTACKS
from hostile import FRAME_SIZE, WINDOW_UPDATE, Attack, HostileServer, frame, word
from spoke import program
from waiting import holds_for, wait_until

MOST_RESIDENT = 14 * 1024  # KiB
MOST_GROWTH = 1_024  # KiB, over the first attack
MOST_BUSY = 0.5  # of the time that the attack takes


@pytest.fixture
def make_hostile():
    made = []

    def make(attack):
        made.append(HostileServer(attack))
        return made[-1]

    yield make
    for server in made:
        server.stop()


def resident(process) -> int:
    with open(f"/proc/{process.pid}/status") as status:
        return int(status.read().split("VmRSS:")[1].split()[0])


def busy(process) -> float:
    with open(f"/proc/{process.pid}/stat") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def spokectl_stats(spoke) -> dict[str, int]:
    done = subprocess.run(
        [program("spokectl"), "--socket", spoke.admin, "stats"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return {name: int(value) for name, _, value in (line.partition(": ") for line in done.stdout.splitlines())}


def expected(attack, server) -> list[str]:
    """The statistics that name the attack."""
    names = [f"spoke.http2.{attack.cause}"] if attack.cause else []
    return names + ([server.cluster + attack.statistic] if attack.statistic else [])


def answered(attack, server) -> bool:
    said = attack.go_away is None or attack.go_away in server.go_aways()
    return said and (attack.reset is None or attack.reset in server.resets())


@pytest.mark.parametrize("name", ATTACKS)
def test_a_hostile_server_gets_its_answer_and_costs_nothing(make_hostile, make_upstream, make_line, name):
    attack = ATTACKS[name]
    server = make_hostile(attack)
    line = make_line(server)
    spoke = line.spoke
    before, since, spent = resident(spoke.process), time.monotonic(), busy(spoke.process)
    line.publish(*attack.records)

    # Its answer, its name, and then some more of the same.
    def said():
        stats = spoke.stats()
        return answered(attack, server) and all(stats.get(wanted, 0) > 0 for wanted in expected(attack, server))

    wait_until(
        said,
        lambda: f"{name}: {expected(attack, server)}; GOAWAY {server.go_aways()}, RST_STREAM {server.resets()}; "
        f"{ {k: v for k, v in spoke.stats().items() if v and ('http2' in k or 'upstream' in k)} }\n{spoke.log[-2500:]}",
        attack.seconds,
    )
    wait_until(lambda: spoke.stat("spoke.stream.state.retried") >= 1, "the record waits", attack.seconds)
    spoke.wait_for_stat("spoke.stream.state.records_in", len(attack.records))
    holds_for(lambda: resident(spoke.process) <= before + MOST_GROWTH, f"{name}: resident memory is flat", 2)
    taken = time.monotonic() - since
    assert resident(spoke.process) <= MOST_RESIDENT
    assert busy(spoke.process) - spent <= MOST_BUSY * taken, f"busy for {busy(spoke.process) - spent} s of {taken}"
    assert len(server.times) <= attack.connections, f"{len(server.times)} connections in {taken} s"
    assert spoke.running

    # An operator sees it.
    stats = spokectl_stats(spoke)
    for wanted in expected(attack, server):
        assert stats[wanted] >= 1, wanted
    assert stats["spoke.stream.state.backlog_records"] == len(attack.records)
    assert stats["spoke.stream.state.delivered"] == 0

    # And nothing is lost.
    server.stop()
    sane = make_upstream(port=server.port)
    spoke.reload()  # which ends the pauses between tries
    wait_until(
        lambda: spoke.stat("spoke.stream.state.delivered") == len(attack.records),
        lambda: f"everything is delivered: {spoke.log[-2000:]}", 60,
    )
    bodies = [request.body for request in sane.whole()]
    assert list(dict.fromkeys(bodies)) == attack.records
    assert spoke.stat("spoke.stream.state.backlog_records") == 0


def test_a_peer_that_talks_on_hears_the_go_away_and_is_not_reset(make_hostile, make_line):
    """A close with unread input resets the connection: the peer would be told nothing, or in the middle of a word."""
    heard, ends = [], []

    def talk(visitor):
        began = time.monotonic()
        # Sixteen bytes of WINDOW_UPDATE are a FRAME_SIZE_ERROR; what follows is never looked at.
        visitor.send(frame(WINDOW_UPDATE, 0, 0, bytes(16)) + bytes(100_000))
        visitor.socket.settimeout(20)
        try:
            while chunk := visitor.socket.recv(4096):
                heard.append(chunk)
            # Our own side still stands: nothing that is sent now is answered by a reset.
            visitor.send(bytes(50_000))
            end = "whole"
        except OSError as error:
            end = repr(error)
        # Its patience has an end: a machine that is busy may keep us from our turn for longer.
        if time.monotonic() - began < 1:
            ends.append(end)

    line = make_line(make_hostile(Attack(talk, at_once=True, reads=False)))
    spoke = line.spoke
    line.publish(b"{}")
    wait_until(lambda: len(ends) >= 3, lambda: f"{b''.join(heard)}\n{spoke.log[-1500:]}", 60)
    assert set(ends) == {"whole"}
    said = b"".join(heard)
    assert (b"\x07\x00\x00\x00\x00\x00" in said) and word(FRAME_SIZE) in said, said


def test_a_peer_that_never_ends_is_left_after_a_second(make_hostile, make_line):
    """It has bounded patience, and takes a bounded amount."""
    ended = []

    def talk(visitor):
        visitor.send(frame(WINDOW_UPDATE, 0, 0, bytes(16)))
        sent = 0
        try:
            while visitor.alive:
                visitor.socket.sendall(bytes(4096))
                sent += 4096
                visitor.wait(0.01)
        except OSError:
            ended.append(sent)
            raise

    line = make_line(make_hostile(Attack(talk, at_once=True, reads=False)))
    spoke = line.spoke
    line.publish(b"{}")
    wait_until(lambda: ended, lambda: spoke.log[-1500:], 20)
    assert ended[0] < 4 << 20
    wait_until(lambda: len(os.listdir(f"/proc/{spoke.process.pid}/fd")) < 40, "no descriptor stays", 20)

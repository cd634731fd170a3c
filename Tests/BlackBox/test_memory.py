"""Bounded memory, enforced by the kernel: a memory cgroup of 16 MiB, and a limit of the data segment."""

import shutil

import pytest
from memory_group import MemoryGroup, Unavailable
from spoke import serial, stream
from waiting import wait_until

RECORDS = 3_000
LARGE = 40


@pytest.fixture
def group():
    try:
        made = MemoryGroup(16 << 20)
    except Unavailable as reason:
        pytest.skip(f"no memory cgroup can be made here: {reason}")
    yield made
    made.remove()


def pools(spoke) -> dict[str, dict]:
    return {pool["name"]: pool for pool in spoke.json("/memory")["pools"]}


def outage_and_flood(folder, spoke, make_upstream, make_line, make_terminal, identity):
    """A TLS upstream goes away, records come over MQTT and a serial port, it comes back: all are delivered."""
    upstream, terminal = make_upstream(identity), make_terminal()
    line = make_line(
        upstream,
        stream("bulk", upstream.url, path="/v1/bulk", priority="bulk", encoding="cloudevents-batch",
               batch={"records": 200, "bytes": "256KiB", "linger": "100ms"}, in_flight=8, tls="fleet"),
        serial("ecu", terminal.path, "bulk", baud=921600),
        reports=True, filters=[("in/state", "state"), ("in/bulk", "bulk")], in_flight=8,
        encoding="protobuf", batch={"records": 100, "bytes": "64KiB"},
    )
    terminal.wait_until_open()
    line.publish(b'"first"')
    spoke.wait_for_stat("spoke.stream.state.delivered", 1)
    upstream.stop()
    for number in range(RECORDS):
        line.publisher.publish("in/state", b'{"number":%d,"text":"%s"}' % (number, b"s" * 150))
        if number % (RECORDS // LARGE) == 0:
            line.publisher.publish("in/bulk", b"L%d " % number + b"l" * 60_000)
        if number % 10 == 0:
            terminal.write(b"serial %d\n" % number)
    line.publisher.flush()
    wait_until(lambda: spoke.stat("spoke.stream.state.records_in") == RECORDS + 1, lambda: spoke.log[-2000:], 120)
    upstream.start()

    def delivered():
        stats = spoke.stats()
        return stats["spoke.stream.state.delivered"] == RECORDS + 1 and stats["spoke.stream.bulk.backlog_records"] == 0

    wait_until(delivered, lambda: f"{spoke.log[-2000:]}", 180)
    stats = spoke.stats()
    assert stats["spoke.stream.state.dropped"] == 0
    assert stats["spoke.stream.bulk.delivered"] == RECORDS // 10 + LARGE
    held = pools(spoke)
    assert [name for name, pool in held.items() if pool["high"] > pool["limit"]] == [], held
    assert sum(pool["limit"] for pool in held.values()) <= 6 << 20
    for name in ("spool", "uplinks", "requests", "connections", "tls", "mqtt", "admin", "serial"):
        assert held[name]["high"] > 0, name
    return line


def test_records_outlive_an_outage_in_a_memory_cgroup_of_16_mib(
    group, folder, spoke, make_upstream, make_line, make_terminal, identity
):
    spoke.wrapper = group.wrapper
    outage_and_flood(folder, spoke, make_upstream, make_line, make_terminal, identity)
    assert group.kills == 0
    assert group.peak <= 16 << 20
    assert spoke.terminate()[0] == 0


def test_records_outlive_an_outage_under_rlimit_data(
    folder, spoke, make_upstream, make_line, make_terminal, identity
):
    prlimit = shutil.which("prlimit")
    if prlimit is None:
        pytest.skip("there is no prlimit (util-linux)")
    # The ledger's 6 MiB, what the allocator needs beside, and the resolver's stack.
    spoke.wrapper = [prlimit, f"--data={9 << 20}"]
    outage_and_flood(folder, spoke, make_upstream, make_line, make_terminal, identity)
    assert spoke.terminate()[0] == 0


def test_a_budget_that_does_not_hold_what_is_asked_for_is_refused_with_the_sum(folder, spoke, make_upstream, make_line):
    line = make_line(make_upstream())
    before = pools(spoke)
    spoke.reload(line.text + '[memory]\nbudget = "2MiB"\n')
    spoke.wait_for_log("'budget' in [memory] is 2MiB, but must be at least ")
    assert {name: pool["limit"] for name, pool in pools(spoke).items()} == {
        name: pool["limit"] for name, pool in before.items()
    }
    spoke.reload(line.text + '[memory]\nbudget = "12MiB"\n')
    spoke.wait_for_log("configuration read again")
    after = pools(spoke)
    assert after["mqtt"]["limit"] > before["mqtt"]["limit"]
    assert after["tls"]["high"] >= before["tls"]["high"]

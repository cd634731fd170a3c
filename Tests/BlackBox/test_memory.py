"""Bounded memory, enforced by the kernel: a memory cgroup of 16 MiB, and a limit of the data segment."""

import json
import shutil

import pytest
from broker import Publisher
from memory_group import MemoryGroup, Unavailable
from resources import (
    CDS, EDS, RDS, cluster, endpoint, endpoints, listener, locality, match, route, route_configuration, virtual_host,
)
from spoke import check, configuration, mqtt, serial, stream
from spoke_xds import NAME, spokectl
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
    spoke.wait_for_ports()
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
    spoke.reload(line.text + '[memory]\nbudget = "3MiB"\n')
    spoke.wait_for_log("configuration read again")
    after = pools(spoke)
    assert after["requests"]["limit"] < before["requests"]["limit"]
    assert sum(pool["limit"] for pool in after.values()) <= 3 << 20
    assert after["tls"]["high"] >= before["tls"]["high"]


def test_the_default_budget_holds_32_streams(folder, spoke, make_upstream, make_broker):
    upstream, broker = make_upstream(), make_broker()
    names = [f"s{number}" for number in range(32)]
    text = configuration(
        folder, *(stream(name, upstream.url, path=f"/{name}") for name in names),
        mqtt(broker.url, *((f"in/{name}", name) for name in names)),
    )
    assert check(folder, text).returncode == 0
    spoke.start(text)
    spoke.wait_for_stat("spoke.mqtt.connected", 1)
    publisher = Publisher(broker)
    for size in (60_000, 10):
        for name in names:
            publisher.publish(f"in/{name}", b"p" * size)
    publisher.flush()
    publisher.close()
    for name in names:
        spoke.wait_for_stat(f"spoke.stream.{name}.delivered", 2, 60)
    held = pools(spoke)
    assert [name for name, pool in held.items() if pool["high"] > pool["limit"]] == [], held
    said = {pool["name"]: pool for pool in json.loads(spokectl(spoke, "memory"))["pools"]}
    assert said.keys() == held.keys()
    assert all(pool.keys() == {"name", "limit", "used", "high"} for pool in said.values())
    assert all(pool["limit"] == held[name]["limit"] for name, pool in said.items())


def test_the_largest_policy_fits_the_default_budget_and_what_does_not_is_refused_by_name(
    make_plane, make_xds_line
):
    """64 clusters of 256 endpoints, and 512 routes to them."""
    names = [f"cluster-{number}" for number in range(64)]

    def places(name):
        return endpoints(name, locality(*(endpoint(9, f"198.51.{100 + n // 250}.{n % 250 + 1}") for n in range(256))))

    plane = make_plane(
        listener(NAME), *(cluster(name) for name in names), *map(places, names),
        route_configuration("routes", virtual_host(*(
            route(names[n % 64], match(prefix=f"/{'p' * 700}/{n}/"), name=f"route-{n}") for n in range(511)
        ), route(names[0]))),
    )
    spoke = make_xds_line(plane).spoke
    for kind in (CDS, RDS, EDS):
        plane.wait_for_ack(kind, seconds=60)
    assert plane.nacks() == []
    held = pools(spoke)
    assert held["resources"]["used"] > 800 << 10
    plane.set(cluster("cluster-7", alt_stat_name="z" * 300_000))
    refusal = plane.wait_for_nack(CDS, seconds=30).error
    assert "cluster-7" in refusal and "no room" in refusal
    held = pools(spoke)
    assert [name for name, pool in held.items() if pool["high"] > pool["limit"]] == [], held
    assert sum(pool["limit"] for pool in held.values()) <= 6 << 20

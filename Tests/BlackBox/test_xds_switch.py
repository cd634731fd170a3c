"""Make before break, warming and atomicity: XDS.md §3.B."""

import itertools
import threading

import pytest
from differences import everywhere
from resources import (
    CDS, EDS, LDS, RDS, SHORT, cluster, endpoints, graph, listener, locality, match, route,
    route_configuration, static, virtual_host,
)
from spoke_xds import NAME, cluster_lines, cluster_stat, resource, wait_for_resource
from test_xds_protocol import BOTH, wait_for_acks
from upstream import Answer
from waiting import holds_for, wait_until

DELIVERED = "spoke.stream.state.delivered"


def to(cluster_name):
    return route_configuration("routes", virtual_host(route(cluster_name)))


class Load:
    """Publishes numbered records until it is stopped, not many more than have arrived: a stream in memory drops what it
    has no room for."""

    def __init__(self, line, upstream, pause=0.002, ahead=200):
        self.line, self.upstream, self.count, self._stop = line, upstream, 0, threading.Event()
        self._pause, self._ahead = pause, ahead
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        while not self._stop.wait(self._pause):
            if self.count - len(self.upstream.requests) > self._ahead:
                continue
            self.line.publisher.publish("in/state", b"%06d" % self.count)
            self.count += 1

    def stop(self):
        self._stop.set()
        self._thread.join()
        self.line.publisher.flush()
        return self.count


def wait_for_address(upstream, address):
    """Until the newest request came to the address."""
    wait_until(lambda: upstream.whole() and upstream.whole()[-1].address == address, f"a request at {address}")


def assert_nothing_failed(line, upstream, count):
    """Every record came once, in order, and no request was made twice."""
    line.spoke.wait_for_stat(DELIVERED, count, 30)
    arrived = [int(r.body) for r in upstream.whole()]
    assert arrived == list(range(count))
    assert line.spoke.stat("spoke.stream.state.retried") == 0
    assert upstream.protocol_errors == []


@BOTH
def test_item_27_clusters_are_changed_under_load_and_no_request_fails(
    make_plane, make_upstream, make_xds_line, transport
):
    upstream = everywhere(make_upstream, 2, lambda request: Answer(delay=0.003))
    plane = make_plane(*graph(upstream.port, cluster_name="one"))
    line = make_xds_line(plane, xds={"transport": transport}, durability="memory")
    wait_for_acks(plane)
    load = Load(line, upstream)
    names = ["one", "two"]
    try:
        wait_until(upstream.whole, "requests go to the first")
        for number in range(1, 11):
            old, new = names[(number - 1) % 2], names[number % 2]
            address = f"127.0.0.{number % 2 + 1}"
            plane.set(cluster(new), endpoints(new, locality((upstream.port, address))), to(new))
            plane.wait_for_ack(RDS)
            # The new cluster is asked for after the routes that name it: only now nobody needs the old one.
            wait_for_address(upstream, address)
            plane.remove(CDS, old)
    finally:
        count = load.stop()
    assert count > 30
    assert_nothing_failed(line, upstream, count)
    # Each change is one step: what went to the old one came before what went to the new one.
    runs = [address for address, _ in itertools.groupby(r.address for r in upstream.whole())]
    assert len(runs) == 11, runs


@BOTH
@pytest.mark.parametrize("order", [
    (RDS, LDS, EDS, CDS), (EDS, RDS, CDS, LDS), (LDS, CDS, RDS, EDS),
], ids=lambda order: "-".join(SHORT[kind][0] for kind in order))
def test_item_27_the_wrong_order_costs_nothing(make_plane, make_upstream, make_xds_line, transport, order):
    upstream = everywhere(make_upstream, 3, lambda request: Answer())
    plane = make_plane(*graph(upstream.port, cluster_name="c1"))
    plane.resends_endpoints = False
    line = make_xds_line(plane, xds={"transport": transport}, durability="memory")
    wait_for_acks(plane)
    load = Load(line, upstream)
    try:
        wait_for_address(upstream, "127.0.0.1")
        for number in (2, 3, 1):
            new = f"c{number}"
            plane.set(
                cluster(new), endpoints(new, locality((upstream.port, f"127.0.0.{number}"))),
                listener(NAME, f"routes-{number}"), route_configuration(f"routes-{number}", virtual_host(route(new))),
                order=order,
            )
            wait_for_address(upstream, f"127.0.0.{number}")
    finally:
        count = load.stop()
    assert_nothing_failed(line, upstream, count)


def test_item_28_many_new_clusters_are_asked_for_in_one_request(make_plane, make_upstream, make_xds_line):
    upstream = make_upstream()
    names = [f"c{n}" for n in range(40)]
    parts = [part for name in names for part in (cluster(name), endpoints(name, locality(upstream.port)))]
    plane = make_plane(listener(NAME), to("c0"), *parts)
    line = make_xds_line(plane)
    wait_for_acks(plane)
    before = {kind: len(plane.of(kind)) for kind in (CDS, EDS)}
    plane.set(route_configuration("routes", virtual_host(*(route(n, match(f"/{n}/")) for n in names), route("c0"))))
    plane.wait_for_names(CDS, *names)
    plane.wait_for_names(EDS, *names)
    plane.wait_for_ack(EDS)
    # One that adds the names, and the acknowledgement of what it brings.
    assert len(plane.of(CDS)) - before[CDS] <= 2 and len(plane.of(EDS)) - before[EDS] <= 2
    line.publish(b"x")
    upstream.wait_for_body(b"x")


def test_item_29_the_old_cluster_serves_while_the_new_one_warms(make_plane, make_upstream, make_xds_line):
    upstream = everywhere(make_upstream, 2, lambda request: Answer())
    plane = make_plane(*graph(upstream.port))
    line = make_xds_line(plane)
    wait_for_acks(plane)
    # The changed cluster takes its endpoints from another assignment, which is not there yet.
    plane.set(cluster("telemetry", service="elsewhere"))
    plane.wait_for_ack(CDS)
    plane.wait_for_names(EDS, "elsewhere", "telemetry")
    line.publish(b"1")
    assert upstream.wait_for_body(b"1").address == "127.0.0.1"
    plane.set(endpoints("elsewhere", locality((upstream.port, "127.0.0.2"))))
    plane.wait_for_ack(EDS)
    line.publish(b"2")
    assert upstream.wait_for_body(b"2").address == "127.0.0.2"
    plane.wait_for_names(EDS, "elsewhere")
    assert line.spoke.stat("spoke.stream.state.retried") == 0


def test_item_29_a_changed_cluster_uses_the_endpoints_that_are_known(make_plane, make_upstream, make_xds_line):
    upstream = make_upstream()
    plane = make_plane(*graph(upstream.port))
    plane.resends_endpoints = False
    line = make_xds_line(plane)
    wait_for_acks(plane)
    plane.set(cluster("telemetry", connect_timeout=3))
    plane.wait_for_ack(CDS)
    assert len([s for s in plane.streams[0].sent if s.kind == EDS]) == 1
    line.publish(b"x")
    # Sooner than the fetch timeout of 15 s.
    upstream.wait_for_body(b"x", 10)


def test_item_30_warming_ends_with_the_fetch_timeout(make_plane, make_upstream, make_xds_line):
    upstream = make_upstream()
    plane = make_plane(*graph(upstream.port))
    # The record that goes the old way has to be on it by then.
    line = make_xds_line(plane, xds={"fetch_timeout": "4s"})
    wait_for_acks(plane)
    plane.set(cluster("empty"), to("empty"))
    plane.wait_for_ack(RDS)
    line.publish(b"by the old one")
    upstream.wait_for_body(b"by the old one")
    wait_for_resource(line.spoke, EDS, "empty", "DOES_NOT_EXIST", 20)
    line.publish(b"waits")
    wait_until(lambda: cluster_stat(line.spoke, "empty", "upstream_cx_none_healthy") >= 1, "no healthy upstream")
    assert not [r for r in upstream.whole() if r.body == b"waits"]
    plane.set(endpoints("empty", locality(upstream.port)))
    upstream.wait_for_body(b"waits", 20)
    assert line.spoke.stat("spoke.stream.state.parked") == 0


def test_item_31_routes_wait_until_all_that_they_name_is_there(make_plane, make_upstream, make_xds_line):
    upstream = everywhere(make_upstream, 3, lambda request: Answer())
    plane = make_plane(*graph(upstream.port, cluster_name="c1"))
    line = make_xds_line(plane)
    wait_for_acks(plane)
    plane.set(route_configuration("routes", virtual_host(route("c3", match("/v3")), route("c2"))))
    plane.wait_for_ack(RDS)
    plane.set(cluster("c2"), endpoints("c2", locality((upstream.port, "127.0.0.2"))), cluster("c3"))
    wait_for_resource(line.spoke, EDS, "c2", "ACKED")
    line.publish(b"1")
    assert upstream.wait_for_body(b"1").address == "127.0.0.1", "c3 has no endpoints yet"
    plane.set(endpoints("c3", locality((upstream.port, "127.0.0.3"))))
    wait_for_resource(line.spoke, EDS, "c3", "ACKED")
    line.publish(b"2")
    assert upstream.wait_for_body(b"2").address == "127.0.0.2"
    assert line.spoke.stat("spoke.stream.state.retried") == 0


@BOTH
def test_item_32_a_deleted_cluster_takes_no_request_and_finishes_what_it_has(
    make_plane, make_upstream, make_xds_line, transport
):
    upstream = make_upstream(rule=lambda request: Answer(hold=True))
    plane = make_plane(*graph(upstream.port))
    line = make_xds_line(plane, xds={"transport": transport}, in_flight=2)
    wait_for_acks(plane)
    line.publish(b"1")
    upstream.wait_for_body(b"1")
    plane.remove(CDS, "telemetry")
    wait_for_resource(line.spoke, CDS, "telemetry", "DOES_NOT_EXIST")
    upstream.rule = lambda request: Answer()
    line.publish(b"2")
    plane.wait_for_names(EDS)
    upstream.release()
    line.spoke.wait_for_stat(DELIVERED, 1)
    holds_for(lambda: len(upstream.whole()) == 1, "no request goes to a cluster that is deleted", 0.5)
    plane.set(cluster("telemetry"))
    upstream.wait_for_body(b"2", 20)
    line.spoke.wait_for_stat(DELIVERED, 2)
    assert [r.body for r in upstream.whole()] == [b"1", b"2"]


@BOTH
def test_item_32_a_deleted_listener_holds_the_records_and_loses_none(
    make_plane, make_upstream, make_xds_line, transport
):
    upstream = make_upstream()
    plane = make_plane(*graph(upstream.port))
    line = make_xds_line(plane, xds={"transport": transport})
    wait_for_acks(plane)
    line.publish(b"0")
    upstream.wait_for_body(b"0")
    plane.remove(LDS, NAME)
    wait_for_resource(line.spoke, LDS, NAME, "DOES_NOT_EXIST")
    payloads = [b"%d" % n for n in range(1, 40)]
    line.publish(*payloads)
    wait_until(lambda: line.spoke.stat("spoke.stream.state.backlog_records") == 39, "all wait")
    plane.set(listener(NAME))
    upstream.wait_for(40, 20)
    assert [r.body for r in upstream.whole()] == [b"0", *payloads]
    assert line.spoke.stat("spoke.stream.state.parked") == 0


def test_item_33_what_did_not_change_is_not_built_again(make_plane, make_upstream, make_xds_line):
    upstream = make_upstream(addresses=["127.0.0.1"])
    plane = make_plane(*graph(upstream.port))
    line = make_xds_line(plane)
    wait_for_acks(plane)
    for number in range(5):
        line.publish(b"%d" % number)
        upstream.wait_for_body(b"%d" % number)
        # The same again, and an assignment whose endpoint stays while its neighbour comes and goes.
        plane.set(*graph(upstream.port), endpoints("telemetry", locality(upstream.port, *[1] * (number % 2), weight=3)))
        plane.wait_for_ack(EDS)
        plane.wait_for_ack(RDS)
        plane.set(endpoints("telemetry", locality(upstream.port)))
        plane.wait_for_ack(EDS)
    assert upstream.connections == 1


def test_item_34_endpoints_that_are_none_are_no_endpoints_that_are_missing(make_plane, make_upstream, make_xds_line):
    upstream = make_upstream()
    plane = make_plane(*graph(upstream.port))
    line = make_xds_line(plane, xds={"fetch_timeout": "60s"})
    wait_for_acks(plane)
    plane.set(endpoints("telemetry"))
    plane.wait_for_ack(EDS)
    line.publish(b"fails fast, and waits")
    wait_until(lambda: cluster_stat(line.spoke, "telemetry", "upstream_cx_none_healthy") >= 1, "503 at once")
    plane.set(endpoints("telemetry", locality(upstream.port)))
    upstream.wait_for_body(b"fails fast, and waits", 20)


def test_item_37_the_way_to_the_control_plane_is_not_the_control_planes(make_plane, make_upstream, make_xds_line):
    """A cluster of the name that the configuration's own has: it is not even asked for."""
    upstream = make_upstream()
    plane = make_plane()
    name = f"127.0.0.1_{plane.port}"
    plane.set(*graph(upstream.port), static(name, 1), route_configuration(
        "routes", virtual_host(route(name, match("/elsewhere")), route("telemetry"))))
    line = make_xds_line(plane)
    wait_for_acks(plane)
    line.publish(b"x")
    upstream.wait_for_body(b"x")
    assert resource(line.spoke, CDS, name) is None
    assert [text for text in cluster_lines(line.spoke, name) if f"127.0.0.1:{plane.port}::" in text]

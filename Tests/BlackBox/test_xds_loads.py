"""Load reports, XDS.md §3.J, as a gRPC server of others reads them."""

import itertools
from collections import Counter
from dataclasses import dataclass, field

import grpc
from differences import everywhere
from resources import (
    CDS, cluster, endpoints, listener, locality, retry, route, route_configuration, static, virtual_host,
)
from spoke_xds import NAME, cluster_stat
from upstream import Answer
from waiting import holds_for, wait_until

DELIVERED = "spoke.stream.state.delivered"
OWN = {"self": {}, "resource_api_version": "V3"}


@dataclass
class Sums:
    """Everything that was reported of one cluster."""

    issued: Counter = field(default_factory=Counter)  # by zone, like the next two
    succeeded: Counter = field(default_factory=Counter)
    failed: Counter = field(default_factory=Counter)
    active: dict[str, int] = field(default_factory=dict)  # by zone, as it was said last
    drops: Counter = field(default_factory=Counter)  # by category
    dropped: int = 0
    services: set[str] = field(default_factory=set)
    priorities: set[int] = field(default_factory=set)


def sums(plane, name) -> Sums:
    found = Sums()
    for _, message in plane.load_requests():
        for stats in message.cluster_stats:
            if stats.cluster_name != name:
                continue
            found.services.add(stats.cluster_service_name)
            found.dropped += stats.total_dropped_requests
            for drop in stats.dropped_requests:
                found.drops[drop.category] += drop.dropped_count
            for entry in stats.upstream_locality_stats:
                zone = entry.locality.zone
                found.issued[zone] += entry.total_issued_requests
                found.succeeded[zone] += entry.total_successful_requests
                found.failed[zone] += entry.total_error_requests
                found.active[zone] = entry.total_requests_in_progress
                found.priorities.add(entry.priority)
    return found


def reports(plane):
    """The times of the reports of the newest stream; its first message is none."""
    return [at for at, _ in plane.load_streams[-1].requests[1:]]


def two_zones(port, **policy):
    return endpoints("service", locality((port, "127.0.0.1"), zone="near"), locality((port, "127.0.0.2"), zone="far"), **policy)


def steered(plane, cluster_name="telemetry", **action):
    plane.set(listener(NAME), route_configuration("routes", virtual_host(route(cluster_name, **action))))


def test_items_103_104_the_sums_are_the_requests_that_arrived_by_locality(make_plane, make_upstream, make_xds_line):
    numbers = itertools.count()

    def rule(request):
        return Answer(status=503) if next(numbers) % 3 == 1 else Answer()

    upstream = everywhere(make_upstream, 2, rule)
    plane = make_plane(
        cluster("telemetry", service="service", lrs_server=OWN), two_zones(upstream.port),
        cluster("silent"), endpoints("silent", locality((upstream.port, "127.0.0.1"))),
    )
    steered(plane, retry_policy=retry("5xx", 1, base=0.01))
    plane.report_loads(1)
    line = make_xds_line(plane)
    wait_until(lambda: plane.load_streams and reports(plane), "the first report")
    first = plane.load_streams[0].requests[0][1]
    assert first.node.id == "board-1" and not first.cluster_stats
    assert "envoy.lrs.supports_send_all_clusters" in first.node.client_features
    assert {s.peer for s in plane.load_streams} == {s.peer for s in plane.streams}, "one connection for both"
    for number in range(60):
        line.publish(b"%02d" % number)
    line.spoke.wait_for_stat(DELIVERED, 60, 60)
    arrived = Counter("near" if r.address == "127.0.0.1" else "far" for r in upstream.whole())
    wait_until(lambda: sums(plane, "telemetry").issued == arrived, lambda: f"{arrived}; {sums(plane, 'telemetry')}")
    found = sums(plane, "telemetry")
    failures = sum(n % 3 == 1 for n in range(len(upstream.whole())))
    assert sum(found.failed.values()) == failures > 10
    assert found.succeeded + found.failed == arrived
    assert set(found.active.values()) == {0} and found.services == {"service"} and found.priorities == {0}
    assert found.dropped == 0 and not sums(plane, "silent").services
    measured = [s.load_report_interval.ToSeconds() for _, m in plane.load_requests() for s in m.cluster_stats]
    assert measured and all(1 <= seconds <= 5 for seconds in measured), measured
    assert line.spoke.stat("load_reporter.responses") == 1
    seen = line.spoke.json("/config_dump")["control_plane"]["load_reports"]
    assert seen["state"] == "reporting" and seen["interval_ms"] == 1000 and seen["reports"] >= 1


def test_item_102_drops_are_reported_by_category(make_plane, make_upstream, make_xds_line):
    upstream = everywhere(make_upstream, 2, lambda request: Answer())
    plane = make_plane(
        cluster("telemetry", service="service", lrs_server=OWN),
        two_zones(upstream.port, drops={"lb": 15, "throttle": 15}),
    )
    steered(plane)
    plane.report_loads(1)
    line = make_xds_line(plane, in_flight=8)
    # What was issued before anybody asked for reports is in none.
    wait_until(lambda: plane.load_streams and reports(plane), "the first report")
    line.publish(*(b"%02d" % number for number in range(40)))
    line.spoke.wait_for_stat(DELIVERED, 40, 90)
    dropped = cluster_stat(line.spoke, "telemetry", "upstream_rq_drop_overload")

    def whole():
        found = sums(plane, "telemetry")
        return found if (found.dropped, sum(found.issued.values())) == (dropped, 40) else None

    # The last request may be in a report of its own.
    found = wait_until(whole, lambda: f"{dropped}; {sums(plane, 'telemetry')}")
    assert found.drops.keys() == {"lb", "throttle"} and sum(found.drops.values()) == dropped
    assert sum(found.issued.values()) == 40 == len(upstream.whole())


def test_item_105_named_clusters_all_clusters_and_another_interval(make_plane, make_upstream, make_xds_line):
    upstream = everywhere(make_upstream, 1, lambda request: Answer())
    plane = make_plane(*(static(name, (upstream.port, "127.0.0.1"), lrs_server=OWN) for name in ("telemetry", "other")))
    steered(plane)
    line = make_xds_line(plane)
    wait_until(lambda: plane.load_streams and plane.load_streams[0].requests, "the node")
    line.publish(b"before anybody asked")
    line.spoke.wait_for_stat(DELIVERED, 1)
    holds_for(lambda: len(plane.load_requests()) == 1, "nothing is reported unasked", 1.5)
    plane.report_loads(1, "other")
    wait_until(lambda: len(reports(plane)) >= 2, "reports")
    line.publish(b"to a cluster that is not asked for")
    line.spoke.wait_for_stat(DELIVERED, 2)
    count = len(reports(plane))
    wait_until(lambda: len(reports(plane)) >= count + 2, "more reports")
    assert not any(m.cluster_stats for _, m in plane.load_requests())
    plane.report_loads(3)
    line.spoke.wait_for_stat("load_reporter.responses", 2)
    line.publish(b"one", b"two")
    line.spoke.wait_for_stat(DELIVERED, 4)
    count = len(reports(plane))
    wait_until(lambda: len(reports(plane)) >= count + 3, "reports at the new interval", 30)
    times = reports(plane)[count:]
    # Three seconds, not the one before, for a server that is late to see one of them.
    assert all(2 < later - at < 6 for at, later in zip(times, times[1:])), times
    found = sums(plane, "telemetry")
    assert found.issued == {"z": 2} == found.succeeded
    intervals = [s.load_report_interval.ToSeconds() for _, m in plane.load_requests() for s in m.cluster_stats]
    assert 1 <= len(intervals) <= 2 and all(3 <= seconds <= 6 for seconds in intervals), intervals
    seen = line.spoke.json("/config_dump")["control_plane"]["load_reports"]
    assert seen["send_all_clusters"] and seen["interval_ms"] == 3000


def test_items_32_105_counts_outlive_the_stream(make_plane, make_upstream, make_xds_line):
    upstream = everywhere(make_upstream, 1, lambda request: Answer())
    plane = make_plane(static("telemetry", (upstream.port, "127.0.0.1"), lrs_server=OWN))
    steered(plane)
    plane.report_loads(1)
    line = make_xds_line(plane)
    wait_until(lambda: plane.load_streams and reports(plane), "a report")
    plane.stop()
    wait_until(lambda: line.spoke.stat("control_plane.connected_state") == 0, "the control plane is gone")
    line.publish(b"one", b"two", b"three")
    line.spoke.wait_for_stat(DELIVERED, 3)
    seen = line.spoke.json("/config_dump")["control_plane"]["load_reports"]
    assert seen["state"] in ("waiting", "connecting") and seen["last_failure"]
    plane.start()
    wait_until(lambda: sums(plane, "telemetry").issued == {"z": 3}, lambda: f"{sums(plane, 'telemetry')}", 30)


def test_without_a_cluster_that_asks_there_is_no_stream(make_plane, make_upstream, make_xds_line):
    upstream = everywhere(make_upstream, 1, lambda request: Answer())
    plane = make_plane(static("telemetry", (upstream.port, "127.0.0.1")))
    steered(plane)
    plane.report_loads(1)
    line = make_xds_line(plane)
    line.publish(b"one")
    line.spoke.wait_for_stat(DELIVERED, 1)
    assert not plane.load_streams and "load_reports" not in line.spoke.json("/config_dump")["control_plane"]
    plane.set(static("telemetry", (upstream.port, "127.0.0.1"), lrs_server=OWN))
    wait_until(lambda: plane.load_streams and reports(plane), "a stream, and a report")
    line.publish(b"two")
    line.spoke.wait_for_stat(DELIVERED, 2)
    plane.set(static("telemetry", (upstream.port, "127.0.0.1")))
    wait_until(lambda: not plane.load_streams[0].open, "the stream is over")
    wait_until(lambda: sums(plane, "telemetry").issued == {"z": 1}, lambda: f"{sums(plane, 'telemetry')}")
    plane.wait_for_ack(CDS)
    assert len(plane.load_streams) == 1


def test_a_server_without_load_reports_is_shown_and_asked_again(make_plane, make_upstream, make_xds_line):
    upstream = everywhere(make_upstream, 1, lambda request: Answer())
    plane = make_plane(static("telemetry", (upstream.port, "127.0.0.1"), lrs_server=OWN))
    plane.load_refusal = (grpc.StatusCode.UNIMPLEMENTED, "no load reports here")
    steered(plane)
    line = make_xds_line(plane)
    line.spoke.wait_for_stat("load_reporter.errors", 1)
    seen = line.spoke.json("/config_dump")["control_plane"]["load_reports"]
    assert (seen["last_status"], seen["last_failure"]) == ("UNIMPLEMENTED", "UNIMPLEMENTED: no load reports here")
    line.publish(b"one")
    line.spoke.wait_for_stat(DELIVERED, 1)
    plane.load_refusal = None
    plane.report_loads(1)
    wait_until(lambda: plane.load_streams and reports(plane), "it is asked again", 30)
    assert line.spoke.stat("load_reporter.retries") >= 1 and len(plane.streams) == 1


def test_item_105_the_last_report_arrives_at_the_end(make_plane, make_upstream, make_xds_line):
    upstream = everywhere(make_upstream, 1, lambda request: Answer())
    plane = make_plane(static("telemetry", (upstream.port, "127.0.0.1"), lrs_server=OWN))
    steered(plane)
    plane.report_loads(1000)
    line = make_xds_line(plane)
    line.spoke.wait_for_stat("load_reporter.responses", 1)
    line.publish(b"one")
    line.spoke.wait_for_stat(DELIVERED, 1)
    line.spoke.terminate()
    wait_until(lambda: sums(plane, "telemetry").issued == {"z": 1}, lambda: f"{sums(plane, 'telemetry')}")

"""The cache on flash and the files of static resources: a device that starts without its control plane."""

import itertools
import os
import random
import signal
import time

import pytest
from resources import CDS, EDS, LDS, RDS, SDS, cluster, endpoints, graph, listener, locality, route, route_configuration, runtime
from resources import secret_ca, upstream_tls, virtual_host
from spoke_xds import CONNECTED, NAME, Target, discovery_file, resource, resources, runtime_page, spokectl, table
from test_xds_protocol import wait_for_acks
from waiting import holds_for, wait_until, within


def cached(folder):
    return folder / "xds/resources"


@pytest.fixture
def start(make_plane, make_upstream, make_xds_line, folder):
    """A line that works and whose cache is written."""

    def start(*more, seconds=30, **keys):
        upstream = make_upstream()
        plane = make_plane(*graph(upstream.port), *more)
        line = make_xds_line(plane, **keys)
        wait_for_acks(plane)
        line.publish(b"before")
        upstream.wait_for_body(b"before")
        return plane, upstream, line

    return start


def offline(plane, line, restart=True):
    """The device loses its power, and starts where there is no network."""
    line.spoke.terminate()
    plane.stop()
    start = time.monotonic()
    line.spoke.start(ready=restart)
    return start


def test_telemetry_flows_by_the_cached_policy_within_five_seconds_of_an_offline_start(start):
    plane, upstream, line = start()
    numbers = itertools.count()

    def first_record():
        began, body = offline(plane, line), b"offline %d" % next(numbers)
        line.publish(body)
        upstream.wait_for_body(body)
        return time.monotonic() - began

    within(5, first_record)
    assert {r.source for r in resources(line.spoke) if r.version} == {"cache"}
    assert "cache" in spokectl(line.spoke, "xds")
    assert line.spoke.stat(CONNECTED) == 0
    # Then the server comes, and its word is the one that counts.
    plane.set(endpoints("telemetry", locality(upstream.port, weight=4)))
    plane.start()
    wait_for_acks(plane)
    wait_until(lambda: resource(line.spoke, EDS, "telemetry").source == "server", "the server's own", 30)
    assert resource(line.spoke, EDS, "telemetry").version == "2"
    line.publish(b"online")
    upstream.wait_for_body(b"online")


def test_a_killed_daemon_has_its_cache_once_the_policy_has_been_in_force_for_a_while(start, folder):
    plane, upstream, line = start()
    wait_until(lambda: cached(folder).exists(), "the cache is written", 90)
    line.spoke.kill()
    plane.stop()
    line.spoke.start()
    line.publish(b"offline")
    upstream.wait_for_body(b"offline")


def test_the_cache_is_written_rarely(start, folder):
    plane, upstream, line = start()
    for number in range(30):
        plane.set(endpoints("telemetry", locality(upstream.port, weight=number + 1)))
        plane.wait_for_ack(EDS)
    assert line.spoke.stat("spoke.xds.cache_writes") <= 1
    line.spoke.terminate()
    written = cached(folder).stat()
    assert written.st_size < 4096 and written.st_mode & 0o777 == 0o600
    # What did not change is not written again: flash wears.
    line.spoke.start()
    plane.wait_for_streams(2)
    plane.wait(lambda: {s.kind for s in plane.streams[-1].sent} >= {LDS, RDS, CDS, EDS}, "everything is sent again")
    wait_for_acks(plane)
    line.spoke.terminate()
    assert cached(folder).stat().st_mtime_ns == written.st_mtime_ns


def damage(data, kind, source):
    place = source.randrange(len(data))
    return {
        "one bit": data[:place] + bytes([data[place] ^ 1 << source.randrange(8)]) + data[place + 1 :],
        "cut": data[:place],
        "empty": b"",
        "longer": data + b"\0",
        "garbage": source.randbytes(len(data)),
        "another format": data[:7] + b"\xff" + data[8:],
    }[kind]


@pytest.mark.parametrize("kind", ["one bit", "cut", "empty", "longer", "garbage", "another format"])
def test_a_damaged_cache_is_set_aside_and_reported_and_costs_nothing_else(
    start, make_upstream, folder, kind
):
    seed = random.randrange(1 << 32)
    print("seed", seed)
    plane, upstream, line = start(reports=True)
    line.spoke.terminate()
    data = cached(folder).read_bytes()
    bad = damage(data, kind, random.Random(seed))
    cached(folder).write_bytes(bad)
    line.spoke.start()
    line.publish(b"after")
    upstream.wait_for_body(b"after", 20)
    aside = [f for f in (folder / "xds").iterdir() if f.name != "resources"]
    assert [f.read_bytes() for f in aside] == [bad], "set aside as it was, for whoever looks into it"
    assert line.spoke.stat("spoke.xds.corrupt_files") == 1
    line.spoke.wait_for_log("the cache is set aside")
    wait_until(
        lambda: [r for r in upstream.whole() if r.path == "/v1/health" and b"cache" in r.body], "it is reported", 20
    )
    assert resource(line.spoke, CDS, "telemetry").source == "server"


def test_a_damaged_cache_offline_waits_for_the_server_and_loses_nothing(start, folder):
    plane, upstream, line = start()
    line.spoke.terminate()
    plane.stop()
    cached(folder).write_bytes(b"SPKXDS\0\1" + bytes(100))
    line.spoke.start()
    line.publish(b"waits")
    holds_for(lambda: len(upstream.whole()) == 1, "there is no policy", 0.5)
    plane.start()
    upstream.wait_for_body(b"waits", 30)


def test_a_cache_that_cannot_be_written_is_said_and_stops_nothing(start, folder):
    (folder / "xds").write_text("a file where the folder should be")
    plane, upstream, line = start()
    line.publish(b"1")
    upstream.wait_for_body(b"1")
    assert line.spoke.terminate()[0] == 0
    assert "cache" in line.spoke.log


def test_resources_with_a_time_to_live_are_not_kept(start, folder):
    plane, upstream, line = start()
    plane.set(endpoints("telemetry", locality(upstream.port)), ttl=600)
    plane.wait_for_ack(EDS)
    offline(plane, line)
    assert resource(line.spoke, CDS, "telemetry").source == "cache"
    assert resource(line.spoke, EDS, "telemetry").version == ""
    line.publish(b"waits")
    holds_for(lambda: len(upstream.whole()) == 1, "without endpoints", 0.5)


def test_what_the_server_deleted_is_not_in_the_cache(start, folder):
    plane, upstream, line = start()
    plane.remove(LDS, NAME)
    plane.wait_for_ack(LDS)
    offline(plane, line)
    line.publish(b"waits")
    holds_for(lambda: len(upstream.whole()) == 1, "without a listener", 1)
    plane.set(listener(NAME))
    plane.start()
    upstream.wait_for_body(b"waits", 30)


def test_secrets_are_in_the_cache_for_their_owner_alone(make_plane, make_upstream, make_xds_line, identity, authority, folder):
    upstream = make_upstream(identity)
    plane = make_plane(
        *graph(upstream.port), cluster("telemetry", tls=upstream_tls(ca_secret="roots", sni="localhost")),
        secret_ca("roots", authority.certificate),
    )
    line = make_xds_line(plane)
    line.publish(b"before")
    upstream.wait_for_body(b"before")
    offline(plane, line)
    assert cached(folder).stat().st_mode & 0o777 == 0o600 and (folder / "xds").stat().st_mode & 0o077 == 0
    line.publish(b"offline")
    upstream.wait_for_body(b"offline")
    assert resource(line.spoke, SDS, "roots").source == "cache"
    page = line.spoke.get("/config_dump")[2]
    assert "BEGIN CERTIFICATE" not in page


# Static resources


@pytest.fixture
def static_files(folder):
    place = folder / "xds.d"
    place.mkdir()
    return place


def write(place, *messages, version="static"):
    kinds = {LDS: [], RDS: [], CDS: [], EDS: []}
    for kind, message in zip((CDS, EDS, LDS, RDS), messages):
        kinds[kind].append(message)
    for number, (kind, found) in enumerate(kinds.items()):
        discovery_file(place / f"{number}.pb", kind, *found, version=version)


def test_static_resources_steer_without_any_server(make_upstream, make_line, folder, static_files):
    upstream = make_upstream()
    write(static_files, *graph(upstream.port))
    line = make_line(Target(), table(folder, resources=static_files))
    line.publish(b"1")
    upstream.wait_for_body(b"1")
    assert {(r.source, r.state, r.version) for r in resources(line.spoke) if r.kind != "runtime"} == {
        ("static", "ACKED", "static")
    }
    assert line.spoke.get("/ready")[0] == 200


def test_static_resources_are_read_again_on_sighup(make_upstream, make_line, folder, static_files):
    upstream, other = make_upstream(), make_upstream()
    write(static_files, *graph(upstream.port))
    line = make_line(Target(), table(folder, resources=static_files))
    line.publish(b"1")
    upstream.wait_for_body(b"1")
    write(static_files, *graph(other.port), version="second")
    line.spoke.reload()
    line.publish(b"2")
    other.wait_for_body(b"2")
    # A file that is broken costs what it would bring, and no more.
    (static_files / "9.pb").write_bytes(b"\x0a\xff")
    line.spoke.reload()
    line.publish(b"3")
    other.wait_for_body(b"3")
    line.spoke.wait_for_log("9.pb")


def test_what_the_files_have_holds_and_the_server_is_asked_for_the_rest(make_plane, make_upstream, make_xds_line, static_files):
    """As Envoy's static clusters are no matter of its CDS; XDS.md says nothing about files beside a server."""
    upstream, other = make_upstream(), make_upstream()
    write(static_files, *graph(upstream.port)[:2])
    plane = make_plane(*graph(other.port), paused=True)
    line = make_xds_line(plane, xds={"resources": static_files}, connected=False)
    line.publish(b"waits for its listener")
    holds_for(lambda: not upstream.whole(), "there is none in the files", 0.3)
    plane.start()
    upstream.wait_for_body(b"waits for its listener", 20)
    wait_for_acks(plane, LDS, RDS)
    assert {r.kind for r in plane.requests if r.names} & {CDS, EDS} == set()
    assert resource(line.spoke, EDS, "telemetry").source == "static"
    assert resource(line.spoke, LDS, NAME).source == "server"


def test_a_refused_static_resource_is_named(make_upstream, make_line, folder, static_files):
    upstream = make_upstream()
    parts = graph(upstream.port)
    parts[0] = cluster("telemetry", lb_policy=99)
    write(static_files, *parts)
    line = make_line(Target(), table(folder, resources=static_files))
    said = line.spoke.wait_for_log("lb_policy")
    assert "telemetry" in said
    entry = resource(line.spoke, CDS, "telemetry")
    assert entry.state == "NACKED" and "lb_policy" in entry.error
    line.publish(b"waits")
    write(static_files, *graph(upstream.port))
    line.spoke.signal(signal.SIGHUP)
    upstream.wait_for_body(b"waits", 20)


# RTDS


def test_item_55_runtime_layers_are_merged_and_later_ones_win(make_plane, make_upstream, make_xds_line):
    upstream = make_upstream()
    plane = make_plane(
        *graph(upstream.port), runtime("fleet", a__b=1, a__c={"d": 2}, both=10, numeric=7.9), runtime("board", both=20)
    )
    line = make_xds_line(plane, xds={"runtime": ["fleet", "board"]})
    wait_until(lambda: runtime_page(line.spoke).get("both") == "20", lambda: line.spoke.get("/runtime")[2])
    page = runtime_page(line.spoke)
    assert (page["a.b"], page["a.c.d"]) == ("1", "2")
    plane.set(runtime("board"))
    wait_until(lambda: runtime_page(line.spoke).get("both") == "10", "the earlier layer's again")


def test_a_file_of_others_in_the_folder_of_the_cache_is_left_alone(start, folder):
    (folder / "xds").mkdir()
    other = folder / "xds/notes.txt"
    other.write_text("of the operator")
    plane, upstream, line = start()
    line.spoke.terminate()
    assert other.read_text() == "of the operator" and os.path.exists(cached(folder))


def test_routes_of_the_cache_lead_where_those_of_the_server_led(start):
    plane, upstream, line = start()
    plane.set(route_configuration("routes", virtual_host(route("telemetry", path_rewrite_policy=None, prefix_rewrite="/cached/"))))
    plane.wait_for_ack(RDS)
    offline(plane, line)
    line.publish(b"offline")
    assert upstream.wait_for_body(b"offline").path == "/cached/v1/state"

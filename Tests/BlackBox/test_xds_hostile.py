"""Hostile bytes of a control plane: the daemon lives, its memory stays, what was good stays in force, and what is good
afterwards is taken."""

import random
import time

import pytest
from control_plane import Raw
from resources import (
    CDS, EDS, LDS, MAKE_BEFORE_BREAK, RDS, RTDS, SHORT, cluster, endpoint, endpoints, fraction, graph, header,
    listener, locality, match, name_of, regex, retry, route, route_configuration, runtime, thresholds, url,
    virtual_host, weighted,
)
from spoke import stream
from spoke_xds import CONNECTED, memory, resource, resources
from test_xds_protocol import BOTH, wait_for_acks
from upstream import Answer
from waiting import holds_for, wait_until

# What a test of this file may have resident, and how much more of it after thousands of mutations than after the first.
RESIDENT_KIB, GROWTH_KIB = 9 * 1024, 512
CHAINS, CLUSTERS_EACH = 8, 6
MUTATIONS = 10_000  # in each transport


def chain(number, port):
    """A listener, its routes with about everything that a route can have, their clusters and their endpoints."""
    names = [f"c{number}-{n}" for n in range(CLUSTERS_EACH)]
    routes = virtual_host(
        route(names[0], match(safe_regex=regex("/v[0-9]+/(a|b)*c{1,3}")), retry_policy=retry(
            "5xx,reset,retriable-headers", 3, base=0.025, most=1, retriable_status_codes=[418],
            retriable_headers=[{"name": "x-again", "present_match": True}])),
        route(names[1], match("/h/", headers=[
            header("x-device", string_match={"prefix": "s", "ignore_case": True}), header("x-n", range_match={"start": 1, "end": 9}),
        ]), timeout=3, prefix_rewrite="/", idle_timeout=5),
        route(names[2], match("/q/", query_parameters=[{"name": "kind", "string_match": {"suffix": "s"}}]),
              max_stream_duration={"max_stream_duration": 9}, host_rewrite_literal="elsewhere"),
        route(when=match("/f/", runtime_fraction=fraction(30, "routing.key")), **weighted(**{names[3]: 3, names[4]: 1})),
        route(names[5]),
        domains=["*", f"*.{number}.example.com", "a.*"], request_headers_to_remove=["x-gone"],
        request_headers_to_add=[{"header": {"key": "x-added", "value": "device %REQ(x-device)%"}}],
    )
    yield listener(f"l{number}", f"routes-{number}")
    yield route_configuration(f"routes-{number}", routes)
    for name in names:
        yield cluster(name, circuit_breakers=thresholds(max_requests=9, retry_budget={"min_retry_concurrency": 2}),
                      outlier_detection={"interval": 10, "base_ejection_time": 30},
                      common_lb_config={"healthy_panic_threshold": {"value": 40}, "locality_weighted_lb_config": {}})
        yield endpoints(
            name, locality(endpoint(port, weight=3), endpoint(port, "127.0.0.2", health="DEGRADED"), region="r", weight=2),
            locality(endpoint(port, "::1"), zone="b", priority=1), drops={"throttle": 0}, overprovisioning_factor=150,
        )


def varint(number) -> bytes:
    found = b""
    while number >= 128:
        found, number = found + bytes([number & 127 | 128]), number >> 7
    return found + bytes([number])


def within(octets: bytes, *fields: int) -> bytes:
    """Messages in messages, of the field numbers from the outermost in."""
    for field in reversed(fields):
        octets = varint(field << 3 | 2) + varint(len(octets)) + octets
    return octets


def mutated(source, data: bytes) -> bytes:
    """One to three changes: of bytes and bits, of lengths, cuts, holes, and what is there twice or too much."""
    for _ in range(source.randint(1, 3)):
        place = source.randrange(len(data)) if data else 0
        before, after = data[:place], data[place:]
        size = source.randint(1, 12)
        data = source.choice([
            lambda: before + bytes([source.randrange(256)]) + after[1:],
            lambda: before + bytes([after[0] ^ 1 << source.randrange(8)]) + after[1:] if after else before,
            lambda: before,
            lambda: before + after[size:],
            lambda: before + source.randbytes(size) + after,
            lambda: before + after[:size] * source.randint(2, 40) + after[size:],
            lambda: before + source.choice([b"\xff" * 9 + b"\1", b"\x80\x80\x80\x02", b"\x7f", b"\0"]) + after[1:],
            lambda: nested(place, size * 8, before) + after,
        ])()
    return data[:8192]


def nested(field, depth, inner: bytes) -> bytes:
    """A message within a message within …"""
    for _ in range(depth):
        inner = within(inner, field % 15 + 1)
        if len(inner) > 8000:
            break
    return inner


class Attack:
    """A line, eight streams beside it with a policy each, and a control plane that turns against them."""

    def __init__(self, plane, upstream, line):
        self.plane, self.upstream, self.line = plane, upstream, line
        self.good = list(graph(upstream.port))
        self.victims = [part for n in range(CHAINS) for part in chain(n, upstream.port)]
        self.records = 0

    @property
    def spoke(self):
        return self.line.spoke

    def by_kind(self, parts):
        kinds = [kind for kind in MAKE_BEFORE_BREAK if any(url(part) == kind for part in parts)]
        return [(kind, [part for part in parts if url(part) == kind]) for kind in kinds]

    def restore(self):
        """Everything good, acknowledged, and a record that goes through."""
        self.plane.set(*self.good, *self.victims)
        wait_for_acks(self.plane)

    def all_flow(self, word):
        """A record of each stream by its own chain."""
        for number in range(CHAINS):
            self.line.publish(word + b" %d" % number, topic=f"in/s{number}")
        for number in range(CHAINS):
            self.upstream.wait_for_body(word + b" %d" % number)

    def flows(self, seconds=15.0):
        self.records += 1
        body = b"record %d" % self.records
        self.line.publish(body)
        self.upstream.wait_for_body(body, seconds)


@pytest.fixture
def attack(make_plane, make_upstream, make_xds_line):
    def start(transport):
        upstream = make_upstream(addresses=["127.0.0.1", "127.0.0.2", "::1"])
        plane = make_plane(paused=True)
        parts = [stream(f"s{n}", f"xds:///l{n}", path="/v1/abc") for n in range(CHAINS)]
        filters = [("in/state", "state"), *((f"in/s{n}", f"s{n}") for n in range(CHAINS))]
        keys = {"transport": transport, "fetch_timeout": "1s", "runtime": ["runtime"]}
        line = make_xds_line(plane, xds=keys, parts=parts, filters=filters, connected=False)
        made = Attack(plane, upstream, line)
        plane.set(*made.good, *made.victims, runtime("runtime", routing__key=50, **{f"key{n}": n for n in range(20)}))
        plane.start()
        wait_for_acks(plane)
        made.flows()
        made.all_flow(b"before")
        return made

    return start


@BOTH
def test_thousands_of_mutations_of_each_type_cost_nothing_but_themselves(attack, transport):
    """Items 15 and 18: a response of mutated resources, beside those that steer the stream `state`; these come broken
    as well from time to time."""
    made = attack(transport)
    plane, seed = made.plane, random.randrange(1 << 32)
    print("seed", seed)
    source = random.Random(seed)
    made.restore()
    sent, rounds, first = 0, 0, 0
    refused = dict.fromkeys((LDS, RDS, CDS, EDS), 0)
    while sent < MUTATIONS:
        rounds += 1
        for kind, parts in made.by_kind(made.victims):
            bad = [Raw(kind, name_of(part), mutated(source, part.SerializeToString())) for part in parts]
            sent += len(bad)
            own = [part for part in made.good if url(part) == kind]
            if rounds % 4 == 0:
                # Whatever else is in it, a field of 100 bytes of which two are there makes it unreadable.
                own = [Raw(kind, name_of(part), part.SerializeToString() + b"\x12\x64ab") for part in own]
            plane.set(*own, *bad)
            refused[kind] += plane.wait_for_answer(kind).is_nack
        if rounds % 4 == 0:
            made.flows()
        made.restore()
        if rounds == 8:
            first = memory(made.spoke)
    last = memory(made.spoke)
    print(f"{sent} mutations in {rounds} rounds; resident KiB {first} → {last}; refused responses {refused}")
    assert all(count > rounds / 2 for count in refused.values()), refused
    assert last - first <= GROWTH_KIB and last <= RESIDENT_KIB
    assert {r.state for r in resources(made.spoke)} == {"ACKED"}
    made.all_flow(b"after")
    assert made.spoke.stat("spoke.stream.state.parked") == 0
    assert len(plane.streams) == 1, "no resource is a reason to end the stream"


@BOTH
def test_mutated_responses_end_their_stream_at_worst(attack, transport):
    """Items 18, 22 and 23: what is no response for protobuf cannot be answered; the stream is opened again."""
    made = attack(transport)
    plane, seed = made.plane, random.randrange(1 << 32)
    print("seed", seed)
    source = random.Random(seed)
    started = time.monotonic()
    ends, sent = 0, 0
    while sent < 300 and ends < 2:
        current = plane.open_streams()[-1]
        kind, parts = source.choice(made.by_kind(made.victims + made.good))
        whole = current.response(kind, [(n, plane.resources(kind)[n]) for n in map(name_of, parts)], "mutated")
        current.send(mutated_envelope(source, whole.SerializeToString()))
        sent += 1
        # The answer to a valid one tells that the other one is through.
        check = current.response(RTDS, list(plane.resources(RTDS).items()), "check")
        current.send(check)
        seen = next(s for s in reversed(current.sent) if s.nonce == check.nonce)
        plane.wait(lambda: seen.answer or not current.open, "the stream goes on, or is given up")
        if seen.answer is None:
            ends += 1
            plane.wait(lambda: len(plane.streams) > current.number, "a new stream", 20)
            wait_for_acks(plane)
    print(f"{sent} responses, {ends} streams ended, {time.monotonic() - started:.1f} s")
    made.restore()
    made.flows()
    assert memory(made.spoke) <= RESIDENT_KIB


def mutated_envelope(source, data: bytes) -> bytes:
    """Other octets, mostly; one less or more, which moves the border of a resource, seldom."""
    place = source.randrange(len(data))
    before, after = data[:place], data[place + 1 :]
    if source.random() < 0.04:
        return source.choice([before, before + after, before + data[place : place + 1] * 2 + after])
    return before + source.randbytes(1) + after


def deep(*fields: int, times=12_000) -> bytes:
    return within(b"", *fields * (times // len(fields)))


NESTED = {
    # What nobody knows is passed over, but not deeper than a reader goes.
    "groups": b"\xa3\x06" * 50_000 + b"\xa4\x06" * 50_000,
    "groups without an end": b"\xa3\x06" * 200_000,
    # Struct.fields → entry.value → Value.struct_value → …, in a field of each that is read, and in one that is not.
    "structs": deep(1, 2, 5),
    "lists": within(deep(6, 1), 1, 2),
    "first fields": deep(1),
    "second fields": deep(2),
}


@pytest.mark.parametrize("transport", ["sotw", "delta"])
def test_resources_that_are_nested_deeper_than_any_reader_goes(attack, transport):
    """Items 18 and 44, with the recursive messages that there are: a runtime's structs, and fields that nobody knows."""
    made = attack(transport)
    plane, seen = made.plane, []
    for about, octets in NESTED.items():
        plane.set(
            Raw(RTDS, "runtime", b"\x0a\x07runtime" + within(octets, 2)), Raw(CDS, "c0-0", b"\x0a\x04c0-0" + octets),
            Raw(EDS, "c0-1", b"\x0a\x04c0-1" + within(octets, 2)), Raw(LDS, "l0", b"\x0a\x02l0" + within(octets, 19)),
            Raw(RDS, "routes-0", b"\x0a\x08routes-0" + within(octets, 2)),
        )
        verdicts = {SHORT[kind]: plane.wait_for_answer(kind).is_nack for kind in (RTDS, CDS, EDS, LDS, RDS)}
        assert verdicts["listener"] and verdicts["endpoints"] and verdicts["route"], (about, verdicts)
        seen.append((about, verdicts))
        made.flows()
    print(*seen, sep="\n")
    made.restore()
    made.flows()
    assert memory(made.spoke) <= RESIDENT_KIB + 1024, "a message has 1 MiB at most"


PREFIXES = {
    "4 MiB": b"\0\0\x40\0\0",
    "one more than the limit": b"\0\0\x10\0\1",
    "4 GiB": b"\0\xff\xff\xff\xff",
    "compressed": b"\1\0\0\0\5hello",
    "a flag that nobody knows": b"\x80\0\0\0\5hello",
    "a message that does not come": b"\0\0\x0f\xff\xff" + b"\x0a" * 1000,
}


@pytest.mark.parametrize("about", PREFIXES)
def test_a_length_prefix_that_is_too_large_is_refused_before_anything_is_kept(
    make_plane, make_upstream, make_xds_line, about
):
    """Item 22 and the bound of a message: in the server's place comes one that writes such a prefix, with 4 MiB
    behind it, and keeps the stream open."""
    upstream = make_upstream()
    plane = make_plane(*graph(upstream.port))
    line = make_xds_line(plane)
    wait_for_acks(plane)
    before = memory(line.spoke)
    plane.stop()
    octets = PREFIXES[about] + (bytes(4 << 20) if "MiB" in about else b"")
    answer = Answer(headers=[("content-type", "application/grpc")], body=octets, stays_open=True)
    impostor = make_upstream(port=plane.port, addresses=["127.0.0.1"], paused=True)
    impostor.on_headers = lambda request: answer
    impostor.start()
    wait_until(lambda: [r for r in impostor.requests if "AggregatedResources" in r.path], "a stream", 20)
    if about == "a message that does not come":
        holds_for(lambda: memory(line.spoke) <= before + 256, "nothing is kept for what is only announced", 0.5)
    else:
        wait_until(lambda: any(r.reset is not None for r in impostor.requests), "the stream is reset", 20)
        assert impostor.protocol_errors == []
    line.publish(b"by the last good one")
    upstream.wait_for_body(b"by the last good one")
    assert memory(line.spoke) <= before + 512
    impostor.stop()
    plane.start()
    plane.set(*graph(upstream.port))
    wait_for_acks(plane)
    line.spoke.wait_for_stat(CONNECTED, 1, 20)
    assert resource(line.spoke, EDS, "telemetry").version == plane.version(EDS)
    line.publish(b"after")
    upstream.wait_for_body(b"after")


def test_a_message_of_4_mib_of_a_real_server_costs_its_stream(attack):
    """grpcio sends it, if its peer lets it."""
    made = attack("sotw")
    plane = made.plane
    before = memory(made.spoke)
    current = plane.open_streams()[0]
    whole = current.response(EDS, list(plane.resources(EDS).items()), "large")
    whole.control_plane.identifier = "x" * (4 << 20)
    current.send(whole)
    plane.wait(lambda: not current.open, "the stream is given up")
    made.flows()
    plane.wait_for_streams(2, 20)
    wait_for_acks(plane)
    made.restore()
    made.flows()
    assert memory(made.spoke) <= before + 512

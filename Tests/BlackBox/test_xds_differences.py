"""One control plane, three clients: grpcio, Envoy and Spoke take the same resources, and choose the same routes, the
same weights and the same endpoints. Where they differ, the test says how, and which side XDS.md chose."""

import random
from collections import Counter

from differences import CALL, CLUSTERS, differing, name
from resources import (
    EDS, RDS, RTDS, endpoint, endpoints, fraction, header, locality, match, regex, respond, route,
    route_configuration, runtime, virtual_host, weighted,
)
from spoke_xds import NAME, chosen_cluster, cluster_stat
from upstream import Answer
from waiting import wait_until

numbers = lambda: iter(range(1, CLUSTERS + 1))  # noqa: E731


# Routes


def matching_routes():
    """A virtual host for each kind of domain, and a route for each kind of matcher that all three know. Every route
    has a cluster of its own."""
    number = numbers()

    def to(*when, **fields):
        return route(name(next(number)), match(*when, **fields))

    def with_header(prefix, **fields):
        return to(prefix, headers=[header("x-device", **fields)])

    paths = virtual_host(
        # grpcio leaves routes out whose path no call can have: it wants two segments.
        to(path="/svc/exact"),
        to(path="/svc/Folded", case_sensitive=False),
        to(safe_regex=regex("/v[0-9]+/(state|event)s?")),
        to("/prefix/"),
        to("/Other", case_sensitive=False),
        domains=["paths.example.com", "*.paths.example.com"],
    )
    headers = virtual_host(
        with_header("/h/exact", string_match={"exact": "scooter"}),
        with_header("/h/folded", string_match={"exact": "Scooter", "ignore_case": True}),
        with_header("/h/prefix", prefix_match="sco"),
        with_header("/h/suffix", suffix_match="ter"),
        with_header("/h/contains", contains_match="oot"),
        with_header("/h/regex", safe_regex_match=regex("s[a-z]+r")),
        with_header("/h/range", range_match={"start": -3, "end": 17}),
        with_header("/h/present", present_match=True),
        with_header("/h/absent", present_match=False),
        with_header("/h/not-exact", string_match={"exact": "scooter"}, invert_match=True),
        with_header("/h/not-present", present_match=True, invert_match=True),
        with_header("/h/not-range", range_match={"start": -3, "end": 17}, invert_match=True),
        to("/h/both", headers=[
            header("x-device", string_match={"prefix": "s"}), header("x-region", string_match={"exact": "eu"}),
        ]),
        to("/h/", headers=[header("x-region", string_match={"exact": "us"})]),
        domains=["headers.*"],
    )
    suffix = virtual_host(to("/"), domains=["*.example.com"])
    longer_suffix = virtual_host(to("/"), domains=["*-eu.example.com"])
    prefix = virtual_host(to("/only"), domains=["paths.*"])
    everything = virtual_host(to("/"), domains=["*"])
    return route_configuration("routes", everything, suffix, paths, prefix, longer_suffix, headers)


HOSTS = [
    "paths.example.com", "a.paths.example.com", "PATHS.Example.com", "headers.example.org", "headers.example.com",
    "x.example.com", "berlin-eu.example.com", "-eu.example.com", "example.com", "paths.example.org", "other.org",
    "paths.example.com:8443", "x.example.com:80", NAME,
]
PATHS = [
    "/svc/exact", "/svc/exact/", "/svc/Exact", "/svc/folded", "/SVC/FOLDED", "/svc", "/v1/state", "/v22/events",
    "/v/state", "/v1/statess", "/prefix/", "/prefix", "/other/1", "/OTHER", "/only", "/onlyone", "/",
]
HEADER_PATHS = [
    f"/h/{kind}" for kind in (
        "exact", "folded", "prefix", "suffix", "contains", "regex", "range", "present", "absent", "not-exact",
        "not-present", "not-range", "both", "none",
    )
]
VALUES = ["scooter", "scooter", "SCOOTER", "scooters", "a scooter", "16", "17", "-3", "-4", "+5", "5.0", "0x5", "s", "ster"]
REGIONS = [[], [("x-region", "eu")], [("x-region", "us,eu")], [("x-region", "us")]]


def generated(seed, count):
    """Requests that are likely to be near a boundary of some matcher."""
    source = random.Random(seed)
    for _ in range(count):
        if source.random() < 0.4:
            yield source.choice(HOSTS), source.choice(PATHS), []
            continue
        device = [("x-device", source.choice(VALUES))] if source.random() < 0.85 else []
        host = source.choice(["headers.example.org", "headers.example.com.", "headers.x"])
        yield host, source.choice(HEADER_PATHS), device + source.choice(REGIONS)


def test_items_45_to_48_the_three_choose_the_same_routes(make_clients):
    clients = make_clients(matching_routes())
    seed = random.randrange(1 << 32)
    print("seed", seed)
    requests = list(generated(seed, 400))
    envoy, grpcio = clients.by_envoy(requests), clients.by_grpcio(requests)
    spoke = clients.by_spoke(requests)
    assert len(set(envoy)) >= 16, "the requests reach most routes"
    assert differing(requests, envoy, grpcio, spoke) == []


def test_item_48_a_field_that_came_twice_is_one_value_to_grpcio_and_spoke_and_two_to_envoy(make_clients):
    """Envoy 1.40 asks each of the values; XDS.md item 48 chose the text that they give joined with commas."""
    routes = [
        route(name(n), match(headers=[header("x-region", string_match={"exact": value})]))
        for n, value in enumerate(("us,eu", "us, eu", "eu", "us"), 1)
    ]
    clients = make_clients(route_configuration("routes", virtual_host(*routes)))
    requests = [("a", CALL, [("x-region", "us"), ("x-region", "eu")])]
    assert clients.by_grpcio(requests) == clients.by_spoke(requests) == ["c1"]
    assert clients.by_envoy(requests) == ["c3"]


def richer_routes():
    """What grpcio does not know: it refuses these routes, or leaves them out."""
    number = numbers()

    def to(*when, **fields):
        return route(name(next(number)), match(*when, **fields))

    def asks(**fields):
        return to("/q/", query_parameters=[{"name": "kind", **fields}])

    empty = {"treat_missing_header_as_empty": True}
    return route_configuration(
        "routes",
        virtual_host(
            to(path_separated_prefix="/segment"),
            to(path_separated_prefix="/Folded", case_sensitive=False),
            asks(string_match={"exact": "gps"}),
            asks(string_match={"prefix": "Can", "ignore_case": True}),
            asks(string_match={"safe_regex": regex("[0-9]{2,3}")}),
            asks(present_match=True),
            to("/q/"),
            to("/m/", headers=[header(":method", string_match={"exact": "GET"})]),
            to("/m/", headers=[header(":path", string_match={"suffix": "/x?y"})]),
            to("/m/", headers=[header(":authority", string_match={"contains": ":"})]),
            to("/e/1", headers=[header("x-device", string_match={"exact": ""}, **empty)]),
            to("/e/2", headers=[header("x-device", string_match={"exact": "a"}, invert_match=True, **empty)]),
            to("/e/3", headers=[header("x-device", string_match={"exact": "a"}, invert_match=True)]),
            to("/e/4", headers=[header("x-device")]),
            to(safe_regex=regex("/r/(?:[^/]+/)?[^/]*\\.bin")),
            to("/f/never", runtime_fraction=fraction(0)),
            to("/f/always", runtime_fraction=fraction(100)),
            to("/f/key", runtime_fraction=fraction(0, "routing.key")),
            to("/f/million", runtime_fraction=fraction(1_000_000, denominator="MILLION")),
            route(when=match("/c/"), cluster_header="x-cluster"),
            domains=["rich.example.com"],
        ),
        virtual_host(to("/"), domains=["ported.example.com:8080"]),
        virtual_host(to("/"), domains=["*"]),
    )


RICH_PATHS = [
    "/segment", "/segment/", "/segment/a", "/segment?a", "/segments", "/folded", "/FOLDED/a", "/q/?kind=gps",
    "/q/?kind=GPS", "/q/?kind=canbus", "/q/?a=b&kind=can", "/q/?kind=12", "/q/?kind=1234", "/q/?kind", "/q/?kind=",
    "/q/?kinds=gps", "/q/?kind=gps&kind=can", "/q/?kind=x&kind=gps", "/q/", "/m/", "/m/x?y", "/m/x", "/e/1", "/e/2",
    "/e/3", "/e/4", "/r/a/b.bin", "/r/b.bin?q", "/r/a/b/c.bin", "/f/never", "/f/always", "/f/key", "/f/million",
    "/c/1", "/", "/segment?a/b",
]


def test_items_47_to_51_envoy_and_spoke_choose_the_same_richer_routes(make_clients):
    clients = make_clients(richer_routes(), runtime("runtime", routing__key=100), with_grpcio=False)
    clients.wait_for_acks(RTDS)
    seed = random.randrange(1 << 32)
    print("seed", seed)
    source = random.Random(seed)
    hosts = ["rich.example.com"] * 6 + ["rich.example.com:80", "ported.example.com", "ported.example.com:8080"]
    devices = [[], [], [("x-device", "")], [("x-device", "a")], [("x-device", "b")]]
    requests = [(source.choice(hosts), path, source.choice(devices)) for path in RICH_PATHS * 8]
    requests += [("rich.example.com", "/c/1", [("x-cluster", which)]) for which in ("c1", "c20")]
    envoy = clients.by_envoy(requests)
    assert differing(requests, envoy, clients.by_spoke(requests)) == []
    assert len(set(envoy)) >= 16


# Weights and shares


def close(found: Counter, expected: dict[str, float], total):
    """Within five standard deviations of each share."""
    for key, share in expected.items():
        slack = 5 * (total * share * (1 - share)) ** 0.5
        assert abs(found[key] - total * share) <= slack, (found, expected)


def spread_of_envoy(clients, count):
    return Counter(clients.by_envoy([("a", CALL, [])] * count))


def spread_of_grpcio(clients, count):
    return Counter(clients.by_grpcio([(NAME, CALL, [])] * count))


def spread_of_spoke(clients, count):
    """Of real requests: where the upstream took them."""
    before = len(clients.upstream.whole())
    clients.line.publish(*[b"%d" % n for n in range(count)])
    wait_until(lambda: len(clients.upstream.whole()) >= before + count, f"{count} requests", 60)
    return Counter(name(int(r.address.rpartition(".")[2])) for r in clients.upstream.whole()[before:])


FAST = {"durability": "memory", "in_flight": 8}


def test_item_53_the_three_spread_by_the_weights_of_clusters(make_clients):
    clients = make_clients(
        route_configuration("routes", virtual_host(route(**weighted(c1=70, c2=20, c3=10, c4=0)))), **FAST
    )
    shares = {"c1": 0.7, "c2": 0.2, "c3": 0.1}
    for spread in (spread_of_envoy, spread_of_grpcio, spread_of_spoke):
        found = spread(clients, 400)
        close(found, shares, 400)
        assert found["c4"] == 0 and sum(found.values()) == 400
    total = sum(cluster_stat(clients.line.spoke, name(n), "upstream_rq_total") for n in (1, 2, 3))
    assert total == 400


def test_items_83_86_and_87_the_three_spread_by_the_weights_of_endpoints_and_localities(make_clients):
    """All endpoints are those of c1: two localities 1:3, in the second of which weights are 1:2."""
    clients = make_clients(
        route_configuration("routes", virtual_host(route("c1"))), **FAST, **LOCALITY_WEIGHTS
    )
    port = clients.upstream.port
    clients.plane.set(endpoints(
        "c1",
        locality((port, "127.0.0.1"), zone="a", weight=1),
        locality(endpoint(port, "127.0.0.2", weight=1), endpoint(port, "127.0.0.3", weight=2), zone="b", weight=3),
        locality(endpoint(port, "127.0.0.4"), zone="c", weight=None),
    ))
    clients.wait_for_acks(EDS)
    # grpcio's round robin takes no notice of the weights of endpoints; XDS.md items 87 and 88 chose Envoy's way.
    shares, equal = {"c1": 0.25, "c2": 0.25, "c3": 0.5}, {"c1": 0.25, "c2": 0.375, "c3": 0.375}
    for spread in (spread_of_envoy, spread_of_grpcio, spread_of_spoke):
        found = spread(clients, 400)
        close(found, equal if spread is spread_of_grpcio else shares, 400)
        assert found["c4"] == 0, "a locality without weight gets nothing"


LOCALITY_WEIGHTS = {"cluster_fields": {"common_lb_config": {"locality_weighted_lb_config": {}}}}


def test_item_83_the_priorities_of_envoy_and_spoke_follow_health_and_grpcio_stays_with_the_first(make_clients):
    """One of two endpoints healthy: 70 % stay, 30 % go down; XDS.md items 83 and 85 chose Envoy's way."""
    clients = make_clients(route_configuration("routes", virtual_host(route("c1"))), **FAST)
    port = clients.upstream.port
    clients.plane.set(endpoints(
        "c1",
        locality(endpoint(port, "127.0.0.1"), endpoint(port, "127.0.0.2", health="UNHEALTHY"), zone="a"),
        locality((port, "127.0.0.3"), zone="b", priority=1),
    ))
    clients.wait_for_acks(EDS)
    for spread in (spread_of_envoy, spread_of_spoke):
        close(spread(clients, 400), {"c1": 0.7, "c3": 0.3, "c2": 0.0}, 400)
    assert spread_of_grpcio(clients, 100) == {"c1": 100}


def test_item_102_the_three_drop_the_share_of_a_category(make_clients):
    """Each drop is an answer 503, UNAVAILABLE to gRPC. Spoke's records wait and come again, in sum as often."""
    clients = make_clients(
        route_configuration("routes", virtual_host(route("c1"))), durability="memory", in_flight=32
    )
    # Envoy takes a new share only along with new endpoints.
    clients.plane.set(endpoints("c1", locality((clients.upstream.port, "127.0.0.2")), drops={"throttle": 40}))
    clients.wait_for_acks(EDS)
    statuses = Counter(clients.envoy.request("a", CALL)[0] for _ in range(400))
    close(statuses, {200: 0.6, 503: 0.4}, 400)
    codes = Counter(result["code"] for result in clients.grpcio.call(*[(CALL, [])] * 400))
    close(codes, {"OK": 0.6, "UNAVAILABLE": 0.4}, 400)
    clients.line.publish(*[b"%d" % n for n in range(200)])
    spoke = clients.line.spoke
    # Each waits for at most a second, the first time; so most have been drawn once when most are delivered.
    spoke.wait_for_stat("spoke.stream.state.delivered", 190, 60)
    dropped = cluster_stat(spoke, "c1", "upstream_rq_drop_overload")
    close(Counter({503: dropped}), {503: 0.4}, dropped + spoke.stat("spoke.stream.state.delivered"))


def test_a_direct_response_ends_a_request_of_envoy_and_spoke_and_grpcio_has_no_such_route(make_clients):
    clients = make_clients(route_configuration("routes", virtual_host(
        route(when=match("/spoke.Test/"), action=respond(204)), route("c2"),
    )), path=CALL)
    assert clients.envoy.request("a", CALL)[0] == 204
    assert clients.by_grpcio([("a", CALL, [])]) == [None], "it matches, and is of no use to gRPC"
    clients.line.publish(b"stopped here")
    clients.line.spoke.wait_for_stat("spoke.stream.state.delivered", 1)
    assert not [r for r in clients.upstream.whole() if r.body == b"stopped here"]


def test_item_46_no_route_is_404_to_envoy_unavailable_to_grpcio_and_a_hold_to_spoke(make_clients):
    clients = make_clients(route_configuration("routes", virtual_host(route("c1", match("/v9/")))))
    assert clients.envoy.request("a", CALL)[0] == 404
    assert clients.grpcio.call((CALL, []))[0]["code"] == "UNAVAILABLE"
    assert chosen_cluster(clients.line.spoke, "/v1/state") is None
    clients.line.publish(b"waits")
    wait_until(lambda: clients.line.spoke.stat("spoke.stream.state.held") == 1, lambda: clients.line.spoke.log[-2000:])
    clients.plane.set(route_configuration("routes", virtual_host(route("c1"))))
    clients.wait_for_acks(RDS)
    # Sooner than the next probe of what is held, after 30 s.
    clients.upstream.wait_for_body(b"waits")


def test_item_34_the_last_endpoint_gone_is_503_to_all_and_the_first_that_comes_is_used(make_clients):
    clients = make_clients(route_configuration("routes", virtual_host(route("c1"))))
    clients.plane.set(endpoints("c1"))
    clients.wait_for_acks(EDS)
    # The two acknowledge first, and tell the part that chooses then.
    wait_until(lambda: clients.envoy.request("a", CALL)[0] == 503, "503 of Envoy")
    wait_until(lambda: clients.grpcio.call((CALL, []))[0]["code"] == "UNAVAILABLE", "UNAVAILABLE of grpcio")
    clients.line.publish(b"waits")
    wait_until(lambda: cluster_stat(clients.line.spoke, "c1", "upstream_cx_none_healthy") >= 1, "none is healthy")
    clients.plane.set(endpoints("c1", locality((clients.upstream.port, "127.0.0.5"))))
    clients.wait_for_acks(EDS)
    assert clients.upstream.wait_for_body(b"waits", 20).address == "127.0.0.5"
    for asked in (clients.by_envoy, clients.by_grpcio):
        wait_until(lambda: asked([("a", CALL, [])]) == ["c5"], f"{asked.__name__} leads to the new endpoint")

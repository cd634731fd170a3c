"""Resources that some xDS client refuses: what grpcio and Envoy say to each, and what XDS.md §3.C has Spoke say.

`grpcio` and `envoy` are what these versions do, asserted as well: a table that tells no tales. Where the three differ,
`spoke` is the side that XDS.md or its design positions (§0.2) chose. `says` is what Spoke's text names.
"""

from collections.abc import Callable
from dataclasses import dataclass

from control_plane import Raw
from envoy.config.listener.v3 import api_listener_pb2
from envoy.extensions.load_balancing_policies.least_request.v3 import least_request_pb2
from envoy.extensions.transport_sockets.tls.v3 import tls_pb2
from google.protobuf import struct_pb2
from resources import (
    ADS, CDS, EDS, LDS, RDS, cluster, dns, duration, endpoint, endpoints, fraction, header, http_filter, listener,
    locality, manager, match, raw_buffer, regex, retry, route, route_configuration, router, speaks, static, thresholds,
    virtual_host, weighted,
)
from spoke_xds import NAME

ACK, NACK = "ACK", "NACK"
LARGEST = (1 << 32) - 1


@dataclass
class Case:
    """One refusal, or what looks like one. `resources` are sent together, beside the good ones."""

    about: str
    resources: Callable[[], list]
    grpcio: str | None
    envoy: str | None
    spoke: str
    says: tuple[str, ...] = ()
    has_name: bool = True


def routes(about, *made, **verdicts):
    """Routes of the one virtual host."""
    return Case(about, lambda: [route_configuration("routes", virtual_host(*(m() for m in made)))], **verdicts)


def all_nack(*says):
    return {"grpcio": NACK, "envoy": NACK, "spoke": NACK, "says": says}


def all_ack():
    return {"grpcio": ACK, "envoy": ACK, "spoke": ACK}


def raw_routes(*octets):
    """The configuration named `routes` with more octets behind it."""
    return lambda: [Raw(RDS, "routes", route_configuration("routes").SerializeToString() + b"".join(octets))]


ROUTES = [
    routes("no match", lambda: unmatched(), **all_nack("match")),
    routes("no path specifier", lambda: pathless(), **all_nack("match")),
    routes("a regex that does not compile", lambda: route("c1", match(safe_regex=regex("a("))), **all_nack("safe_regex")),
    routes("a header's regex that does not compile",
           lambda: route("c1", match(headers=[header("x", string_match={"safe_regex": regex("[z-a]")})])),
           **all_nack("headers")),
    routes("a back-reference in a regex", lambda: route("c1", match(safe_regex=regex(r"(a)\1"))), **all_nack("safe_regex")),
    routes("weights whose sum is zero", lambda: route(**weighted(c1=0, c2=0)), **all_nack("weighted_clusters")),
    routes("weighted clusters without any", lambda: route(**weighted()), **all_nack("weighted_clusters")),
    routes("weights whose sum is too large", lambda: route(**weighted(c1=LARGEST, c2=1)), **all_nack("weighted_clusters")),
    routes("a back-off base of zero", lambda: route("c1", retry_policy=retry("unavailable,5xx", 2, base=0, most=1)),
           grpcio=ACK, envoy=NACK, spoke=NACK, says=("base_interval",)),
    routes("a back-off maximum below its base",
           lambda: route("c1", retry_policy=retry("unavailable,5xx", 2, base=1, most=0.5)),
           grpcio=ACK, envoy=NACK, spoke=NACK, says=("max_interval",)),
    routes("no retries", lambda: route("c1", retry_policy=retry("unavailable,5xx", 0)), grpcio=NACK, envoy=ACK, spoke=ACK),
    routes("a retry_on that nobody knows", lambda: route("c1", retry_policy=retry("unavailable,what-is-this", 1)), **all_ack()),
    routes("a route without an action", lambda: inactive(), lambda: route("c1"), grpcio=ACK, envoy=NACK, spoke=ACK),
    routes("query parameters", lambda: route("c1", match(query_parameters=[{"name": "a", "present_match": True}])),
           lambda: route("c1"), **all_ack()),
    routes("a negative duration", lambda: route("c1", max_stream_duration={"max_stream_duration": duration(-1)}),
           **all_nack("max_stream_duration")),
    routes("a duration with signs that differ",
           lambda: route("c1", max_stream_duration={"max_stream_duration": duration(1, -5)}),
           **all_nack("max_stream_duration")),
    routes("a direct response with a status that is none", lambda: route(action={"direct_response": {"status": 700}}),
           grpcio=ACK, envoy=NACK, spoke=NACK, says=("direct_response", "status")),
    routes("a header matcher without a name", lambda: route("c1", match(headers=[header("", present_match=True)])),
           grpcio=ACK, envoy=NACK, spoke=NACK, says=("headers",)),
    routes("a range that ends before it starts",
           lambda: route("c1", match(headers=[header("x", range_match={"start": 5, "end": 2})])),
           grpcio=NACK, envoy=ACK, spoke=ACK),
    routes("a denominator that nobody knows", lambda: route("c1", match(runtime_fraction=fraction(1, denominator=9))),
           grpcio=NACK, envoy=NACK, spoke=NACK, says=("runtime_fraction",)),
    Case("a domain in two virtual hosts", lambda: [route_configuration(
        "routes", virtual_host(route("c1"), domains=["a.b", "c.d"]), virtual_host(route("c2"), domains=["C.D"]))],
        grpcio=ACK, envoy=NACK, spoke=NACK, says=("domains",)),
    Case("two virtual hosts for everything", lambda: [route_configuration(
        "routes", virtual_host(route("c1"), name="one"), virtual_host(route("c2"), name="two"))],
        grpcio=ACK, envoy=NACK, spoke=NACK, says=("domains",)),
    Case("a virtual host without domains", lambda: [route_configuration(
        "routes", virtual_host(route("c1"), domains=[], name="none"))], **all_nack("domains")),
    Case("a domain with a star in its middle", lambda: [route_configuration(
        "routes", virtual_host(route("c1"), domains=["a.*.b"]))], grpcio=NACK, envoy=ACK, spoke=NACK, says=("domains",)),
    Case("text that is not UTF-8", raw_routes(b"\x12\x06\x0a\x01\xff\x12\x01*"), **all_nack()),
    # What cannot be read has no name for Spoke, so it concerns no resource in the dump (XDS.md item 18).
    Case("a length beyond the end", raw_routes(b"\x12\x7fabc"), **all_nack("resources[0]"), has_name=False),
    Case("a field with the wrong wire type", raw_routes(b"\x10\x01"), **all_ack()),
    Case("a field that nobody knows", raw_routes(b"\xfa\x7f\x03abc"), **all_ack()),
    Case("more routes than fit", lambda: [route_configuration(
        "routes", virtual_host(*(route("c1", match(f"/{n}/")) for n in range(513))))],
        grpcio=ACK, envoy=ACK, spoke=NACK, says=("routes",)),
    Case("more domains than fit", lambda: [route_configuration(
        "routes", virtual_host(route("c1"), domains=[f"d{n}.example.com" for n in range(65)]))],
        grpcio=ACK, envoy=ACK, spoke=NACK, says=("domains",)),
    Case("a regex program that is too large", lambda: [route_configuration(
        "routes", virtual_host(route("c1", match(safe_regex=regex("[a-z]{600}[0-9]{600}")))))],
        grpcio=ACK, envoy=NACK, spoke=NACK, says=("safe_regex",)),
]


def unmatched():
    made = route("c1")
    made.ClearField("match")
    return made


def pathless():
    made = route("c1")
    made.match.Clear()
    made.match.headers.add(name="x", present_match=True)
    return made


def inactive():
    made = route("c1")
    made.ClearField("route")
    return made


def one(about, make, **verdicts):
    return Case(about, lambda: [make()], **verdicts)


def clustered(**fields):
    return lambda: cluster("c1", **fields)


def outlier(**fields):
    return clustered(outlier_detection=fields)


CLUSTERS = [
    one("a type that this daemon is not for", lambda: cluster("c1", "ORIGINAL_DST"), **all_nack("type")),
    one("a type that nobody knows", lambda: cluster("c1", 99), **all_nack("type")),
    one("a balancer that nobody knows", clustered(lb_policy=99), **all_nack("lb_policy")),
    one("endpoints from a file", clustered(eds_cluster_config={"eds_config": {"path": "/no/such/file"}}),
        **all_nack("eds_config")),
    one("no source of endpoints", clustered(eds_cluster_config={}), **all_nack("eds_cluster_config")),
    one("STRICT_DNS without an assignment", lambda: cluster("c1", "STRICT_DNS"), grpcio=NACK, envoy=ACK, spoke=NACK,
        says=("load_assignment",)),
    one("LOGICAL_DNS with two endpoints", lambda: cluster("c1", "LOGICAL_DNS", load_assignment=endpoints(
        "c1", locality((1, "localhost"), (2, "localhost")))), **all_nack("load_assignment")),
    one("STATIC, which grpcio does not know", lambda: static("c1", 80), grpcio=NACK, envoy=ACK, spoke=ACK),
    one("STRICT_DNS, which grpcio does not know", lambda: dns("c1", "localhost", 80), grpcio=NACK, envoy=ACK, spoke=ACK),
    one("STATIC with a host's name", lambda: static("c1", (80, "localhost")), grpcio=NACK, envoy=NACK, spoke=NACK,
        says=("address",)),
    one("TLS without an authority to trust", clustered(tls=tls_pb2.UpstreamTlsContext()), grpcio=NACK, envoy=ACK,
        spoke=NACK, says=("transport_socket", "common_tls_context")),
    one("a transport that nobody knows",
        clustered(transport_socket={"name": "x", "typed_config": struct_pb2.Struct()}), **all_nack("transport_socket")),
    one("transports that depend on the endpoint", clustered(transport_socket_matches=[{"name": "x", "transport_socket": raw_buffer()}]),
        grpcio=ACK, envoy=ACK, spoke=NACK, says=("transport_socket_matches",)),
    one("a connect timeout of zero", clustered(connect_timeout=0), grpcio=ACK, envoy=NACK, spoke=NACK,
        says=("connect_timeout",)),
    one("HTTP/1.1 alone", clustered(options=speaks(explicit_http_config={"http_protocol_options": {}})),
        grpcio=ACK, envoy=ACK, spoke=NACK, says=("explicit_http_config",)),
    one("a percentage above 100", outlier(max_ejection_percent=101), grpcio=NACK, envoy=NACK, spoke=NACK,
        says=("outlier_detection",)),
    one("a negative ejection time", outlier(base_ejection_time=duration(-3)), **all_nack("outlier_detection")),
    one("an ejection time above its maximum", outlier(base_ejection_time=30, max_ejection_time=10),
        grpcio=ACK, envoy=NACK, spoke=NACK, says=("max_ejection_time",)),
    one("a policy list without a policy", clustered(load_balancing_policy={"policies": []}), **all_nack("load_balancing_policy")),
    one("a choice of one", clustered(lb_policy="LEAST_REQUEST", least_request_lb_config={"choice_count": 1}),
        **all_nack("lb_policy")),
    one("a policy's choice of one", clustered(load_balancing_policy={"policies": [{"typed_extension_config": {
        "name": "x", "typed_config": least_request_pb2.LeastRequest(choice_count={"value": 1})}}]}),
        grpcio=NACK, envoy=ACK, spoke=NACK, says=("load_balancing_policy",)),
    one("loads reported to another server", clustered(lrs_server=ADS), grpcio=NACK, envoy=ACK, spoke=NACK,
        says=("lrs_server",)),
    one("breakers that allow nothing, which is legal",
        clustered(circuit_breakers=thresholds(max_retries=0)), **all_ack()),
    one("a keep-alive without a timeout", clustered(options=speaks(explicit_http_config={"http2_protocol_options": {
        "connection_keepalive": {"interval": 10}}})), grpcio=ACK, envoy=NACK, spoke=NACK, says=("timeout",)),
    one("a window below the smallest that is legal", clustered(options=speaks(explicit_http_config={
        "http2_protocol_options": {"initial_stream_window_size": 100}})), grpcio=ACK, envoy=NACK, spoke=NACK,
        says=("initial_stream_window_size",)),
    one("a window above the device's, which is clamped", clustered(options=speaks(explicit_http_config={
        "http2_protocol_options": {"initial_stream_window_size": 1 << 24}})), **all_ack()),
]


def placed(**fields):
    """An endpoint with fields of its locality."""
    return locality((1000, "127.0.0.1"), **fields)


def without_locality():
    made = placed()
    made.ClearField("locality")
    return made


def many(count):
    return [(1000 + n, "127.0.0.1") for n in range(count)]


def assigned(about, make, **verdicts):
    return Case(about, lambda: [endpoints("c1", *make())], **verdicts)


def dropping(**drops):
    return [endpoints("c1", locality((1000, "127.0.0.1")), drops=drops)]


def wrong_drop():
    made = dropping(a=1)
    made[0].policy.drop_overloads[0].drop_percentage.denominator = 9
    return made


ENDPOINTS = [
    assigned("no locality", lambda: [without_locality()], grpcio=NACK, envoy=ACK, spoke=NACK, says=("locality",)),
    assigned("a locality twice", lambda: [placed(), locality((1001, "127.0.0.1"))], grpcio=NACK, envoy=ACK, spoke=NACK,
             says=("locality",)),
    assigned("an endpoint's weight of zero", lambda: [locality(endpoint(1000, weight=0))],
             **all_nack("load_balancing_weight")),
    assigned("an address twice", lambda: [locality((1000, "127.0.0.1"), (1000, "127.0.0.1"))],
             grpcio=NACK, envoy=ACK, spoke=NACK, says=("address",)),
    assigned("a host's name", lambda: [locality((1000, "localhost"))], **all_nack("address")),
    assigned("priorities with a gap", lambda: [placed(), placed(priority=2)], grpcio=NACK, envoy=ACK, spoke=NACK,
             says=("priorit",)),
    assigned("localities' weights whose sum is too large",
             lambda: [placed(zone="a", weight=LARGEST), locality((1001, "127.0.0.1"), zone="b", weight=LARGEST)],
             grpcio=NACK, envoy=ACK, spoke=NACK, says=("weight",)),
    assigned("a port above 65535", lambda: [locality((70_000, "127.0.0.1"))], **all_nack("port")),
    assigned("no endpoints at all", lambda: [], **all_ack()),
    assigned("a health that nobody knows", lambda: [locality((1000, "127.0.0.1"), endpoint(1001, health=77))], **all_ack()),
    Case("two categories of drops", lambda: dropping(a=10, b=20), grpcio=ACK, envoy=NACK, spoke=ACK),
    Case("a drop's denominator that nobody knows", wrong_drop, **all_nack("drop")),
    assigned("more endpoints than fit", lambda: [locality(*many(257))], grpcio=ACK, envoy=ACK, spoke=NACK,
             says=("endpoints",)),
    assigned("as many endpoints as fit", lambda: [locality(*many(256))], **all_ack()),
]


def managed(about, make, grpcio=NACK, spoke=NACK, says=()):
    """An API listener: Envoy takes it from a bootstrap alone, so it is not asked."""
    return Case(about, lambda: [listener(NAME, make())], grpcio=grpcio, envoy=None, spoke=spoke, says=says)


def filters(*made, **fields):
    return lambda: manager("routes", list(made), **fields)


UNKNOWN = http_filter(struct_pb2.Struct(fields={"a": {"number_value": 1}}), "unknown")

LISTENERS = [
    Case("no API listener", lambda: [listener(NAME, api_listener=None)], NACK, None, NACK, ("api_listener",)),
    Case("an API listener with something else", lambda: [listener(NAME, api_listener=api_listener_pb2.ApiListener(
        api_listener={"type_url": "type.googleapis.com/google.protobuf.Struct"}))], NACK, None, NACK, ("api_listener",)),
    managed("neither a name of routes nor routes", lambda: manager(None), says=("route",)),
    managed("routes from somewhere else", lambda: manager(None, rds={
        "config_source": {"path": "/no/such/file"}, "route_config_name": "routes"}), says=("config_source",)),
    managed("routes without a name", lambda: manager(""), ACK, NACK, says=("route_config_name",)),
    managed("no filters", filters(), says=("http_filters",)),
    managed("a filter that nobody knows", filters(UNKNOWN, router()), says=("http_filters",)),
    managed("an optional filter that nobody knows", filters({**UNKNOWN, "is_optional": True}, router()), ACK, ACK),
    managed("a router that is not last", filters(router(), {**router(), "name": "second"}), says=("http_filters",)),
    managed("a filter's name twice", filters({**UNKNOWN, "is_optional": True}, {**UNKNOWN, "is_optional": True}, router()),
            says=("http_filters",)),
    managed("trusted hops", filters(router(), xff_num_trusted_hops=1), says=("xff_num_trusted_hops",)),
    managed("inline routes with an error", lambda: manager(route_configuration("", virtual_host(unmatched()))),
            says=("virtual_hosts", "match")),
]


TABLES = {"routes": (RDS, ROUTES), "clusters": (CDS, CLUSTERS), "endpoints": (EDS, ENDPOINTS), "listeners": (LDS, LISTENERS)}

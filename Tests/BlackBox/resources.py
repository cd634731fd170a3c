"""xDS resources for tests: small functions that return protobuf messages of xds-protos and fit into one another.

Every function takes further fields of its message as keys. In them a plain number stands for a wrapper
message (`UInt32Value`), seconds for a Duration, and a dictionary for any message.
"""

import datetime

from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.endpoint.v3 import endpoint_components_pb2, endpoint_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_components_pb2, route_pb2
from envoy.extensions.filters.http.router.v3 import router_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2
from envoy.extensions.retry.host.previous_hosts.v3 import previous_hosts_pb2
from envoy.extensions.transport_sockets.raw_buffer.v3 import raw_buffer_pb2
from envoy.extensions.transport_sockets.tls.v3 import secret_pb2, tls_pb2
from envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2
from envoy.service.runtime.v3 import rtds_pb2
from google.protobuf import any_pb2, duration_pb2

URL = "type.googleapis.com/"
LDS = URL + listener_pb2.Listener.DESCRIPTOR.full_name
RDS = URL + route_pb2.RouteConfiguration.DESCRIPTOR.full_name
CDS = URL + cluster_pb2.Cluster.DESCRIPTOR.full_name
EDS = URL + endpoint_pb2.ClusterLoadAssignment.DESCRIPTOR.full_name
SDS = URL + secret_pb2.Secret.DESCRIPTOR.full_name
RTDS = URL + rtds_pb2.Runtime.DESCRIPTOR.full_name
# XDS.md item 27: what is referred to comes before what refers to it.
MAKE_BEFORE_BREAK = (CDS, EDS, SDS, LDS, RDS, RTDS)
SHORT = {LDS: "listener", RDS: "route", CDS: "cluster", EDS: "endpoints", SDS: "secret", RTDS: "runtime"}

ADS = {"ads": {}, "resource_api_version": "V3"}
PROTOCOL = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def make(kind, **fields):
    """A message of a kind, with numbers and dictionaries put into the messages that its fields are."""
    described = kind.DESCRIPTOR.fields_by_name
    return kind(**{name: fit(described[name], value) for name, value in fields.items() if value is not None})


def fit(field, value):
    message = field.message_type
    if message is None:
        return value
    if message.GetOptions().map_entry:
        return value
    if field.is_repeated:
        return [one(message, item) for item in value]
    return one(message, value)


def one(message, value):
    if message.full_name == "google.protobuf.Duration" and isinstance(value, (int, float)):
        return datetime.timedelta(seconds=value)
    if message.full_name == "google.protobuf.Any" and not isinstance(value, any_pb2.Any):
        return packed(value)
    if isinstance(value, dict):
        if message.full_name == "google.protobuf.Struct":
            return value
        return {name: fit(message.fields_by_name[name], item) for name, item in value.items()}
    if message.full_name.startswith("google.protobuf.") and message.full_name.endswith("Value"):
        return {"value": value} if isinstance(value, (int, float, bool)) else value
    return value


def packed(message):
    value = any_pb2.Any()
    value.Pack(message)
    return value


def duration(seconds, nanos=0):
    """A Duration as it is written, valid or not."""
    return duration_pb2.Duration(seconds=seconds, nanos=nanos)


def url(message):
    return URL + message.DESCRIPTOR.full_name


def name_of(message):
    return message.cluster_name if isinstance(message, endpoint_pb2.ClusterLoadAssignment) else message.name


# Listeners


def http_filter(message, name=None, **fields):
    return {"name": name or message.DESCRIPTOR.full_name, "typed_config": message, **fields}


def router():
    return http_filter(router_pb2.Router(), "envoy.filters.http.router")


def manager(routes="routes", filters=None, **fields):
    """An HttpConnectionManager: `routes` is the name of a RouteConfiguration, or one inline, or None."""
    where = {"route_config": routes}
    if isinstance(routes, str):
        where = {"rds": {"config_source": ADS, "route_config_name": routes}}
    return make(
        http_connection_manager_pb2.HttpConnectionManager, stat_prefix="spoke",
        http_filters=[router()] if filters is None else filters, **{**where, **fields},
    )


def listener(name, routes="routes", filters=None, **fields):
    """An API listener; with `api_listener=…` that is taken as it is."""
    fields.setdefault("api_listener", {"api_listener": routes_of(routes, filters)})
    return make(listener_pb2.Listener, name=name, **fields)


def routes_of(routes, filters):
    kinds = http_connection_manager_pb2.HttpConnectionManager
    return routes if isinstance(routes, kinds) else manager(routes, filters)


# Routes


def route_configuration(name="routes", *hosts, **fields):
    return make(route_pb2.RouteConfiguration, name=name, virtual_hosts=hosts, **fields)


def virtual_host(*routes, domains=("*",), name=None, **fields):
    return make(
        route_components_pb2.VirtualHost, name=name or domains[0], domains=domains, routes=routes, **fields
    )


def match(prefix=None, **fields):
    """Every path, unless a path specifier is given."""
    paths = {"path", "safe_regex", "path_separated_prefix", "connect_matcher", "path_match_policy"}
    if prefix is None and not paths & set(fields):
        prefix = "/"
    return make(route_components_pb2.RouteMatch, prefix=prefix, **fields)


def regex(text):
    return {"regex": text}


def header(name, **fields):
    return make(route_components_pb2.HeaderMatcher, name=name, **fields)


def fraction(numerator, key="", denominator="HUNDRED"):
    """A RuntimeFractionalPercent."""
    return {"default_value": {"numerator": numerator, "denominator": denominator}, "runtime_key": key}


def route(cluster=None, when=None, *, name="", action=None, **fields):
    """A route to a cluster, or with `action` to anything; further keys belong to the RouteAction."""
    chosen = action or {"route": make(route_components_pb2.RouteAction, cluster=cluster, **fields)}
    return make(route_components_pb2.Route, name=name, match=when or match(), **chosen)


def weighted(**weights):
    """The cluster specifier that spreads by weight."""
    clusters = [{"name": name, "weight": weight} for name, weight in weights.items()]
    return {"weighted_clusters": {"clusters": clusters}}


def respond(status, **fields):
    return {"direct_response": make(route_components_pb2.DirectResponseAction, status=status, **fields)}


def retry(on, times=None, *, base=None, most=None, **fields):
    """A RetryPolicy; its back-off is from `base` to `most` seconds."""
    if base is not None:
        fields["retry_back_off"] = {"base_interval": base, "max_interval": most or 10 * base}
    return make(route_components_pb2.RetryPolicy, retry_on=on, num_retries=times, **fields)


PREVIOUS_HOSTS = {
    "name": "envoy.retry_host_predicates.previous_hosts",
    "typed_config": previous_hosts_pb2.PreviousHostsPredicate(),
}


# Clusters


def speaks(**fields):
    """What makes Envoy speak HTTP/2 to the cluster; other clients do so anyway."""
    fields.setdefault("explicit_http_config", {"http2_protocol_options": {}})
    return make(http_protocol_options_pb2.HttpProtocolOptions, **fields)


def cluster(name, kind="EDS", *, options=None, tls=None, service=None, **fields):
    fields.setdefault("connect_timeout", 2)
    if kind == "EDS":
        eds = {"eds_config": ADS}
        fields.setdefault("eds_cluster_config", {**eds, "service_name": service} if service else eds)
    if tls is not None:
        fields["transport_socket"] = {"name": "envoy.transport_sockets.tls", "typed_config": tls}
    return make(
        cluster_pb2.Cluster, name=name, type=kind,
        typed_extension_protocol_options={PROTOCOL: packed(options or speaks())}, **fields,
    )


def raw_buffer():
    return {"name": "envoy.transport_sockets.raw_buffer", "typed_config": raw_buffer_pb2.RawBuffer()}


def thresholds(**fields):
    return {"thresholds": [fields]}


def static(name, *places, **fields):
    """A STATIC cluster with its endpoints inside."""
    return cluster(name, "STATIC", load_assignment=endpoints(name, locality(*places)), **fields)


def dns(name, host, port, kind="STRICT_DNS", **fields):
    return cluster(name, kind, load_assignment=endpoints(name, locality(endpoint(port, host))), **fields)


# Endpoints


def endpoint(port, host="127.0.0.1", *, weight=None, health=None, **fields):
    place = {"address": {"socket_address": {"address": host, "port_value": port}}, **fields}
    return make(
        endpoint_components_pb2.LbEndpoint, endpoint=place, load_balancing_weight=weight, health_status=health
    )


def locality(*places, region="", zone="z", sub_zone="", priority=0, weight=1, **fields):
    """Endpoints of one place: ports, or pairs of port and host, or what `endpoint` returns."""
    found = []
    for place in places:
        if isinstance(place, int):
            place = endpoint(place)
        elif isinstance(place, tuple):
            place = endpoint(*place)
        found.append(place)
    return make(
        endpoint_components_pb2.LocalityLbEndpoints, lb_endpoints=found, priority=priority, load_balancing_weight=weight,
        locality={"region": region, "zone": zone, "sub_zone": sub_zone}, **fields,
    )


def endpoints(name, *localities, drops=None, **policy):
    if drops:
        policy["drop_overloads"] = [
            {"category": category, "drop_percentage": {"numerator": percent}} for category, percent in drops.items()
        ]
    return make(
        endpoint_pb2.ClusterLoadAssignment, cluster_name=name, endpoints=localities, policy=policy or None
    )


# TLS


def upstream_tls(ca=None, *, identity=None, ca_secret=None, identity_secret=None, sans=(), sni="", ca_text=None,
                 validation=None, common=None, **fields):
    """An UpstreamTlsContext: from files, from texts inline, or from secrets of the given names."""
    checks = dict(validation or {})
    if ca is not None:
        checks["trusted_ca"] = {"filename": str(ca)}
    if ca_text is not None:
        checks["trusted_ca"] = {"inline_string": ca_text}
    if sans:
        checks["match_typed_subject_alt_names"] = list(sans)
    inside = dict(common or {})
    if ca_secret and checks:
        inside["combined_validation_context"] = {
            "default_validation_context": checks,
            "validation_context_sds_secret_config": {"name": ca_secret, "sds_config": ADS},
        }
    elif ca_secret:
        inside["validation_context_sds_secret_config"] = {"name": ca_secret, "sds_config": ADS}
    elif checks:
        inside["validation_context"] = checks
    if identity is not None:
        inside["tls_certificates"] = [certificate_files(identity)]
    if identity_secret is not None:
        inside["tls_certificate_sds_secret_configs"] = [{"name": identity_secret, "sds_config": ADS}]
    return make(tls_pb2.UpstreamTlsContext, common_tls_context=inside, sni=sni, **fields)


def certificate_files(identity):
    return {
        "certificate_chain": {"filename": str(identity.certificate)},
        "private_key": {"filename": str(identity.key)},
    }


def san(kind="DNS", **fields):
    return {"san_type": kind, "matcher": fields}


def secret_certificate(name, identity):
    """A Secret with a certificate and its key inline."""
    return make(secret_pb2.Secret, name=name, tls_certificate={
        "certificate_chain": {"inline_bytes": identity.certificate.read_bytes()},
        "private_key": {"inline_bytes": identity.key.read_bytes()},
    })


def secret_ca(name, path, **fields):
    """A Secret with the authorities that are trusted, inline."""
    return make(
        secret_pb2.Secret, name=name,
        validation_context={"trusted_ca": {"inline_bytes": path.read_bytes()}, **fields},
    )


# Runtime


def runtime(name="runtime", **layer):
    """A layer; `__` in a key stands for a dot."""
    return make(rtds_pb2.Runtime, name=name, layer={key.replace("__", "."): value for key, value in layer.items()})


# Whole graphs


def graph(port, name="ingest.example.com", cluster_name="telemetry", **action):
    """The smallest configuration that carries a request: XDS.md §2.14."""
    return [
        cluster(cluster_name), endpoints(cluster_name, locality(port)), listener(name),
        route_configuration("routes", virtual_host(route(cluster_name, **action))),
    ]

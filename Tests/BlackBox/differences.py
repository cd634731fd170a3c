"""grpcio, Envoy and Spoke under one control plane, asked the same things."""

from control_plane import ControlPlane
from resources import CDS, EDS, RDS, cluster, endpoints, locality
from spoke_xds import chosen_cluster
from upstream import Answer, Upstream

CALL = "/spoke.Test/Call"
CLUSTERS = 24
NODES = ("grpcio", "envoy", "board-1")


def name(number) -> str:
    return f"c{number}"


def name_at(address) -> str | None:
    return name(int(address.rpartition(".")[2])) if address else None


def clusters(port, count=CLUSTERS, **fields):
    """c1, c2, …, each with one endpoint: 127.0.0.1, 127.0.0.2, …"""
    for number in range(1, count + 1):
        yield cluster(name(number), **fields)
        yield endpoints(name(number), locality((port, f"127.0.0.{number}")))


def everywhere(make_upstream, count, rule) -> Upstream:
    """An upstream at 127.0.0.1, 127.0.0.2, …, on one port."""
    return make_upstream(rule=rule, addresses=[f"127.0.0.{n}" for n in range(1, count + 1)])


def grpc_answer(request):
    """The upstream as a gRPC server: the message is the address that took the request."""
    body = request.address.encode()
    return Answer(
        headers=[("content-type", "application/grpc")], body=b"\0" + len(body).to_bytes(4, "big") + body,
        trailers=[("grpc-status", "0")],
    )


def address_answer(request):
    """To grpcio as a gRPC server, to others with the address in a field."""
    if request.header("content-type") == "application/grpc":
        return grpc_answer(request)
    return Answer(headers=[("x-address", request.address)])


class Clients:
    """The three. Each says which cluster a request (authority, path, headers) goes to; None: there is no route."""

    def __init__(self, plane: ControlPlane, upstream: Upstream, grpcio, envoy, line):
        self.plane, self.upstream = plane, upstream
        self.grpcio, self.envoy, self.line = grpcio, envoy, line

    def wait_for_acks(self, *kinds):
        nodes = [n for n, client in zip(NODES, (self.grpcio, self.envoy, self.line)) if client is not None]
        for node in nodes:
            for kind in kinds or (RDS, CDS, EDS):
                self.plane.wait_for_ack(kind, node=node)

    def by_grpcio(self, requests) -> list[str | None]:
        results = self.grpcio.call(*[(path, headers, host) for host, path, headers in requests])
        return [name_at(result.get("body")) for result in results]

    def by_envoy(self, requests) -> list[str | None]:
        found = []
        for host, path, headers in requests:
            status, answered = self.envoy.request(host, path, headers)
            # 503: `cluster_header` names no cluster.
            assert status in (200, 404, 503), (status, host, path, headers)
            found.append(name_at(answered.get("x-address")))
        return found

    def by_spoke(self, requests) -> list[str | None]:
        return [chosen_cluster(self.line.spoke, path, host, headers) for host, path, headers in requests]


def differing(requests, *choices):
    return [entry for entry in zip(requests, *choices) if len(set(entry[1:])) > 1]

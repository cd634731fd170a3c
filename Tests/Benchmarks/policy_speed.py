"""How policies are taken and obeyed: endpoints, beside grpcio's own xDS client, and routes.

As a program it prints its own rows alone.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "Tests/BlackBox"))

from broker import Broker, Publisher  # noqa: E402
from control_plane import ControlPlane  # noqa: E402
from differences import CALL, address_answer  # noqa: E402
from envoy.extensions.load_balancing_policies.pick_first.v3 import pick_first_pb2  # noqa: E402
from envoy.extensions.load_balancing_policies.round_robin.v3 import round_robin_pb2  # noqa: E402
from grpc_client import GrpcClient  # noqa: E402
from processes import instructions, memory, nanoseconds, processor_seconds  # noqa: E402
from resources import (  # noqa: E402
    CDS, EDS, RDS, cluster, endpoint, endpoints, listener, locality, route, route_configuration, virtual_host, weighted,
)
from spoke import Spoke, configuration, mqtt, stream  # noqa: E402
from spoke_xds import CONNECTED, NAME, Target, table as xds_table  # noqa: E402
from table import Table  # noqa: E402
from upstream import Upstream  # noqa: E402

PROBE = str(ROOT / ".build/release/probe")
# gRPC takes the first, which connects to one endpoint and not to every one of them; Spoke has the second.
BALANCING = {"policies": [
    {"typed_extension_config": {"name": kind.DESCRIPTOR.name, "typed_config": kind()}}
    for kind in (pick_first_pb2.PickFirst, round_robin_pb2.RoundRobin)
]}


def names(count):
    return [f"cluster-{number}" for number in range(count)]


def assignment(name, live, count, change):
    """One endpoint that lives, the others of the documentation's addresses, another port at each change."""
    others = (
        endpoint(10_000 + change, f"198.51.{100 + number // 250}.{number % 250 + 1}") for number in range(count - 1)
    )
    return endpoints(name, locality(live, *others))


class Steered:
    """Spoke and, if wanted, grpcio under one control plane with some clusters of some endpoints."""

    def __init__(self, folder, clusters, count, peer=False, transport="sotw"):
        folder.mkdir()
        self.upstream = Upstream(rule=address_answer)
        self.clusters, self.changes = clusters, 0
        self.plane = ControlPlane(
            listener(NAME), *(cluster(name, load_balancing_policy=BALANCING) for name in names(clusters)),
            *self.assignments(count, clusters),
            route_configuration("routes", virtual_host(route(**weighted(**dict.fromkeys(names(clusters), 1))))),
        )
        self.broker, self.spoke = Broker(folder, "max_queued_messages 0"), Spoke(folder)
        self.spoke.start(configuration(
            folder, stream("state", Target().url, path="/v1/state", content_type="application/json"),
            mqtt(self.broker.url, ("in/state", "state")), xds_table(folder, self.plane.url, transport=transport),
            spool="", log="warning",
        ))
        self.spoke.wait_for_stat(CONNECTED, 1)
        self.spoke.wait_for_stat("spoke.mqtt.connected", 1)
        self.grpcio = GrpcClient(folder, f"127.0.0.1:{self.plane.port}") if peer else None
        self.processes = {"board-1": self.spoke.process.pid}
        if peer:
            self.processes["grpcio"] = self.grpcio.process.pid
            assert self.grpcio.call(*[(CALL, [])] * 20)[0]["code"] == "OK"
        publisher = Publisher(self.broker)
        for _ in range(20):
            publisher.publish("in/state", b"x")
        publisher.flush()
        publisher.close()
        self.spoke.wait_for_stat("spoke.stream.state.delivered", 20)
        self.settle(CDS, RDS, EDS)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.spoke.cleanup()
        self.broker.stop()
        if self.grpcio:
            self.grpcio.stop()
        self.plane.stop()
        self.upstream.stop()

    def assignments(self, count, clusters):
        self.changes += 1
        return [assignment(name, self.upstream.port, count, self.changes) for name in names(clusters)]

    def settle(self, *kinds):
        for node in self.processes:
            for kind in kinds:
                self.plane.wait_for_ack(kind, node=node, seconds=60)
        time.sleep(0.3)

    def cost(self, count, clusters, rounds) -> dict[str, float]:
        """Of each process: seconds of processor time for each time that so many clusters change."""
        before = {node: nanoseconds(pid) for node, pid in self.processes.items()}
        for _ in range(rounds):
            self.plane.set(*self.assignments(count, clusters))
            for node in self.processes:
                self.plane.wait_for_ack(EDS, node=node, seconds=60)
        time.sleep(0.3)
        return {node: (nanoseconds(pid) - before[node]) / rounds / 1e9 for node, pid in self.processes.items()}

    def private(self) -> dict[str, int]:
        found = {node: memory(pid) for node, pid in self.processes.items()}
        return {node: m["Private_Dirty"] + m["Private_Clean"] for node, m in found.items()}


def measure_endpoints(table, folder, quick):
    """1,000 endpoints in four assignments: a cluster may have 256."""
    peer = "grpcio's xDS client"
    with Steered(folder / "endpoints", 4, 1, peer=True) as steered:
        before = steered.private()
        steered.plane.set(*steered.assignments(250, 4))
        steered.settle(EDS)
        after = steered.private()
        ours, theirs = (after[node] - before[node] for node in ("board-1", "grpcio"))
        table.row("private memory for 1,000 endpoints of EDS", ours, theirs, peer, None, "KiB")
        costs = steered.cost(250, 4, 10 if quick else 50)
        table.row("CPU for a push of 1,000 changed endpoints, whole process", costs["board-1"] * 1e3,
                  costs["grpcio"] * 1e3, peer, None, "ms")


def measure_change(table, folder, quick):
    """What the daemon does from the first byte to the last effect: what is in force is so before all of it is done."""
    for transport in ("delta", "sotw"):
        # With one endpoint each until the records are through: nobody answers at the others.
        with Steered(folder / transport, 64, 1, transport=transport) as steered:
            steered.plane.set(*steered.assignments(256, 64))
            steered.settle(EDS)
            cost = steered.cost(256, 1, 10 if quick else 50)["board-1"]
            table.row(f"CPU for a changed EDS, 64 clusters of 256 endpoints, {transport}", cost * 1e3, None, "", 10, "ms")
            rss = memory(steered.spoke.process.pid)["Rss"]
            table.row(f"resident memory, 64 clusters of 256 endpoints, {transport}", rss, None, "", 14 * 1024, "KiB")


def measure_routes(table, folder, quick):
    """Routing alone, by requests that take one route after the other; less what building them costs."""
    rounds = 200_000 if quick else 2_000_000
    # valgrind 3.19 stumbles over the debugging information.
    plain = folder / "routes-probe"
    subprocess.run(["strip", "-o", plain, PROBE], check=True)
    for routes in (10, 100, 512):
        command = ["route-speed", str(routes)]
        cost = statistics.median(
            processor_seconds([PROBE, *command, str(rounds)]) - processor_seconds([PROBE, *command, "0"]) for _ in range(3))
        table.row(f"CPU to route a request, {routes} routes", cost / rounds * 1e6, unit="µs")
        few, many = (instructions([str(plain), *command, str(count)], folder) for count in (512, 2560))
        table.row(f"instructions to route a request, {routes} routes", (many - few) // 2048)


def measure(table, folder, quick):
    for part in (measure_routes, measure_endpoints, measure_change):
        part(table, folder, quick)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="spoke-bench-") as work:
        measure(Table("Tests/Benchmarks/policy_speed.py"), Path(work), "--quick" in sys.argv)

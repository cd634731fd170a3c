import shutil
import sys
import tempfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from broker import Broker, Publisher  # noqa: E402
from certificates import Authority  # noqa: E402
from control_plane import ControlPlane  # noqa: E402
from differences import CALL, CLUSTERS, Clients, address_answer, clusters, everywhere  # noqa: E402
from envoy_client import EnvoyClient  # noqa: E402
from grpc_client import GrpcClient  # noqa: E402
from relay import Relay  # noqa: E402
from resources import listener  # noqa: E402
from serialport import BoardEmulator, Terminal  # noqa: E402
from spoke import SMALL_SPOOL, Spoke, configuration, mqtt, stream, tls  # noqa: E402
from upstream import Upstream  # noqa: E402
from upstream_http1 import PlainUpstream  # noqa: E402
from waiting import wait_until  # noqa: E402
from spoke_xds import CONNECTED, NAME, Target, table  # noqa: E402


@pytest.fixture
def folder(request):
    """A folder with a short path: the names of Unix sockets are short."""
    path = Path(tempfile.mkdtemp(prefix="spoke-"))
    yield path
    failed = getattr(request.node, "failed", False)
    if failed:
        print(f"left for a look: {path}")
    else:
        shutil.rmtree(path, ignore_errors=True)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    if outcome.get_result().failed:
        item.failed = True


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session")
def identity(authority):
    return authority.server("server")


@pytest.fixture
def spoke(folder):
    daemon = Spoke(folder)
    yield daemon
    daemon.cleanup()


@pytest.fixture
def make_upstream():
    made = []

    def make(*arguments, **keys):
        made.append(Upstream(*arguments, **keys))
        return made[-1]

    yield make
    for upstream in made:
        upstream.stop()


@pytest.fixture
def make_plain_upstream():
    made = []

    def make(**keys):
        made.append(PlainUpstream(**keys))
        return made[-1]

    yield make
    for upstream in made:
        upstream.stop()


@pytest.fixture
def make_server(folder, identity, make_upstream, make_plain_upstream):
    """Starts a server of others, with an upstream behind it if it is a proxy."""
    made = []

    def make(kind, secure, rule=None, **options):
        backs = {"h2": make_upstream, "http/1.1": make_plain_upstream, None: lambda rule: None}
        made.append(kind(folder, identity, secure, backs[kind.back_speaks](rule=rule), **options))
        return made[-1]

    yield make
    for server in made:
        server.stop()


@pytest.fixture
def make_plane():
    made = []

    def make(*resources, **keys):
        made.append(ControlPlane(*resources, **keys))
        return made[-1]

    yield make
    for plane in made:
        plane.stop()


@pytest.fixture
def make_grpc_client(folder):
    made = []

    def make(plane, *arguments, **keys):
        made.append(GrpcClient(folder, f"127.0.0.1:{plane.port}", *arguments, **keys))
        return made[-1]

    yield make
    for client in made:
        client.stop()


@pytest.fixture
def make_envoy_client(folder):
    made = []

    def make(plane, **keys):
        made.append(EnvoyClient(folder, plane, **keys))
        return made[-1]

    yield make
    for client in made:
        client.stop()


@pytest.fixture
def make_relay():
    made = []

    def make(*arguments, **keys):
        made.append(Relay(*arguments, **keys))
        return made[-1]

    yield make
    for relay in made:
        relay.stop()


@pytest.fixture
def make_broker(folder):
    made = []

    def make(*options, **keys):
        made.append(Broker(folder, *options, **keys))
        return made[-1]

    yield make
    for broker in made:
        broker.resume() if broker.process.poll() is None else None
        broker.stop()


@pytest.fixture
def make_publisher():
    made = []

    def make(broker, **keys):
        made.append(Publisher(broker, **keys))
        return made[-1]

    yield make
    for publisher in made:
        publisher.close()


@pytest.fixture
def make_terminal(folder):
    made = []

    def make(name="tty"):
        made.append(Terminal(folder / name))
        return made[-1]

    yield make
    for terminal in made:
        terminal.close()


@pytest.fixture
def make_emulator(folder):
    made = []

    def make(*arguments, **keys):
        made.append(BoardEmulator(folder, *arguments, **keys))
        return made[-1]

    yield make
    for emulator in made:
        emulator.stop()


class Line:
    """MQTT in, one stream out: what most tests start from."""

    def __init__(self, spoke, broker, publisher, upstream, text):
        self.spoke, self.broker, self.publisher = spoke, broker, publisher
        self.upstream, self.text = upstream, text

    def publish(self, *payloads: bytes, topic="in/state"):
        for payload in payloads:
            self.publisher.publish(topic, payload)
        self.publisher.flush()


@pytest.fixture
def make_line(folder, spoke, make_broker, make_publisher, authority):
    """Starts a broker, a publisher and a daemon whose stream `state` goes to an upstream."""

    def make(upstream, *parts, reports=False, spool=SMALL_SPOOL, filters=None, **keys):
        broker = make_broker("max_queued_messages 0")
        if upstream.url.startswith("https"):
            keys.setdefault("tls", "fleet")
            parts += (tls("fleet", ca=authority.certificate),)
        settings = {"path": "/v1/state", "content_type": "application/json", "durability": "sync"}
        parts = (
            stream("state", upstream.url, **{**settings, **keys}),
            mqtt(broker.url, *(filters or [("in/state", "state")])),
            *parts,
        )
        if reports:
            secure = {"tls": keys["tls"]} if "tls" in keys else {}
            parts += (
                stream("health", upstream.url, path="/v1/health", content_type="application/json",
                       priority="event", durability="sync", **secure),
                '[reports]\nstream = "health"\n',
            )
        text = configuration(folder, *parts, spool=spool)
        spoke.start(text)
        wait_until(lambda: spoke.stat("spoke.mqtt.connected") == 1, lambda: f"MQTT: {spoke.log}")
        return Line(spoke, broker, make_publisher(broker), upstream, text)

    return make


@pytest.fixture
def make_xds_line(folder, make_line):
    """A line whose stream goes to `xds:///ingest.example.com`, under the control planes given."""

    def make(*planes, xds=(), parts=(), connected=True, url=Target.url, **keys):
        line = make_line(Target(url), table(folder, *(p.url for p in planes), **dict(xds)), *parts, **keys)
        if connected and planes:
            line.spoke.wait_for_stat(CONNECTED, 1)
        return line

    return make


@pytest.fixture
def make_clients(make_plane, make_upstream, make_grpc_client, make_envoy_client, make_xds_line):
    """Starts grpcio, Envoy and Spoke under one control plane with the routes and 24 clusters, and waits until each
    has acknowledged them."""

    def make(routes, *more, with_grpcio=True, cluster_fields=(), rule=address_answer, **keys):
        upstream = everywhere(make_upstream, CLUSTERS, rule)
        plane = make_plane(listener(NAME), routes, *clusters(upstream.port, **dict(cluster_fields)), *more)
        grpcio = make_grpc_client(plane) if with_grpcio else None
        envoy = make_envoy_client(plane)
        made = Clients(plane, upstream, grpcio, envoy, make_xds_line(plane, **keys))
        envoy.wait_until_live()
        if with_grpcio:
            grpcio.call((CALL, []))
        made.wait_for_acks()
        return made

    return make

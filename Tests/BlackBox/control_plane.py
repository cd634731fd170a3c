"""A management server that does what a test tells it to, on grpcio and xds-protos: ADS in both transports, and
LRS, on one port, in the clear or over TLS.

Left alone it serves what `set` gave it: to whoever subscribed, in the order that makes before it breaks. A test
reads every request in `requests`, waits for answers, and misbehaves by `tamper`, `silent`, `on_stream`, or by
what a `Stream` can send. What no gRPC library writes comes from an `Upstream` on its port, while it is stopped.
"""

import itertools
import queue
import threading
import time
from concurrent import futures
from dataclasses import dataclass, field

import grpc
from envoy.service.discovery.v3 import discovery_pb2
from envoy.service.load_stats.v3 import lrs_pb2
from google.protobuf import any_pb2
from ports import free_port
from resources import CDS, EDS, LDS, MAKE_BEFORE_BREAK, SHORT, make, name_of, packed, url
from waiting import wait_until

SERVICE = "/envoy.service.discovery.v3.AggregatedDiscoveryService/"
TRANSPORTS = {SERVICE + "StreamAggregatedResources": "sotw", SERVICE + "DeltaAggregatedResources": "delta"}
LOAD = "/envoy.service.load_stats.v3.LoadReportingService/StreamLoadStats"
WHOLE = (LDS, CDS)  # XDS.md item 9: in a SotW response of these, what is absent is deleted


@dataclass
class Raw:
    """A resource by its bytes, for those that no message of xds-protos would write."""

    type_url: str
    name: str
    value: bytes


@dataclass
class Held:
    """A resource as the server has it."""

    value: any_pb2.Any
    version: str
    ttl: float | None = None


@dataclass
class Sent:
    """A response, and the first request that carried its nonce."""

    stream: "Stream"
    kind: str
    version: str
    nonce: str
    time: float
    answer: "Request | None" = None


@dataclass
class Request:
    """A request as it came."""

    stream: "Stream"
    time: float
    message: object
    answers: Sent | None = None

    @property
    def kind(self) -> str:
        return self.message.type_url

    @property
    def nonce(self) -> str:
        return self.message.response_nonce

    @property
    def version(self) -> str:
        """Delta has none."""
        return getattr(self.message, "version_info", "")

    @property
    def names(self) -> list[str]:
        """What it subscribes to: in SotW all of the type, in delta what is new."""
        delta = self.stream.transport == "delta"
        return list(self.message.resource_names_subscribe if delta else self.message.resource_names)

    @property
    def has_node(self) -> bool:
        return self.message.HasField("node")

    @property
    def is_nack(self) -> bool:
        return self.message.HasField("error_detail")

    @property
    def error(self) -> str:
        return self.message.error_detail.message

    def __str__(self):
        text = f"{self.stream.number} {SHORT.get(self.kind, self.kind)} {self.names} nonce={self.nonce!r}"
        text += f" version={self.version!r}" if self.stream.transport == "sotw" else ""
        return text + (f" NACK {self.error!r}" if self.is_nack else "")


class Stream:
    """One ADS stream, from its first request on."""

    def __init__(self, plane, number, transport, context):
        self.plane, self.number, self.transport, self.peer = plane, number, transport, context.peer()
        self.started = time.monotonic()
        self.open = True
        self.node = ""
        self.requests: list[Request] = []
        self.sent: list[Sent] = []
        self.subscribed: dict[str, set[str]] = {}
        self.wildcard: set[str] = set()
        self._context, self._outgoing = context, queue.SimpleQueue()
        self._nonces = itertools.count(1)
        context.add_callback(self.end)

    def wants(self, kind, name) -> bool:
        return kind in self.wildcard or name in self.subscribed.get(kind, ())

    def next_nonce(self) -> str:
        return f"{self.number}.{next(self._nonces)}"

    def send(self, message):
        """A message, or the bytes of one; its answer is waited for if it has a nonce."""
        if not isinstance(message, bytes):
            version = message.version_info if self.transport == "sotw" else message.system_version_info
            with self.plane.lock:
                self.sent.append(Sent(self, message.type_url, version, message.nonce, time.monotonic()))
            message = message.SerializeToString()
        self._outgoing.put(message)

    def response(self, kind, resources, version, removed=(), errors=(), nonce=None):
        """A response with `resources`: (name, Held or None for a heartbeat) pairs. A resource with a time to live
        needs the wrapper in SotW too."""
        nonce = self.next_nonce() if nonce is None else nonce
        if self.transport == "delta":
            response = discovery_pb2.DeltaDiscoveryResponse(
                system_version_info=version, type_url=kind, nonce=nonce, removed_resources=removed
            )
            response.resources.extend(wrapped(name, held) for name, held in resources)
        else:
            response = discovery_pb2.DiscoveryResponse(version_info=version, type_url=kind, nonce=nonce)
            for name, held in resources:
                plain = held.ttl is None and not self.plane.wraps
                response.resources.append(held.value if plain else packed(wrapped(name, held)))
        response.control_plane.identifier = self.plane.identifier
        for name, code, text in errors:
            response.resource_errors.add(resource_name={"name": name}, error_detail={"code": code, "message": text})
        return response

    def end(self, code=None, details=""):
        """Ends the stream, with a status if there is a code."""
        self._outgoing.put(None if code is None else (code, details))

    def messages(self):
        """What grpcio sends."""
        while (item := self._outgoing.get()) is not None:
            if isinstance(item, tuple):
                self._context.abort(*item)
            yield item


def wrapped(name, held):
    fields = {"resource": held.value} if held.value.type_url else {}
    return make(discovery_pb2.Resource, name=name, version=held.version, ttl=held.ttl, **fields)


@dataclass
class LoadStream:
    """One LRS stream."""

    requests: list[tuple[float, object]] = field(default_factory=list)
    peer: str = ""  # of its connection
    open: bool = True
    outgoing: queue.SimpleQueue = field(default_factory=queue.SimpleQueue)


class ControlPlane:
    """Listens on a free port of 127.0.0.1 until `stop`; `start` then takes the same port."""

    def __init__(self, *resources, identity=None, client_authority=None, identifier="control-plane", paused=False):
        self.identity, self.client_authority, self.identifier = identity, client_authority, identifier
        self.lock = threading.RLock()
        self.port = free_port()
        self.requests: list[Request] = []
        self.streams: list[Stream] = []
        self.load_streams: list[LoadStream] = []
        self.load_response = None  # a LoadStatsResponse; None: LRS is silent
        self.load_refusal = None  # a code and a text: how LRS streams end at once
        # How it behaves
        self.wraps = False  # SotW resources in `Resource` wrappers, too
        self.resends_endpoints = True  # EDS follows CDS: Envoy's clusters warm on it
        self.withholds = False  # says nothing to a new stream that has the version already
        self.silent: set[str] = set()  # types without responses
        self.tamper = {}  # type → function of (stream, response) that yields what is sent instead
        self.errors: dict[str, dict[str, tuple[int, str]]] = {}  # type → name → code and text
        self.on_stream = lambda stream: None  # called at the first request, before anything is sent
        self._held: dict[str, dict[str, Held]] = {}
        self._versions: dict[str, int] = {}
        self._server = None
        self.set(*resources)
        if not paused:
            self.start()

    # Life

    @property
    def url(self) -> str:
        return f"{'https' if self.identity else 'http'}://127.0.0.1:{self.port}"

    def start(self):
        # 4 MiB is what the tests send to see it refused; the limit is the client's to set.
        options = [("grpc.so_reuseport", 0), ("grpc.max_send_message_length", 64 << 20)]
        self._server = grpc.server(futures.ThreadPoolExecutor(64), options=options)
        self._server.add_generic_rpc_handlers((_Handlers(self),))
        place = f"127.0.0.1:{self.port}"
        if self.identity is None:
            bound = self._server.add_insecure_port(place)
        else:
            pair = (self.identity.key.read_bytes(), self.identity.certificate.read_bytes())
            authority = self.client_authority and self.client_authority.read_bytes()
            bound = self._server.add_secure_port(
                place, grpc.ssl_server_credentials([pair], authority, require_client_auth=bool(authority))
            )
        assert bound == self.port
        self._server.start()
        return self

    def stop(self):
        """Cancels every stream and closes every connection, as a host that goes away does."""
        if self._server is None:
            return
        server, self._server = self._server, None
        ended = server.stop(0)
        for stream in self.open_streams():
            stream.end()
        for stream in self.load_streams:
            stream.outgoing.put(None)
        ended.wait()

    # What it serves

    def version(self, kind) -> str:
        return str(self._versions.get(kind, 0))

    def resources(self, kind) -> dict[str, Held]:
        return self._held.get(kind, {})

    def set(self, *resources, ttl=None, order=MAKE_BEFORE_BREAK, push=True):
        """Puts resources, each of its type's next version, and sends them, in the order of types given."""
        changed: dict[str, list[str]] = {}
        with self.lock:
            for resource in resources:
                kind = resource.type_url if isinstance(resource, Raw) else url(resource)
                name = resource.name if isinstance(resource, Raw) else name_of(resource)
                value = any_pb2.Any(type_url=kind, value=resource.value) if isinstance(resource, Raw) else packed(resource)
                if kind not in changed:
                    self._versions[kind] = self._versions.get(kind, 0) + 1
                changed.setdefault(kind, []).append(name)
                self._held.setdefault(kind, {})[name] = Held(value, self.version(kind), ttl)
            if push:
                self.push(changed, order=order)

    def remove(self, kind, *names, push=True):
        with self.lock:
            for name in names:
                del self._held[kind][name]
            self._versions[kind] = self._versions.get(kind, 0) + 1
            for stream in self.open_streams() if push else ():
                gone = [name for name in names if stream.wants(kind, name)]
                if gone and stream.transport == "delta":
                    self._respond(stream, kind, [], removed=gone)
                elif gone and kind in WHOLE:
                    self._respond(stream, kind, None)

    def push(self, changed: dict[str, list[str]], order=MAKE_BEFORE_BREAK):
        """Sends the named resources of each type to the streams that want them."""
        if self.resends_endpoints and CDS in changed:
            again = [n for n in changed[CDS] if n in self.resources(EDS)]
            changed = {**changed, EDS: list(dict.fromkeys(changed.get(EDS, []) + again))}
        for kind in sorted(changed, key=lambda kind: order.index(kind) if kind in order else len(order)):
            for stream in self.open_streams():
                names = [name for name in changed[kind] if stream.wants(kind, name)]
                if names:
                    self._respond(stream, kind, names if stream.transport == "delta" else None)

    def heartbeat(self, kind, *names):
        """Says of resources with a time to live that they live."""
        with self.lock:
            for stream in self.open_streams():
                beats = []
                for name in names:
                    held = self._held[kind][name]
                    beats.append((name, Held(any_pb2.Any(), held.version, held.ttl)))
                self.send(stream, stream.response(kind, beats, self.version(kind)))

    def send_errors(self, kind, **errors):
        """Errors of single resources (xRFC TP3), alone in a response: name → (code, text)."""
        with self.lock:
            for stream in self.open_streams():
                found = [(name, *error) for name, error in errors.items()]
                self.send(stream, stream.response(kind, self._wanted(stream, kind, None), self.version(kind), errors=found))

    # The protocol

    def take(self, stream, message):
        """A request of an ADS stream."""
        with self.lock:
            request = Request(stream, time.monotonic(), message)
            request.answers = next(
                (s for s in stream.sent if s.nonce and s.nonce == request.nonce and s.answer is None), None
            )
            if request.answers is not None:
                request.answers.answer = request
            stream.node = stream.node or message.node.id
            stream.requests.append(request)
            self.requests.append(request)
            if len(stream.requests) == 1:
                self.on_stream(stream)
            if stream.transport == "delta":
                self._take_delta(stream, message)
            else:
                self._take_whole(stream, message)

    def _take_whole(self, stream, message):
        kind, names = message.type_url, set(message.resource_names)
        latest = next((s.nonce for s in reversed(stream.sent) if s.kind == kind), "")
        if message.response_nonce and message.response_nonce != latest:
            return  # XDS.md item 5: it was on its way when the newest response was sent
        first = kind not in stream.subscribed
        before = stream.subscribed.get(kind, set())
        if (first and not names and kind in WHOLE) or "*" in names:
            stream.wildcard.add(kind)
        elif names:
            stream.wildcard.discard(kind)
        stream.subscribed[kind] = names - {"*"}
        if first and self.withholds and message.version_info == self.version(kind) != "0":
            return
        news = names - before
        if (first or news) and any(stream.wants(kind, name) for name in [*self.resources(kind), *self.errors.get(kind, ())]):
            self._respond(stream, kind, None)

    def _take_delta(self, stream, message):
        kind = message.type_url
        first = kind not in stream.subscribed
        names = stream.subscribed.setdefault(kind, set())
        subscribed = set(message.resource_names_subscribe)
        if (first and not subscribed and kind in WHOLE) or "*" in subscribed:
            stream.wildcard.add(kind)
        if "*" in message.resource_names_unsubscribe:
            stream.wildcard.discard(kind)
        names |= subscribed - {"*"}
        names -= set(message.resource_names_unsubscribe)
        if not first and not subscribed:
            return
        known = dict(message.initial_resource_versions)
        held = self.resources(kind)
        wanted = held if kind in stream.wildcard else subscribed
        fresh = [n for n in wanted if n in held and known.get(n) != held[n].version]
        missing = [n for n in {*subscribed, *known} - {"*"} if n not in held and n not in self.errors.get(kind, ())]
        if fresh or missing or self.errors.get(kind):
            self._respond(stream, kind, fresh, removed=missing)

    def _wanted(self, stream, kind, names):
        held = self.resources(kind)
        return [(n, h) for n, h in held.items() if stream.wants(kind, n) and (names is None or n in names)]

    def _respond(self, stream, kind, names, removed=()):
        errors = [(n, *e) for n, e in self.errors.get(kind, {}).items() if stream.wants(kind, n)]
        self.send(stream, stream.response(kind, self._wanted(stream, kind, names), self.version(kind), removed, errors))

    def send(self, stream, response):
        """Sends a response, or what `tamper` makes of it."""
        kind = response.type_url
        if kind in self.silent:
            return
        for message in self.tamper[kind](stream, response) if kind in self.tamper else [response]:
            stream.send(message)

    # Load reports

    def report_loads(self, interval, *clusters, **fields):
        """Asks for load reports: of the clusters named, or of all."""
        self.load_response = make(
            lrs_pb2.LoadStatsResponse, load_reporting_interval=interval, clusters=clusters,
            send_all_clusters=not clusters, **fields,
        )
        for stream in self.load_streams:
            stream.outgoing.put(self.load_response.SerializeToString())

    def load_requests(self) -> list[tuple[float, object]]:
        return [entry for stream in list(self.load_streams) for entry in list(stream.requests)]

    # What a test waits for

    def open_streams(self, node=None) -> list[Stream]:
        with self.lock:
            return [s for s in self.streams if s.open and (node is None or s.node == node)]

    def of(self, kind, node=None) -> list[Request]:
        with self.lock:
            return [r for r in self.requests if r.kind == kind and (node is None or r.stream.node == node)]

    def nacks(self, kind=None) -> list[Request]:
        with self.lock:
            return [r for r in self.requests if r.is_nack and kind in (None, r.kind)]

    def describe(self) -> str:
        with self.lock:
            return "the last requests:\n" + "\n".join(map(str, self.requests[-20:]))

    def wait(self, predicate, what, seconds=15.0):
        return wait_until(predicate, lambda: f"{what() if callable(what) else what}; {self.describe()}", seconds)

    def wait_for_streams(self, count=1, seconds=15.0) -> Stream:
        """Waits until so many streams were opened, ever; the newest one."""
        self.wait(lambda: len(self.streams) >= count and self.streams[-1].requests, f"{count} streams", seconds)
        return self.streams[-1]

    def wait_for_names(self, kind, *names, seconds=15.0, node=None):
        def subscribed():
            return any(s.subscribed.get(kind) == set(names) for s in self.open_streams(node))

        self.wait(subscribed, f"a subscription to {SHORT[kind]} {names}", seconds)

    def wait_for_answer(self, kind, version=None, node=None, seconds=15.0) -> Request:
        """The first request behind the newest response of the type, which has the version given, or the newest."""

        def answered():
            with self.lock:
                wanted = version or self.version(kind)
                found = [s for s in self.streams if node is None or s.node == node]
                sent = [x for stream in found for x in stream.sent if x.kind == kind]
                return sent[-1].answer if sent and sent[-1].version == wanted else None

        return self.wait(answered, lambda: f"an answer to {SHORT[kind]} {version or self.version(kind)}", seconds)

    def wait_for_ack(self, kind, version=None, node=None, seconds=15.0) -> Request:
        answer = self.wait_for_answer(kind, version, node, seconds)
        assert not answer.is_nack, f"NACK: {answer.error}"
        return answer

    def wait_for_nack(self, kind, version=None, node=None, seconds=15.0) -> Request:
        answer = self.wait_for_answer(kind, version, node, seconds)
        assert answer.is_nack, f"ACK of what had to be refused: {answer}"
        return answer


class _Handlers(grpc.GenericRpcHandler):
    def __init__(self, plane):
        self.plane = plane

    def service(self, details):
        if details.method in TRANSPORTS:
            transport = TRANSPORTS[details.method]
            return grpc.stream_stream_rpc_method_handler(
                lambda requests, context: self._discover(transport, requests, context)
            )
        if details.method == LOAD:
            return grpc.stream_stream_rpc_method_handler(self._report)
        return None

    def _discover(self, transport, requests, context):
        plane = self.plane
        with plane.lock:
            stream = Stream(plane, len(plane.streams) + 1, transport, context)
            plane.streams.append(stream)
        kind = discovery_pb2.DeltaDiscoveryRequest if transport == "delta" else discovery_pb2.DiscoveryRequest
        threading.Thread(
            target=_read, args=(requests, lambda data: plane.take(stream, kind.FromString(data)), stream.end),
            daemon=True,
        ).start()
        try:
            yield from stream.messages()
        finally:
            stream.open = False

    def _report(self, requests, context):
        plane, stream = self.plane, LoadStream(peer=context.peer())
        if plane.load_refusal is not None:
            context.abort(*plane.load_refusal)
        plane.load_streams.append(stream)
        context.add_callback(lambda: stream.outgoing.put(None))

        def take(data):
            stream.requests.append((time.monotonic(), lrs_pb2.LoadStatsRequest.FromString(data)))
            if len(stream.requests) == 1 and plane.load_response is not None:
                stream.outgoing.put(plane.load_response.SerializeToString())

        threading.Thread(
            target=_read, args=(requests, take, lambda: stream.outgoing.put(None)), daemon=True
        ).start()
        try:
            while (message := stream.outgoing.get()) is not None:
                yield message
        finally:
            stream.open = False


def _read(requests, take, ended):
    try:
        for data in requests:
            take(data)
    except grpc.RpcError:
        pass  # the stream was cancelled
    except Exception as error:
        # grpcio raises a bare Exception from the iterator of a stream that is over.
        if type(error) is not Exception:
            raise
    ended()

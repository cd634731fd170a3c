"""An HTTP/2 upstream that does what a test tells it to, on the `h2` package, over TLS or as h2c.

One thread runs every connection. A test gives a rule, a function from a request to an `Answer`; it is
asked when a request has arrived whole, or with `on_headers` when its header block has.
"""

import heapq
import itertools
import selectors
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings
import hyperframe.frame
from ports import free_port
from waiting import wait_until


@dataclass
class Request:
    """A request as it arrived."""

    connection: int
    stream: int
    headers: list[tuple[str, str]]
    body: bytes = b""
    trailers: list[tuple[str, str]] = field(default_factory=list)
    complete: bool = False
    reset: int | None = None
    time: float = 0.0
    address: str = ""  # where the upstream took the connection

    def header(self, name: str) -> str | None:
        values = [value for key, value in self.headers if key == name]
        assert len(values) <= 1, f"{name} appears {len(values)} times"
        return values[0] if values else None

    @property
    def id(self) -> str:
        return self.header("ce-id")

    @property
    def path(self) -> str:
        return self.header(":path")


@dataclass
class Answer:
    """What the upstream does with a request. The first of these that is set is done."""

    drop: bool = False  # close the TCP connection at once
    stall: bool = False  # never answer
    reset: int | None = None  # RST_STREAM with this code
    go_away: int | None = None  # GOAWAY, last stream = this number, then no answer
    status: int = 200
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    trailers: list[tuple[str, str]] | None = None
    informational: list[list[tuple[str, str]]] = field(default_factory=list)
    delay: float = 0.0
    reset_after_headers: int | None = None  # RST_STREAM behind the response's HEADERS
    go_away_after: bool = False  # GOAWAY behind the answer
    frame_size: int | None = None  # HEADERS and CONTINUATION frames of at most this size
    hold: bool = False  # answered by Upstream.release
    stays_open: bool = False  # the body does not end the stream


class _Connection:
    def __init__(self, number, sock, context, settings):
        self.number = number
        self.socket = sock
        self.address = sock.getsockname()[0]
        self.out = bytearray()
        self.tls = None
        if context is not None:
            self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            self.tls = context.wrap_bio(self.incoming, self.outgoing, server_side=True)
        self.established = context is None
        configuration = h2.config.H2Configuration(
            client_side=False, header_encoding="utf-8", validate_inbound_headers=True
        )
        self.h2 = h2.connection.H2Connection(configuration)
        self.h2.local_settings = h2.settings.Settings(
            client=False,
            initial_values={
                h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: 100,
                h2.settings.SettingCodes.MAX_HEADER_LIST_SIZE: 65536,
            },
        )
        self.settings = settings
        if self.established:
            self.begin()
        self.requests: dict[int, Request] = {}
        self.pending: dict[int, tuple[bytearray, list | None, bool]] = {}
        self.answered: set[int] = set()
        self.peer = None
        self.bytes_in = 0
        self.closed = False

    def begin(self):
        """Sends SETTINGS. A test's own come in a second frame: they hold once they are acknowledged,
        so a client that sent data before it could know of a smaller window is not at fault."""
        self.h2.initiate_connection()
        if self.settings:
            self.h2.update_settings(self.settings)

    def go_away(self, last_stream, code=0):
        """GOAWAY as a frame of its own: the package would answer nothing behind it, and the streams
        up to the last one are still to be answered."""
        frame = hyperframe.frame.GoAwayFrame(0, last_stream_id=last_stream, error_code=code)
        self.h2._data_to_send += frame.serialize()


class Upstream:
    """Listens on a free port of localhost (IPv4, and IPv6 where there is any) until `stop`."""

    def __init__(self, identity=None, rule=None, *, alpn=("h2",), client_authority=None,
                 settings=None, port=0, paused=False, settle=None,
                 addresses=("127.0.0.1", "::1")):
        self.identity = identity
        self.rule: Callable[[Request], Answer] = rule or (lambda request: Answer())
        self.on_headers: Callable[[Request], Answer | None] = lambda request: None
        self.alpn = alpn
        self.client_authority = client_authority
        self.settings = settings or {}
        self.consume = True  # False: received DATA gives no window back
        self.requests: list[Request] = []
        self.connections = 0
        self.open_connections: dict[socket.socket, _Connection] = {}
        self.failed_handshakes: list[str] = []
        self.protocol_errors: list[str] = []
        self.peers: list[dict] = []
        self.resumed: list[bool] = []  # whether each handshake resumed a session
        self.settle = settle  # a function that changes the server's SSLContext
        self.addresses = addresses
        self.port = port or free_port()
        self._lock = threading.Lock()
        self._thread = None
        self._held: list[tuple[_Connection, int, Answer]] = []
        if not paused:
            self.start()

    # Life

    def _listen(self):
        listeners = []
        for address in self.addresses:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            try:
                listener = socket.socket(family)
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                listener.bind((address, self.port))
            except OSError:
                # A machine without IPv6; one address there must be.
                if not listeners:
                    raise
                continue
            listeners.append(listener)
        for listener in listeners:
            listener.listen(64)
            listener.setblocking(False)
        return listeners

    def start(self):
        assert self._thread is None
        self._listeners = self._listen()
        self._selector = selectors.DefaultSelector()
        self._timers, self._order = [], itertools.count()
        self._calls, self._wake = [], socket.socketpair()
        self._wake[0].setblocking(False)
        self._running = True
        self._context = self._make_context()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def stop(self):
        """Closes the listeners and every connection, as a host that went away does."""
        if self._thread is None:
            return
        self._running = False
        self._wake[1].send(b"x")
        self._thread.join()
        self._thread = None

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.stop()

    def _make_context(self):
        if self.identity is None:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.identity.certificate, self.identity.key)
        if self.alpn:
            context.set_alpn_protocols(list(self.alpn))
        if self.settle is not None:
            self.settle(context)
        if self.client_authority is not None:
            context.load_verify_locations(self.client_authority)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    # What a test asks

    @property
    def url(self) -> str:
        return f"{'https' if self.identity else 'http'}://localhost:{self.port}"

    def whole(self) -> list[Request]:
        """The requests that arrived whole, in the order in which they ended."""
        with self._lock:
            return sorted((r for r in self.requests if r.complete), key=lambda r: r.time)

    def forget(self):
        """What came until now: to look through all of it each time would keep the upstream from answering."""
        with self._lock:
            self.requests.clear()

    def wait_for(self, count, seconds=15.0) -> list[Request]:
        wait_until(
            lambda: len(self.whole()) >= count,
            lambda: f"{count} requests upstream; {len(self.whole())} came: "
            f"{[r.body[:40] for r in self.whole()[-5:]]}",
            seconds,
        )
        return self.whole()

    def wait_for_body(self, body: bytes, seconds=15.0) -> Request:
        def found():
            return next((r for r in self.whole() if r.body == body), None)

        return wait_until(found, lambda: f"a request with the body {body!r}", seconds)

    def wait_for_path(self, path: str, seconds=15.0):
        """Until a request for it has arrived whole."""
        wait_until(lambda: any(r.path == path for r in self.whole()), f"a request for {path}", seconds)

    def release(self):
        """Answers every held request."""
        self.call(self._release)

    def go_away(self, code=h2.errors.ErrorCodes.NO_ERROR, last_stream=None):
        """GOAWAY on every connection."""

        def send():
            for connection in self.open_connections.values():
                latest = max(connection.requests, default=0)
                connection.go_away(latest if last_stream is None else last_stream, int(code))
                self._flush(connection)

        self.call(send)

    def drop_connections(self):
        self.call(lambda: [self._close(c) for c in list(self.open_connections.values())])

    def call(self, function):
        """Runs the function on the upstream's own thread and waits for it."""
        done = threading.Event()

        def run():
            try:
                function()
            finally:
                done.set()

        with self._lock:
            self._calls.append(run)
        self._wake[1].send(b"x")
        assert done.wait(30), "the upstream's thread hangs"

    # The thread

    def _run(self):
        for listener in self._listeners:
            self._selector.register(listener, selectors.EVENT_READ, "listener")
        self._selector.register(self._wake[0], selectors.EVENT_READ, "wake")
        while self._running:
            timeout = max(0, self._timers[0][0] - time.monotonic()) if self._timers else None
            for key, events in self._selector.select(timeout):
                if key.data == "listener":
                    self._accept(key.fileobj)
                elif key.data == "wake":
                    self._wake[0].recv(4096)
                else:
                    self._ready(key.data, events)
            while self._timers and self._timers[0][0] <= time.monotonic():
                heapq.heappop(self._timers)[2]()
            with self._lock:
                calls, self._calls = self._calls, []
            for function in calls:
                function()
        for connection in list(self.open_connections.values()):
            self._close(connection)
        for listener in self._listeners:
            listener.close()
        self._selector.close()
        self._held = []

    def _later(self, seconds, function):
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._order), function))

    def _accept(self, listener):
        try:
            sock, _ = listener.accept()
        except OSError:
            return
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connections += 1
        connection = _Connection(
            self.connections, sock, self._context, self.settings
        )
        self.open_connections[sock] = connection
        self._selector.register(sock, selectors.EVENT_READ, connection)
        self._flush(connection)

    def _close(self, connection):
        if connection.closed:
            return
        connection.closed = True
        self._selector.unregister(connection.socket)
        self.open_connections.pop(connection.socket, None)
        connection.socket.close()

    def _ready(self, connection, events):
        if connection.closed:
            return
        if events & selectors.EVENT_READ:
            try:
                data = connection.socket.recv(65536)
            except BlockingIOError:
                data = None
            except OSError:
                data = b""
            if data == b"":
                self._close(connection)
                return
            if data is not None:
                connection.bytes_in += len(data)
                self._received(connection, data)
        self._flush(connection)

    def _received(self, connection, data):
        if connection.tls is None:
            self._feed(connection, data)
            return
        connection.incoming.write(data)
        try:
            if not connection.established:
                connection.tls.do_handshake()
                connection.established = True
                connection.peer = connection.tls.getpeercert()
                with self._lock:
                    self.peers.append({
                        "alpn": connection.tls.selected_alpn_protocol(),
                        "version": connection.tls.version(),
                        "certificate": connection.peer,
                    })
                    self.resumed.append(connection.tls.session_reused)
                connection.begin()
            while not connection.closed:
                data = connection.tls.read(65536)
                if not data:  # close_notify
                    self._close(connection)
                    return
                self._feed(connection, data)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            if not connection.established:
                self.failed_handshakes.append(str(error))
            self._flush(connection)
            self._close(connection)

    def _feed(self, connection, data):
        if not data:
            return
        try:
            for event in connection.h2.receive_data(data):
                self._event(connection, event)
                if connection.closed:
                    return
        except h2.exceptions.ProtocolError as error:
            with self._lock:
                self.protocol_errors.append(f"{type(error).__name__}: {error}")
            self._flush(connection)
            self._close(connection)

    def _event(self, connection, event):
        if isinstance(event, h2.events.RequestReceived):
            request = Request(
                connection.number, event.stream_id, list(event.headers), address=connection.address
            )
            with self._lock:
                self.requests.append(request)
            connection.requests[event.stream_id] = request
            answer = self.on_headers(request)
            if answer is not None:
                connection.answered.add(event.stream_id)
                self._answer(connection, event.stream_id, answer)
        elif isinstance(event, h2.events.DataReceived):
            connection.requests[event.stream_id].body += event.data
            if self.consume and event.flow_controlled_length:
                try:
                    connection.h2.acknowledge_received_data(
                        event.flow_controlled_length, event.stream_id
                    )
                except h2.exceptions.StreamClosedError:
                    pass
        elif isinstance(event, h2.events.TrailersReceived):
            connection.requests[event.stream_id].trailers = list(event.headers)
        elif isinstance(event, h2.events.StreamEnded):
            self._ended(connection, connection.requests[event.stream_id])
        elif isinstance(event, h2.events.StreamReset):
            request = connection.requests.get(event.stream_id)
            if request is not None:
                request.reset = int(event.error_code)
            connection.pending.pop(event.stream_id, None)
        elif isinstance(event, (h2.events.WindowUpdated, h2.events.RemoteSettingsChanged)):
            for stream in list(connection.pending):
                try:
                    self._send_body(connection, stream)
                except (h2.exceptions.StreamClosedError, h2.exceptions.NoSuchStreamError):
                    # Its reset came along with the window, and is the next event.
                    connection.pending.pop(stream, None)

    def _ended(self, connection, request):
        request.time = time.monotonic()
        if request.stream in connection.answered:
            with self._lock:
                request.complete = True
            return
        answer = self.rule(request)
        with self._lock:
            request.complete = True
        if answer.delay > 0:
            self._later(answer.delay, lambda: self._answer(connection, request.stream, answer))
        else:
            self._answer(connection, request.stream, answer)

    def _release(self):
        held, self._held = self._held, []
        for connection, stream, answer in held:
            answer.hold = False
            self._answer(connection, stream, answer)

    def _answer(self, connection, stream, answer):
        if connection.closed:
            return
        try:
            self._perform(connection, stream, answer)
        except h2.exceptions.ProtocolError as error:
            # The client was faster: it reset the stream, or closed.
            connection.pending.pop(stream, None)
            if not isinstance(error, (h2.exceptions.StreamClosedError, h2.exceptions.NoSuchStreamError)):
                with self._lock:
                    self.protocol_errors.append(f"answering: {error}")
        self._flush(connection)

    def _perform(self, connection, stream, answer):
        if answer.hold:
            self._held.append((connection, stream, answer))
        elif answer.drop:
            self._close(connection)
        elif answer.stall:
            pass
        elif answer.reset is not None:
            connection.h2.reset_stream(stream, answer.reset)
        elif answer.go_away is not None:
            connection.go_away(answer.go_away)
        else:
            for headers in answer.informational:
                connection.h2.send_headers(stream, headers)
            self._respond(connection, stream, answer)
            if answer.go_away_after:
                connection.go_away(stream)

    def _respond(self, connection, stream, answer):
        headers = [(":status", str(answer.status)), *answer.headers]
        ends = not answer.body and answer.trailers is None and answer.reset_after_headers is None and not answer.stays_open
        usual = connection.h2.max_outbound_frame_size
        # h2 cuts a header block by the stream's limit, and checks it against the connection's.
        one = connection.h2.streams[stream]
        one.max_outbound_frame_size = answer.frame_size or usual
        connection.h2.send_headers(stream, headers, end_stream=ends)
        one.max_outbound_frame_size = usual
        if answer.reset_after_headers is not None:
            connection.h2.reset_stream(stream, answer.reset_after_headers)
        elif not ends:
            connection.pending[stream] = (bytearray(answer.body), answer.trailers, answer.stays_open)
            self._send_body(connection, stream)

    def _send_body(self, connection, stream):
        body, trailers, stays_open = connection.pending[stream]
        while body:
            room = min(
                connection.h2.local_flow_control_window(stream),
                connection.h2.max_outbound_frame_size,
                len(body),
            )
            if room <= 0:
                return
            chunk = bytes(body[:room])
            del body[:room]
            ends = not body and trailers is None and not stays_open
            connection.h2.send_data(stream, chunk, end_stream=ends)
        del connection.pending[stream]
        if trailers is not None:
            connection.h2.send_headers(stream, trailers, end_stream=True)

    def _flush(self, connection):
        if connection.closed:
            return
        if connection.established:
            data = connection.h2.data_to_send()
            if data and connection.tls is not None:
                connection.tls.write(data)
            elif data:
                connection.out += data
        if connection.tls is not None and connection.outgoing.pending:
            connection.out += connection.outgoing.read()
        try:
            while connection.out:
                sent = connection.socket.send(connection.out)
                del connection.out[:sent]
        except BlockingIOError:
            pass
        except OSError:
            self._close(connection)
            return
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if connection.out else 0)
        self._selector.modify(connection.socket, events, connection)

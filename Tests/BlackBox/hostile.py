"""A server that speaks raw HTTP/2 frames and does to its clients what no server should.

An attack is a function of a `Visitor`, called in a thread of its own once the client's first request has
begun (or, with `at_once`, when the connection stands). The server's SETTINGS have gone out and the
client's are acknowledged by then, unless the attack says otherwise.
"""

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from ports import free_port

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
ALTSVC, ORIGIN, PRIORITY_UPDATE = 0x0A, 0x0C, 0x10
END_STREAM, ACK, END_HEADERS, PADDED = 0x1, 0x1, 0x4, 0x8
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

NO_ERROR, PROTOCOL, INTERNAL, FLOW_CONTROL, SETTINGS_TIMEOUT, STREAM_CLOSED, FRAME_SIZE, REFUSED, CANCEL = range(9)
COMPRESSION, CONNECT, CALM = range(9, 12)


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def settings(*entries: tuple[int, int]) -> bytes:
    return frame(SETTINGS, 0, 0, b"".join(k.to_bytes(2, "big") + v.to_bytes(4, "big") for k, v in entries))


def word(value: int) -> bytes:
    return value.to_bytes(4, "big")


def string(text: bytes) -> bytes:
    """An HPACK string without Huffman coding."""
    if len(text) < 127:
        return bytes([len(text)]) + text
    rest, out = len(text) - 127, bytearray([127])
    while rest >= 128:
        out.append(rest % 128 + 128)
        rest //= 128
    return bytes(out) + bytes([rest]) + text


def block(*fields: tuple[str, str]) -> bytes:
    """A header block of literals, never indexed."""
    return b"".join(b"\x10" + string(k.encode()) + string(v.encode()) for k, v in fields)


def headers(stream: int, *fields: tuple[str, str], end=False, status="200") -> bytes:
    fields = ((":status", status), *fields) if status else fields
    return frame(HEADERS, END_HEADERS | (END_STREAM if end else 0), stream, block(*fields))


def data(stream: int, content=b"", end=False, padding: int | None = None) -> bytes:
    flags = END_STREAM if end else 0
    if padding is None:
        return frame(DATA, flags, stream, content)
    return frame(DATA, flags | PADDED, stream, bytes([padding]) + content + bytes(padding))


@dataclass
class Attack:
    """What the server does, and what the client must answer."""

    run: Callable[["Visitor"], None]
    cause: str | None = None  # counted as spoke.http2.CAUSE
    go_away: int | None = None  # the code of the client's GOAWAY
    reset: int | None = None  # the code of the client's RST_STREAM
    statistic: str | None = None  # counted as cluster.NAME.STATISTIC
    at_once: bool = False  # without waiting for a request
    greeting: bytes = settings()
    acknowledges: bool = True
    reads: bool = True
    records: list[bytes] = field(default_factory=lambda: [b"%04d" % n * 10 for n in range(20)])
    seconds: float = 20.0  # until what is expected has come
    connections: int = 15  # at most, by then


class Visitor:
    """One connection of the client."""

    def __init__(self, client: socket.socket, server: "HostileServer"):
        self.socket, self.server, self.attack = client, server, server.attack
        self.streams: list[int] = []  # in the order of their HEADERS
        self.began = threading.Condition()
        self.go_away: tuple[int, str] | None = None
        self.resets: dict[int, int] = {}
        self.open = True
        self.sent = 0
        self._input = bytearray()

    def run(self):
        try:
            # Before the reader, whose acknowledgement must not be the first frame.
            self.send(self.attack.greeting)
            if self.attack.reads:
                threading.Thread(target=self._read, daemon=True).start()
            if self.attack.at_once or not self.attack.reads or self.next_request(0):
                self.attack.run(self)
                self.until_closed()
        except OSError:
            pass  # the client has closed: that is what attacks end with
        finally:
            self.close()

    def send(self, *frames: bytes):
        for bytes_ in frames:
            self.socket.sendall(bytes_)
            self.sent += len(bytes_)

    def flood(self, make: Callable[[int], bytes] | bytes):
        """Until the client closes the connection or the server stops."""
        turn = 0
        while self.alive:
            self.send(make if isinstance(make, bytes) else make(turn))
            turn += 1

    def drip(self, bytes_: bytes, pause: float):
        while self.alive:
            self.send(bytes_)
            self.wait(pause)

    @property
    def alive(self) -> bool:
        return self.open and self.server.running

    def wait(self, seconds: float):
        with self.began:
            self.began.wait_for(lambda: not self.alive, seconds)

    def until_closed(self):
        while self.alive:
            self.wait(0.5)

    def next_request(self, number: int) -> int | None:
        """The stream of the connection's request of that number, once it has begun."""
        with self.began:
            self.began.wait_for(lambda: len(self.streams) > number or not self.alive)
            return self.streams[number] if len(self.streams) > number else None

    def each_request(self):
        number = 0
        while (stream := self.next_request(number)) is not None:
            yield stream
            number += 1

    def close(self):
        with self.began:
            self.open = False
            self.began.notify_all()
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()

    def _read(self):
        with contextlib.suppress(OSError):
            while chunk := self.socket.recv(65536):
                self._input += chunk
                self._parse()
        self.close()

    def _parse(self):
        if self._input.startswith(PREFACE):
            del self._input[: len(PREFACE)]
        while len(self._input) >= 9:
            length = int.from_bytes(self._input[:3], "big")
            if len(self._input) < 9 + length:
                return
            kind, flags = self._input[3], self._input[4]
            stream = int.from_bytes(self._input[5:9], "big") & 0x7FFFFFFF
            payload = bytes(self._input[9 : 9 + length])
            del self._input[: 9 + length]
            self._take(kind, flags, stream, payload)

    def _take(self, kind, flags, stream, payload):
        if kind == SETTINGS and not flags & ACK and self.attack.acknowledges:
            self.send(frame(SETTINGS, ACK, 0))
        elif kind == HEADERS:
            with self.began:
                self.streams.append(stream)
                self.began.notify_all()
        elif kind == RST_STREAM:
            self.resets[stream] = int.from_bytes(payload[:4], "big")
        elif kind == GOAWAY:
            self.go_away = (int.from_bytes(payload[4:8], "big"), payload[8:].decode(errors="replace"))


class HostileServer:
    """Does the same to every connection, until it stops."""

    def __init__(self, attack: Attack):
        self.attack = attack
        self.running = True
        self.visitors: list[Visitor] = []
        self.times: list[float] = []
        self.port = free_port()
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self.url = f"http://127.0.0.1:{self.port}"
        self.cluster = f"cluster.127.0.0.1_{self.port}."
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self):
        while self.running:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.times.append(time.monotonic())
            client.settimeout(60)
            self.visitors.append(Visitor(client, self))
            threading.Thread(target=self.visitors[-1].run, daemon=True).start()

    def go_aways(self) -> set[int]:
        return {visitor.go_away[0] for visitor in self.visitors if visitor.go_away}

    def resets(self) -> set[int]:
        return {code for visitor in self.visitors for code in visitor.resets.values()}

    def stop(self):
        self.running = False
        # A listener that another thread waits on is woken by its shutdown, not by its close.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)
        for visitor in self.visitors:
            visitor.close()

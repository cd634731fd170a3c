"""A TCP relay between the daemon and a server: it keeps what passes, and does to it what a bad link does."""

import itertools
import random
import socket
import struct
import threading
import time
from dataclasses import dataclass, field

import hyperframe.frame
from waiting import wait_until

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


@dataclass
class Fault:
    """What happens to one connection. Bytes are counted from its start, per direction."""

    cut_up: int | None = None  # cut after so many bytes to the server
    cut_down: int | None = None  # or to the client
    reset: bool = False  # cut with RST, not with FIN
    delay: float = 0.0  # seconds each piece is held
    rate: int | None = None  # bytes per second, each direction
    corrupt_up: int | None = None  # the byte at this place has a bit flipped
    corrupt_down: int | None = None
    silent_until: int = 0  # nothing goes to the client before it has begun so many requests


@dataclass
class Passed:
    """One connection: the pieces that went through, in the order in which they came."""

    number: int
    fault: Fault
    pieces: list[tuple[float, bool, bytes]] = field(default_factory=list)  # time, to the server?, bytes

    def requests(self) -> int:
        """How many the client has begun."""
        return sum(up and isinstance(frame, hyperframe.frame.HeadersFrame) for _, up, frame in self.frames())

    def frames(self) -> list[tuple[float, bool, hyperframe.frame.Frame]]:
        """The frames of an h2c connection in both directions, each when its last byte came."""
        buffers, found = {True: b"", False: b""}, []
        prefaced = False
        for moment, up, data in list(self.pieces):
            buffers[up] += data
            if up and not prefaced and len(buffers[up]) >= len(PREFACE):
                assert buffers[up].startswith(PREFACE), buffers[up][:30]
                buffers[up], prefaced = buffers[up][len(PREFACE) :], True
            while (not up or prefaced) and len(buffers[up]) >= 9:
                frame, length = hyperframe.frame.Frame.parse_frame_header(memoryview(buffers[up][:9]))
                if len(buffers[up]) < 9 + length:
                    break
                frame.parse_body(memoryview(buffers[up][9 : 9 + length]))
                buffers[up] = buffers[up][9 + length :]
                found.append((moment, up, frame))
        return found


class Relay:
    """Listens on a free port of 127.0.0.1; `plan` gives the fault of the connection with a number, from 1."""

    def __init__(self, server, plan=None):
        self.target = server.port
        self.scheme = server.url.split(":")[0]
        self.plan = plan or (lambda number: Fault())
        self.connections: list[Passed] = []
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self._listener.getsockname()[1]
        self._sockets: set[socket.socket] = set()
        self._stopping = False
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self):
        return f"{self.scheme}://localhost:{self.port}"

    def frames(self, kind=None):
        """(connection's number, time, to the server?, frame) of all connections; `kind` alone if given."""
        return [
            (passed.number, *entry)
            for passed in self.connections
            for entry in passed.frames()
            if kind is None or isinstance(entry[2], kind)
        ]

    def passed_up(self):
        """How many bytes went to the server on all connections."""
        with self._lock:
            return sum(len(data) for one in self.connections for _, up, data in one.pieces if up)

    def stop(self):
        self._stopping = True
        # Closing alone does not wake a thread that waits in accept.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for one in self._sockets:
                self._shut(one)

    def _accept(self):
        while not self._stopping:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            number = next(self._numbers)
            passed = Passed(number, self.plan(number))
            self.connections.append(passed)
            try:
                server = socket.create_connection(("127.0.0.1", self.target), 5)
            except OSError:
                client.close()
                continue
            for one in (client, server):
                one.settimeout(None)
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._sockets |= {client, server}
            left = [2]
            for source, target, up in ((client, server, True), (server, client, False)):
                threading.Thread(
                    target=self._pump, args=(passed, source, target, up, left), daemon=True
                ).start()

    def _keep(self, passed, up, data):
        with self._lock:
            passed.pieces.append((time.monotonic(), up, data))

    @staticmethod
    def _send(target, data, up):
        """False when the server takes nothing any more; a client that takes nothing is an error."""
        try:
            target.sendall(data)
        except OSError:
            if not up:
                raise
            return False
        return True

    def _pump(self, passed, source, target, up, left):
        fault = passed.fault
        cut = fault.cut_up if up else fault.cut_down
        corrupt = fault.corrupt_up if up else fault.corrupt_down
        count = 0
        try:
            while data := source.recv(min(65536, max(1, (fault.rate or 1 << 20) // 20))):
                if corrupt is not None and count <= corrupt < count + len(data):
                    place = corrupt - count
                    data = data[:place] + bytes([data[place] ^ 0x10]) + data[place + 1 :]
                if cut is not None and count + len(data) >= cut:
                    target.sendall(data[: cut - count])
                    self._break(source, target, fault.reset)
                    return
                count += len(data)
                if not up and fault.silent_until:
                    wait_until(lambda: self._stopping or passed.requests() >= fault.silent_until, "requests", 60)
                # The time that the link takes, not a wait for anything.
                time.sleep(fault.delay + (len(data) / fault.rate if fault.rate else 0))
                self._keep(passed, up, data)
                if not self._send(target, data, up):
                    # The server has closed. What it said before, a GOAWAY maybe, is still on its way down.
                    while data := source.recv(65536):
                        self._keep(passed, up, data)
                    return
            target.shutdown(socket.SHUT_WR)
        except OSError:
            self._break(source, target, fault.reset)
        finally:
            with self._lock:
                left[0] -= 1
                if left[0] == 0:
                    self._sockets -= {source, target}
                    source.close()
                    target.close()

    def _break(self, source, target, reset):
        for one in (source, target):
            if reset:
                # RFC 9293 §3.10.4: a zero linger time aborts; the shutdown wakes the other thread.
                try:
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                except OSError:
                    pass
            self._shut(one)

    @staticmethod
    def _shut(one):
        try:
            one.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def bad_link(seed, faulty):
    """A plan: the first connections are each bad in a way drawn from the seed, those after them good."""
    source = random.Random(seed)
    faults = []
    for _ in range(faulty):
        place = source.randrange(200, 12_000)
        faults.append(source.choice([
            lambda p=place: Fault(cut_up=p),
            lambda p=place: Fault(cut_up=p, reset=True),
            lambda p=place: Fault(cut_down=max(50, p // 12)),
            lambda p=place: Fault(cut_down=max(50, p // 12), delay=0.02),
            lambda p=place: Fault(corrupt_up=p),
            lambda p=place: Fault(corrupt_down=max(50, p // 12)),
            lambda p=place: Fault(rate=20_000, cut_up=p),
            lambda p=place: Fault(delay=0.05, cut_up=p, reset=True),
        ])())

    return lambda number: faults[number - 1] if number <= len(faults) else Fault()

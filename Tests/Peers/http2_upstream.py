"""A scripted HTTP/2 server on Python's `h2`, joined by pipes to the client machine in the probe."""

import os
import pathlib
import selectors
import subprocess
import tempfile
import time
import zlib

import h2.config
import h2.connection
import h2.events
import h2.settings
import pytest

REPO = pathlib.Path(__file__).resolve().parents[2]
PROBE = pathlib.Path(os.environ.get("SPOKE_BIN", REPO / ".build/release")) / "probe"

Setting = h2.settings.SettingCodes


def content(size, request):
    return bytes((31 * place + request) % 256 for place in range(size))


class Upstream:
    """Runs the probe to its end; `script(upstream, event)` sees each event of the server side."""

    def __init__(self, *arguments, settings=None, script=None, opening=None, limit=60):
        self.h2 = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        self.script = script or respond
        self.bodies = {}
        self.requests = {}
        self.trailers = {}
        self.pending = {}
        self.waiting = b""
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            [PROBE, "http2-pipe", *map(str, arguments)], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=self.log, bufsize=0)
        if opening is not None:
            self.waiting += opening
            self.h2 = None
        else:
            self.h2.local_settings = h2.settings.Settings(
                client=False, initial_values={Setting.MAX_CONCURRENT_STREAMS: 100,
                                              **(settings or {})})
            self.h2.initiate_connection()
        self.run(limit)

    def run(self, limit):
        reading, writing = self.process.stdout.fileno(), self.process.stdin.fileno()
        os.set_blocking(reading, False)
        os.set_blocking(writing, False)
        deadline = time.monotonic() + limit
        with selectors.DefaultSelector() as selector:
            selector.register(reading, selectors.EVENT_READ)
            while True:
                self.write(writing)
                if self.waiting:
                    selector.register(writing, selectors.EVENT_WRITE)
                ready = selector.select(max(0, deadline - time.monotonic()))
                if self.waiting:
                    selector.unregister(writing)
                if not ready:
                    self.process.kill()
                    self.process.wait()
                    pytest.fail("the probe did not end:\n" + "\n".join(self.lines()))
                if any(key.fd == reading for key, _ in ready):
                    data = os.read(reading, 65_536)
                    if not data:
                        break
                    self.receive(data)
        self.process.stdin.close()
        assert self.process.wait(limit) == 0
        self.report = self.lines()

    def write(self, descriptor):
        if self.h2:
            self.waiting += self.h2.data_to_send()
        try:
            while self.waiting:
                self.waiting = self.waiting[os.write(descriptor, self.waiting):]
        except BlockingIOError:
            pass
        except BrokenPipeError:
            self.waiting = b""

    def receive(self, data):
        if not self.h2:
            return
        for event in self.h2.receive_data(data):
            if isinstance(event, h2.events.RequestReceived):
                self.requests[event.stream_id] = dict(event.headers)
                self.bodies[event.stream_id] = b""
            elif isinstance(event, h2.events.DataReceived):
                self.bodies[event.stream_id] += event.data
            elif isinstance(event, h2.events.TrailersReceived):
                self.trailers[event.stream_id] = dict(event.headers)
            # A GOAWAY that came in the same read has closed the connection under the events before it.
            closed = self.h2.state_machine.state is h2.connection.ConnectionState.CLOSED
            if not closed or isinstance(event, h2.events.ConnectionTerminated):
                self.script(self, event)
                self.push()

    def raw(self, *frames):
        self.waiting += self.h2.data_to_send()
        for frame in frames:
            self.waiting += frame.serialize()

    def answer(self, stream, body, headers=(), trailers=None, padding=0):
        self.h2.send_headers(stream, [(":status", "200"), *headers])
        self.pending[stream] = [body, trailers, padding]
        self.push()

    def push(self):
        """Sends of each answer what the client's windows allow."""
        for stream, entry in list(self.pending.items()):
            body, trailers, padding = entry
            while True:
                room = min(self.h2.local_flow_control_window(stream), 16_384) - padding
                room -= 1 if padding else 0
                if body and room <= 0:
                    break
                part, body = body[:max(room, 0)], body[max(room, 0):]
                last = not body
                self.h2.send_data(
                    stream, part, end_stream=last and trailers is None,
                    pad_length=padding if padding and part else None)
                if last:
                    if trailers is not None:
                        self.h2.send_headers(stream, trailers, end_stream=True)
                    del self.pending[stream]
                    break
            if stream in self.pending:
                entry[0] = body

    def lines(self):
        self.log.seek(0)
        return self.log.read().decode().splitlines()

    def has(self, start):
        return any(line.startswith(start) for line in self.report)

    def bodies_received(self):
        return {int(line.split()[1]): (int(line.split()[2]), int(line.split()[3]))
                for line in self.report if line.startswith("body ")}

    def check_ends(self, streams):
        """Each stream ends once."""
        for stream in streams:
            ends = [line for line in self.report
                    if line.split()[0] in ("body", "reset", "refused", "cancelled")
                    and line.split()[1] == str(stream)]
            assert len(ends) == 1, (stream, self.report)
        assert not self.has("second end") and not self.has("stray")


def requests(*sizes, method="POST"):
    return [word for size in sizes for word in ("--request", method, f"/{size}", size)]


def echo_credit(upstream, event):
    """All of it at once: `h2` itself gives nothing back while SETTINGS hold a window below 0."""
    if isinstance(event, h2.events.DataReceived) and event.flow_controlled_length:
        upstream.h2.increment_flow_control_window(event.flow_controlled_length)
        if event.stream_ended is None:
            upstream.h2.increment_flow_control_window(
                event.flow_controlled_length, event.stream_id)


def respond(upstream, event):
    """Echoes the request's content."""
    echo_credit(upstream, event)
    if isinstance(event, h2.events.StreamEnded):
        upstream.answer(event.stream_id, upstream.bodies[event.stream_id])


def check_echo(upstream, sizes):
    received = upstream.bodies_received()
    for index, size in enumerate(sizes):
        body = content(size, index)
        stream = 2 * index + 1
        assert upstream.bodies[stream] == body
        assert received[stream] == (size, zlib.adler32(body))
    upstream.check_ends(range(1, 2 * len(sizes), 2))
    assert upstream.has("closed local: NO_ERROR")

"""An HTTP/1.1 upstream, for the proxies that speak nothing newer to what is behind them."""

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from upstream import Answer, Request
from waiting import wait_until


class PlainUpstream:
    """Takes requests as `Upstream` does, as far as a proxy's back end needs it."""

    def __init__(self, rule=None):
        self.rule = rule or (lambda request: Answer())
        self._lock = threading.Lock()
        self._requests: list[Request] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                outer._handle(self)

            def log_message(self, *arguments):
                pass

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64

            def handle_error(self, request, client_address):
                pass  # a proxy that went away

        self.server = Quiet(("127.0.0.1", 0), Handler)
        self.port = self.server.server_port
        self._thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def _handle(self, handler):
        headers = [(":path", handler.path)] + [(k.lower(), v) for k, v in handler.headers.items()]
        request = Request(0, 0, headers, self._body(handler), complete=True, time=time.monotonic())
        answer = self.rule(request)
        with self._lock:
            self._requests.append(request)
        if answer.delay:
            time.sleep(answer.delay)
        # One write: a response in pieces waits for the peer's delayed acknowledgement.
        text = f"HTTP/1.1 {answer.status} said\r\ncontent-length: {len(answer.body)}\r\n"
        text += "".join(f"{name}: {value}\r\n" for name, value in answer.headers)
        handler.wfile.write(text.encode() + b"\r\n" + answer.body)
        handler.wfile.flush()

    @staticmethod
    def _body(handler):
        if handler.headers.get("transfer-encoding", "").lower() != "chunked":
            return handler.rfile.read(int(handler.headers.get("content-length", 0)))
        body = b""
        while size := int(handler.rfile.readline().split(b";")[0], 16):
            body += handler.rfile.read(size)
            handler.rfile.readline()
        while handler.rfile.readline() not in (b"\r\n", b""):
            pass
        return body

    def whole(self) -> list[Request]:
        with self._lock:
            return list(self._requests)

    def wait_for(self, count, seconds=15.0) -> list[Request]:
        wait_until(
            lambda: len(self.whole()) >= count,
            lambda: f"{count} requests upstream; {len(self.whole())} came", seconds,
        )
        return self.whole()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
        self._thread.join()

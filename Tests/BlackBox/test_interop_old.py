"""Upstreams that others wrote: nghttpd and nginx, over TLS and as h2c."""

import re
import shutil
import socket
import subprocess

import pytest
from broker import free_port
from waiting import wait_until


class Server:
    """A server process, its port, and what it wrote down."""

    def __init__(self, command, log, port, secure):
        self.port, self.log, self.command = port, log, command
        self.url = f"{'https' if secure else 'http'}://localhost:{port}"
        self.start()

    def start(self):
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log)
        wait_until(self.listening, lambda: f"{self.command[0]} listens: {self.text[-800:]}")

    def listening(self):
        assert self.process.poll() is None, self.text
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        except OSError:
            return False

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(10)

    @property
    def text(self):
        return self.log.read_text(errors="replace")


def find(name):
    path = shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/bin:/usr/local/sbin")
    assert path, f"{name} is not installed"
    return path


@pytest.fixture
def started():
    servers = []
    yield servers
    for server in servers:
        server.stop()


@pytest.fixture
def nghttpd(folder, identity, started):
    def start(secure, *options):
        port = free_port()
        documents = folder / "documents"
        (documents / "v1").mkdir(parents=True)
        (documents / "v1/state").write_text("taken\n")
        command = [find("nghttpd"), "-v", "-d", str(documents), *options]
        command += [str(port), str(identity.key), str(identity.certificate)] if secure else ["--no-tls", str(port)]
        started.append(Server(["stdbuf", "-oL", *command], folder / "nghttpd.log", port, secure))
        return started[-1]

    return start


@pytest.fixture
def nginx(folder, identity, started):
    def start(secure, inside, http=""):
        port = free_port()
        tls = f"ssl_certificate {identity.certificate}; ssl_certificate_key {identity.key};" if secure else ""
        folder.chmod(0o755)
        (folder / "nginx.conf").write_text(f"""
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 64; }}
http {{
  log_format ids '$status "$http_ce_id" $content_length $server_protocol';
  access_log {folder}/access.log ids;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  {http}
  server {{
    listen 127.0.0.1:{port} {'ssl ' if secure else ''}http2;
    {tls}
    {inside}
  }}
}}
""")
        command = [find("nginx"), "-p", str(folder), "-c", str(folder / "nginx.conf")]
        started.append(Server(command, folder / "nginx.log", port, secure))
        return started[-1]

    return start


def taken_ids(folder):
    text = (folder / "access.log").read_text() if (folder / "access.log").exists() else ""
    return re.findall(r'^2\d\d "([^"]+)" \S* HTTP/2\.0$', text, re.M)


def sequences(ids):
    return [int(record_id.rsplit("-", 1)[1]) for record_id in dict.fromkeys(ids)]


@pytest.mark.parametrize("secure", [True, False], ids=["tls", "h2c"])
@pytest.mark.parametrize("options", [(), ("--echo-upload",), ("--trailer", "x-checksum: 1")], ids=["plain", "echo", "trailer"])
def test_nghttpd_takes_every_record(make_line, nghttpd, secure, options):
    server = nghttpd(secure, *options)
    line = make_line(server)
    line.publish(*[b"payload %d" % n for n in range(50)])
    line.spoke.wait_for_stat("spoke.stream.state.delivered", 50, 30)
    ids = re.findall(r"ce-id: (\S+)", server.text)
    assert sequences(ids) == list(range(1, 51))
    assert "content-type: application/json" in server.text
    assert "GOAWAY" not in re.sub(r"recv GOAWAY.*NO_ERROR", "", server.text)


@pytest.mark.parametrize("secure", [True, False], ids=["tls", "h2c"])
def test_nginx_takes_every_record_and_its_goaway_every_ten_requests_loses_none(folder, make_line, nginx, secure):
    line = make_line(nginx(secure, "keepalive_requests 10; location / { return 204; }"))
    line.publish(*[b"payload %d" % n for n in range(60)])
    line.spoke.wait_for_stat("spoke.stream.state.delivered", 60, 40)
    wait_until(lambda: len(taken_ids(folder)) >= 60, "nginx has written its log")
    assert sequences(taken_ids(folder)) == list(range(1, 61))


def test_nginx_with_ten_streams_at_once_and_goaways_loses_none(folder, make_line, nginx):
    line = make_line(nginx(True, "keepalive_requests 7; location / { return 204; }"), in_flight=10)
    line.publish(*[b"payload %d" % n for n in range(100)])
    line.spoke.wait_for_stat("spoke.stream.state.delivered", 100, 40)
    wait_until(lambda: len(set(taken_ids(folder))) >= 100, "nginx has written its log")
    assert sorted(sequences(taken_ids(folder))) == list(range(1, 101))


def test_nginx_that_limits_the_rate_with_429_gets_everything_in_order(folder, make_line, nginx):
    server = nginx(
        True, "location / { limit_req zone=all burst=1 nodelay; limit_req_status 429; return 204; }",
        http="limit_req_zone $binary_remote_addr zone=all:64k rate=2r/s;",
    )
    # limit_req works in the preaccess phase, behind `return`: the answer must come from content.
    text = (folder / "nginx.conf").read_text().replace("return 204;", "empty_gif; error_page 405 =204 @ok;")
    text = text.replace("location / {", "location @ok { return 204; } location / {")
    server.stop()
    (folder / "nginx.conf").write_text(text)
    server.start()
    line = make_line(server)
    line.publish(*[b"payload %d" % n for n in range(12)])
    line.spoke.wait_for_stat("spoke.stream.state.delivered", 12, 60)
    assert '429 "board-1/state' in (folder / "access.log").read_text()
    assert sequences(taken_ids(folder)) == list(range(1, 13))


def test_nginx_that_is_restarted_under_load_gets_everything_in_order(folder, make_line, nginx):
    server = nginx(True, "location / { return 204; }")
    line = make_line(server)
    for start in range(0, 150, 50):
        line.publish(*[b"payload %d" % n for n in range(start, start + 50)])
        server.stop()
        server.start()
    line.spoke.wait_for_stat("spoke.stream.state.delivered", 150, 60)
    wait_until(lambda: len(set(taken_ids(folder))) >= 150, "nginx has written its log")
    assert sequences(taken_ids(folder)) == list(range(1, 151))

"""HTTP/2 servers that others wrote, each with its configuration, its start and its graceful restart.

Each has a folder of its own and a free port of 127.0.0.1, over TLS or as h2c with prior knowledge.
All but nghttpd are proxies: what they took arrives at `back`, an upstream that checks it.
"""

import http.client
import os
import re
import shutil
import signal
import socket
import subprocess
from pathlib import Path

from ports import free_port
from spoke import ROOT
from waiting import wait_until

APACHE_MODULES = Path("/usr/lib/apache2/modules")
ENVOY = Path(os.environ.get("SPOKE_ENVOY", ROOT / ".venv/envoy"))


def find(name):
    path = shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/bin:/usr/local/sbin")
    assert path, f"{name} is not installed"
    return path


class Server:
    """One server. A subclass says what it is called, writes its configuration and reloads it."""

    name = ""
    back_speaks = "h2"  # to the upstream behind it: "h2" or "http/1.1"; None: it is no proxy
    repeats = False  # a restart may end a connection with requests that were taken
    silent_over_h2c = False  # a restart leaves h2c connections as they are

    def __init__(self, folder: Path, identity, secure, back=None, **options):
        self.folder = folder / self.name
        self.folder.mkdir()
        # Some drop root for a user of their own, who has to find the folder.
        folder.chmod(0o755)
        self.identity, self.secure, self.back, self.options = identity, secure, back, options
        self.port = free_port()
        self.log = self.folder / "log"
        self.processes = []
        self.configure()
        self.start()

    @property
    def url(self):
        return f"{'https' if self.secure else 'http'}://localhost:{self.port}"

    @property
    def text(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def write(self, name, text):
        (self.folder / name).write_text(text)
        return self.folder / name

    def configure(self):
        """Writes the configuration, from `options` as they are now."""

    def command(self):
        raise NotImplementedError

    def start(self):
        self.run()
        try:
            wait_until(self.listens, lambda: f"{self.name} listens: {self.text[-1500:]}", 60)
        except AssertionError:
            self.stop()
            raise

    def run(self):
        environment = {**os.environ, "HOME": str(self.folder), "XDG_DATA_HOME": str(self.folder),
                       "XDG_CONFIG_HOME": str(self.folder)}
        with self.log.open("ab") as log:
            self.processes.append(subprocess.Popen(
                [str(part) for part in self.command()], stdout=log, stderr=log,
                stdin=subprocess.DEVNULL, env=environment,
            ))

    @property
    def process(self):
        return self.processes[-1]

    def listens(self):
        assert self.process.poll() is None, f"{self.name} ended: {self.text[-3000:]}"
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        except OSError:
            return False

    def restart(self):
        """A graceful restart: returns when the new generation serves."""
        self.stop()
        self.start()

    def signal_until_logged(self, number, text):
        before = self.text.count(text)
        self.process.send_signal(number)
        wait_until(lambda: self.text.count(text) > before, lambda: f"{text!r}: {self.text[-1500:]}", 30)

    def stop(self):
        for process in self.processes:
            if process.poll() is None:
                process.terminate()
        for process in self.processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.processes.clear()


class Nghttpd(Server):
    """Serves files; knows no graceful restart."""

    name = "nghttpd"
    back_speaks = None
    repeats = True

    def configure(self):
        (self.folder / "documents/v1").mkdir(parents=True, exist_ok=True)
        self.write("documents/v1/state", "taken\n")

    def command(self):
        place = [self.port, self.identity.key, self.identity.certificate] if self.secure else ["--no-tls", self.port]
        flags = self.options.get("flags", ())
        return ["stdbuf", "-oL", find("nghttpd"), "-v", "-a", "127.0.0.1", "-d", self.folder / "documents", *flags, *place]


class Nghttpx(Server):
    name = "nghttpx"

    def configure(self):
        backs = "".join(
            f"backend=127.0.0.1,{port};;proto=h2\n"
            for port in (self.back.port, *self.options.get("more_backs", ()))
        )
        self.write("nghttpx.conf", f"""
frontend=127.0.0.1,{self.port}{'' if self.secure else ';no-tls'}
{backs}
private-key-file={self.identity.key}
certificate-file={self.identity.certificate}
workers=1
no-ocsp=yes
add-x-forwarded-for=yes
pid-file={self.folder}/nghttpx.pid
errorlog-file=/dev/stderr
log-level=NOTICE
{self.options.get('lines', '')}
""")

    def command(self):
        return [find("nghttpx"), f"--conf={self.folder}/nghttpx.conf"]

    def restart(self):
        self.signal_until_logged(signal.SIGHUP, "Graceful shutdown commencing")
        wait_until(self.listens, "nghttpx listens again")


class Nginx(Server):
    name = "nginx"
    back_speaks = "http/1.1"

    def configure(self):
        own = f"ssl_certificate {self.identity.certificate}; ssl_certificate_key {self.identity.key};"
        forward = (
            f"location / {{ {self.options.get('location', '')} proxy_pass http://127.0.0.1:{self.back.port}; proxy_http_version 1.1;"
            ' proxy_set_header Connection ""; proxy_set_header Host $http_host; }' if self.back else ""
        )
        temporary = "".join(
            f"  {kind}_temp_path {self.folder}/{kind};\n"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        self.write("nginx.conf", f"""
daemon off;
worker_processes 1;
pid {self.folder}/nginx.pid;
error_log stderr notice;
events {{ worker_connections 64; }}
http {{
  log_format ids '$status "$http_ce_id" $content_length $server_protocol';
  access_log {self.folder}/access.log ids;
{temporary}
  {self.options.get('http', '')}
  server {{
    listen 127.0.0.1:{self.port} {'ssl ' if self.secure else ''}http2;
    {own if self.secure else ''}
    {self.options.get('inside', '')}
    {forward}
  }}
}}
""")

    def command(self):
        return [find("nginx"), "-p", self.folder, "-c", self.folder / "nginx.conf"]

    def restart(self):
        self.signal_until_logged(signal.SIGHUP, "gracefully shutting down")

    @property
    def taken(self):
        """The ids that were answered with 2xx, in order."""
        file = self.folder / "access.log"
        lines = [line.split('"') for line in file.read_text().splitlines()] if file.exists() else []
        return [line[1] for line in lines if line[0].startswith("2")]


class HAProxy(Server):
    name = "haproxy"

    def configure(self):
        pair = self.identity.certificate.read_text() + self.identity.key.read_text()
        pem = self.write("pair.pem", pair)
        bind = f"ssl crt {pem} alpn h2 {self.options.get('tls', '')}" if self.secure else "proto h2"
        server = f"server one 127.0.0.1:{self.back.port} proto h2" if self.back else ""
        self.write("haproxy.cfg", f"""
global
  stats socket {self.folder}/stats level admin
  log stdout format raw local0 info
  {self.options.get('globals', '')}
defaults
  mode http
  timeout connect 2s
  timeout client 20s
  timeout server 20s
frontend in
  bind 127.0.0.1:{self.port} {bind}
  {self.options.get('rules', '')}
  default_backend out
backend out
  {self.options.get('server', server)}
""")

    def command(self):
        return [find("haproxy"), "-W", "-db", "-f", self.folder / "haproxy.cfg"]

    def restart(self):
        self.signal_until_logged(signal.SIGUSR2, "Loading success")

    def operator(self, command):
        """A command on its administrative socket."""
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(5)
            client.connect(f"{self.folder}/stats")
            client.sendall(command.encode() + b"\n")
            return b"".join(iter(lambda: client.recv(4096), b"")).decode()


class Apache(Server):
    """Its graceful restart sends GOAWAY and then, at the next frame of the client, ends the connection
    with streams that it has taken ("The user callback function failed", mod_http2 2.0.42)."""

    name = "apache"
    back_speaks = "http/1.1"
    repeats = True

    def configure(self):
        wanted = ["mpm_event", "authz_core", "http2", "ssl", "proxy", "proxy_http", "headers"]
        modules = "\n".join(f"LoadModule {m}_module {APACHE_MODULES}/mod_{m}.so" for m in wanted)
        own = f"SSLEngine on\nSSLCertificateFile {self.identity.certificate}\nSSLCertificateKeyFile {self.identity.key}"
        user = "User nobody\nGroup nogroup" if os.geteuid() == 0 else ""
        self.write("apache.conf", f"""
{modules}
ServerRoot {self.folder}
ServerName localhost
DefaultRuntimeDir {self.folder}
PidFile {self.folder}/apache.pid
ErrorLog {self.log}
LogLevel info http2:debug
Listen 127.0.0.1:{self.port}
StartServers 1
ServerLimit 4
{user}
Protocols {'h2' if self.secure else 'h2c'}
H2Direct on
{own if self.secure else ''}
SSLSessionCache none
ProxyPreserveHost on
ProxyPass / http://127.0.0.1:{self.back.port}/
{self.options.get('lines', '')}
""")

    def command(self):
        return [find("apache2"), "-d", self.folder, "-f", self.folder / "apache.conf", "-DFOREGROUND"]

    def restart(self):
        self.signal_until_logged(signal.SIGUSR1, "resuming normal operations")


class H2O(Server):
    name = "h2o"
    back_speaks = "http/1.1"

    def configure(self):
        own = f"""
  ssl:
    certificate-file: {self.identity.certificate}
    key-file: {self.identity.key}"""
        user = "user: root" if os.geteuid() == 0 else ""
        self.write("h2o.conf", f"""
listen:
  host: 127.0.0.1
  port: {self.port}{own if self.secure else ''}
num-threads: 1
pid-file: {self.folder}/h2o.pid
error-log: /dev/stderr
{user}
{self.options.get('lines', '')}
hosts:
  default:
    paths:
      "/":
        proxy.reverse.url: http://127.0.0.1:{self.back.port}/
        proxy.preserve-host: ON
""")

    def command(self):
        return [find("h2o"), "-m", "master", "-c", self.folder / "h2o.conf"]

    def restart(self):
        self.signal_until_logged(signal.SIGHUP, "killing old workers")


class Caddy(Server):
    """Its graceful restart says nothing to h2c connections: Go's server has given them away, and the old
    generation serves them on."""

    name = "caddy"
    silent_over_h2c = True

    def configure(self):
        own = f"tls {self.identity.certificate} {self.identity.key} {self.options.get('tls', '')}"
        self.write("Caddyfile", f"""
{{
  admin unix/{self.folder}/admin
  auto_https off
  grace_period 5s
  servers {{
    protocols h1 h2 h2c
    {self.options.get('servers', '')}
  }}
}}
{self.url} {{
  bind 127.0.0.1
  {own if self.secure else ''}
  {self.options.get('inside', '')}
  reverse_proxy h2c://127.0.0.1:{self.back.port}
}}
""")

    def command(self):
        return [find("caddy"), "run", "--config", self.folder / "Caddyfile", "--adapter", "caddyfile"]

    def restart(self):
        subprocess.run(
            [find("caddy"), "reload", "--force", "--config", self.folder / "Caddyfile", "--adapter", "caddyfile",
             "--address", f"unix/{self.folder}/admin"],
            check=True, capture_output=True, timeout=30, env={**os.environ, "HOME": str(self.folder)},
        )


class Envoy(Server):
    """Envoy, restarted hot: the next one takes the sockets over, the last one drains and ends. Its port, which nobody
    else has, is its base, too: the name of what the two share."""

    name = "envoy"

    def configure(self):
        own = f"""
      transport_socket:
        name: tls
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          require_client_certificate: {'true' if 'tls' in self.options else 'false'}
          common_tls_context:
            alpn_protocols: [h2]
            {self.options.get('tls', '')}
            tls_certificates:
            - certificate_chain: {{ filename: {self.identity.certificate} }}
              private_key: {{ filename: {self.identity.key} }}"""
        self.write("envoy.yaml", f"""
admin: {{ address: {{ pipe: {{ path: {self.folder}/admin, mode: 384 }} }} }}
{self.options.get('top', '')}
static_resources:
  listeners:
  - name: in
    address: {{ socket_address: {{ address: 127.0.0.1, port_value: {self.port} }} }}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: in
          codec_type: HTTP2
          drain_timeout: 0.5s
          {self.options.get('manager', '')}
          http2_protocol_options: {{ max_concurrent_streams: {self.options.get('streams', 100)} }}
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes: [{{ match: {{ prefix: "/" }}, route: {{ cluster: out }} }}]
          http_filters:{self.options.get('filters', '')}
          - name: envoy.filters.http.router
            typed_config: {{ "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }}{own if self.secure else ''}
  clusters:
  - name: out
    connect_timeout: 1s
    type: STATIC
    {self.options.get('cluster', '')}
    load_assignment:
      cluster_name: out
      endpoints:
      - lb_endpoints:
        - endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {self.back.port} }} }} }}
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {{ http2_protocol_options: {{}} }}
""")

    def command(self):
        program = ENVOY / "envoy/_bin/envoy"
        assert program.exists(), f"{program} is missing: Tests/run installs it"
        return [program, "-c", self.folder / "envoy.yaml", "--base-id", self.port,
                "--restart-epoch", len(self.processes), "--concurrency", 1, "-l", "warning",
                "--drain-time-s", 1, "--drain-strategy", "immediate", "--parent-shutdown-time-s", 10]

    def restart(self):
        epoch = len(self.processes)
        self.run()

        def is_live():
            # The one before it answers on the same path until then.
            page = self.operator("/server_info")
            return '"state": "LIVE"' in page and re.search(rf'"restart_epoch": {epoch}\b', page)

        wait_until(is_live, lambda: f"envoy {epoch} is live: {self.text[-1500:]}", 60)

    def operator(self, path, method="GET"):
        """A page of its administration."""
        connection = http.client.HTTPConnection("localhost", timeout=5)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(5)
        try:
            connection.sock.connect(f"{self.folder}/admin")
            connection.request(method, path)
            return connection.getresponse().read().decode()
        except OSError as error:
            return str(error)
        finally:
            connection.close()


PROXIES = [Nghttpx, Nginx, HAProxy, Apache, H2O, Caddy, Envoy]

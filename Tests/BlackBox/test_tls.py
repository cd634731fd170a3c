"""TLS and connecting: resumption, racing, files read again, what the log and the pages say of them."""

import itertools
import os
import re
import shutil
import socket
import ssl
import subprocess
import time
from datetime import datetime, timezone
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from ports import free_port
from servers import Nginx
from spoke import Spoke, configuration, mqtt, stream, tls
from waiting import wait_until, within


def tls_stat(line, name):
    return line.spoke.stat(f"cluster.localhost_{line.upstream.port}.ssl.{name}")


# Resumption


def only(version):
    """Settings of the upstream's context."""

    def settle(context):
        context.maximum_version = context.minimum_version = version

    return settle


@pytest.mark.parametrize(
    "settle",
    [only(ssl.TLSVersion.TLSv1_3), only(ssl.TLSVersion.TLSv1_2)],
    ids=["1.3", "1.2"],
)
def test_the_second_connection_resumes_the_session_of_the_first(make_upstream, make_line, identity, settle):
    upstream = make_upstream(identity, settle=settle)
    line = make_line(upstream)
    for number in range(4):
        line.publish(b"record %d" % number)
        upstream.wait_for_body(b"record %d" % number)
        upstream.drop_connections()
    assert upstream.resumed == [False, True, True, True]
    line.spoke.wait_for_stat(f"cluster.localhost_{upstream.port}.ssl.handshake", 4)
    assert tls_stat(line, "session_reused") == 3
    assert tls_stat(line, "connection_error") == 0


def test_an_upstream_that_forgot_its_sessions_is_reached_by_a_full_handshake(make_upstream, make_line, identity):
    upstream = make_upstream(identity)
    line = make_line(upstream)
    line.publish(b"before")
    upstream.wait_for_body(b"before")
    upstream.stop()
    upstream.start()
    line.publish(b"after")
    upstream.wait_for_body(b"after", 30)
    assert upstream.resumed == [False, False]


def test_sessions_are_not_resumed_after_the_files_were_read_again(make_upstream, make_line, identity):
    upstream = make_upstream(identity)
    line = make_line(upstream)
    line.publish(b"before")
    upstream.wait_for_body(b"before")
    line.spoke.reload()
    upstream.drop_connections()
    line.publish(b"after")
    upstream.wait_for_body(b"after", 30)
    assert upstream.resumed == [False, False]


@pytest.mark.parametrize(
    "settings",
    ["ssl_protocols TLSv1.3;", "ssl_protocols TLSv1.2;",
     "ssl_protocols TLSv1.2; ssl_session_tickets off; ssl_session_cache shared:all:1m;"],
    ids=["1.3", "1.2 tickets", "1.2 session ids"],
)
def test_nginx_resumes_sessions_too(folder, make_line, make_server, settings):
    server = make_server(
        Nginx, True, inside=f"{settings} keepalive_requests 1; access_log {folder}/tls.log tls;",
        http="log_format tls '$ssl_protocol $ssl_session_reused';",
    )
    line = make_line(server)
    line.publish(*[b"record %d" % number for number in range(5)])
    line.spoke.wait_for_stat("spoke.stream.state.delivered", 5, 30)
    wait_until(lambda: (folder / "tls.log").read_text().count("\n") >= 5, "nginx has written its log")
    seen = (folder / "tls.log").read_text().split("\n")[:5]
    assert seen[0].endswith(" .")
    assert sum(entry.endswith(" r") for entry in seen) >= 3, seen
    assert tls_stat(line, "session_reused") >= 3


# openssl s_server: what Python's ssl does not show


class Handshaker:
    """`openssl s_server`: handshakes, and says nothing of HTTP/2."""

    def __init__(self, folder: Path, identity, *options):
        self.port = free_port()
        self.log = folder / "s_server.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                ["openssl", "s_server", "-accept", f"127.0.0.1:{self.port}", "-cert", identity.certificate,
                 "-key", identity.key, "-alpn", "h2", *options],
                stdin=subprocess.PIPE, stdout=log, stderr=log,
            )
        wait_until(lambda: "ACCEPT" in self.text, lambda: f"s_server listens: {self.text}")

    @property
    def url(self):
        return f"https://localhost:{self.port}"

    @property
    def text(self):
        return self.log.read_text(errors="replace")

    def say(self, line: str):
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def stop(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture
def make_handshaker(folder, identity):
    made = []

    def make(*options, identity=identity):
        made.append(Handshaker(folder, identity, *options))
        return made[-1]

    yield make
    for server in made:
        server.stop()


def test_a_request_to_renegotiate_is_refused(make_handshaker, make_line):
    server = make_handshaker("-tls1_2")
    line = make_line(server)
    line.publish(b"record")
    wait_until(lambda: "Supported Groups" in server.text or "CIPHER is" in server.text, lambda: server.text)
    server.say("r")
    wait_until(
        lambda: re.search(r"no renegotiation|no_renegotiation", server.text, re.I) or server.text.count("CIPHER is") > 1,
        lambda: f"an answer: {server.text[-1500:]}",
    )
    assert re.search(r"no.renegotiation", server.text, re.I), server.text[-1500:]


def test_compression_is_not_offered_and_tls_1_2_suites_are_those_of_http2(make_handshaker, make_line):
    server = make_handshaker("-tls1_2", "-trace")
    line = make_line(server)
    line.publish(b"record")
    wait_until(lambda: "compression_methods" in server.text and "CIPHER is" in server.text, lambda: server.text[-800:])
    hello = server.text.split("ClientHello")[1].split("ServerHello")[0]
    methods = hello.split("compression_methods")[1].split("extensions")[0]
    assert "No Compression" in methods and "(len=1)" in methods
    suites = re.findall(r"\{0x[0-9A-F]{2}, 0x[0-9A-F]{2}\} (\S+)", hello)
    assert suites
    for suite in suites:
        # RFC 9113 §9.2.2: ephemeral and AEAD; TLS 1.3 has nothing else; SCSV is no suite.
        assert re.match(r"TLS_ECDHE_\w+_(AES_\d+_GCM|CHACHA20_POLY1305)|TLS_(AES|CHACHA20)|TLS_EMPTY_RENEG", suite), suite


@pytest.mark.parametrize(
    "options",
    [("-tls1_2", "-cipher", "AES128-GCM-SHA256"), ("-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA256"),
     ("-tls1_1", "-cipher", "ALL:@SECLEVEL=0")],
    ids=["not ephemeral", "cbc", "1.1"],
)
def test_a_server_without_a_suite_that_http2_permits_is_refused(make_handshaker, make_line, options):
    server = make_handshaker(*options)
    line = make_line(server)
    line.publish(b"record")
    line.spoke.wait_for_log("TLS handshake with localhost")
    line.spoke.wait_for_stat(f"cluster.localhost_{server.port}.ssl.connection_error", 1)
    assert tls_stat(line, "handshake") == 0


def test_minimum_1_3_refuses_a_server_of_1_2(make_upstream, make_line, identity, authority):
    upstream = make_upstream(identity, settle=only(ssl.TLSVersion.TLSv1_2))
    line = make_line(upstream, tls("strict", ca=authority.certificate, minimum="1.3"), tls="strict")
    line.publish(b"record")
    line.spoke.wait_for_log("protocol version")
    assert not upstream.requests


def test_a_handshake_that_does_not_end_is_given_up_and_named(make_line, make_upstream, identity):
    mute = socket.create_server(("127.0.0.1", 0))
    port = mute.getsockname()[1]

    class Mute:
        url = f"https://localhost:{port}"

    line = make_line(Mute)
    line.publish(b"record")
    line.spoke.wait_for_log("no end of the TLS handshake within 5000 ms", 20)
    line.spoke.wait_for_stat(f"cluster.localhost_{port}.upstream_cx_connect_timeout", 1)
    mute.close()


# What is said of certificates


def test_an_expired_server_certificate_is_named_with_its_date(make_upstream, make_line, authority):
    upstream = make_upstream(authority.server("old", days=(-20, -10)))
    line = make_line(upstream)
    line.publish(b"record")
    said = line.spoke.wait_for_log("certificate has expired")
    until = x509.load_pem_x509_certificate(upstream.identity.certificate.read_bytes()).not_valid_after_utc
    assert until.strftime("valid until %Y-%m-%dT%H:%M:%SZ") in said
    line.spoke.wait_for_stat(f"cluster.localhost_{upstream.port}.ssl.fail_verify_error", 1)


def test_a_server_certificate_of_the_future_is_named_with_its_date(make_upstream, make_line, authority):
    upstream = make_upstream(authority.server("future", days=(10, 20)))
    line = make_line(upstream)
    line.publish(b"record")
    said = line.spoke.wait_for_log("certificate is not yet valid")
    start = x509.load_pem_x509_certificate(upstream.identity.certificate.read_bytes()).not_valid_before_utc
    assert start.strftime("valid from %Y-%m-%dT%H:%M:%SZ") in said


def test_a_certificate_for_another_name_is_named_with_its_names(make_upstream, make_line, authority):
    upstream = make_upstream(authority.server("elsewhere", names=("elsewhere.example", "192.0.2.9")))
    line = make_line(upstream)
    line.publish(b"record")
    said = line.spoke.wait_for_log("hostname mismatch")
    assert "localhost" in said and "elsewhere.example, 192.0.2.9" in said
    line.spoke.wait_for_stat(f"cluster.localhost_{upstream.port}.ssl.fail_verify_san", 1)


def refused(spoke, folder, authority, **files):
    spoke.start(configuration(
        folder, stream("s", "https://localhost:1", path="/", tls="device"),
        tls("device", ca=authority.certificate, **files),
    ), ready=False)
    assert spoke.process.wait(30) == 78
    return spoke.log


def encrypted(folder, identity):
    key = serialization.load_pem_private_key(identity.key.read_bytes(), None)
    path = folder / "encrypted.key"
    path.write_bytes(key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"open sesame")
    ))
    return path


@pytest.mark.parametrize("form", ["{}", "file:{}"])
def test_an_encrypted_key_is_an_error_and_not_a_question(folder, spoke, authority, form):
    device = authority.client("locked", "locked")
    key = form.format(encrypted(folder, device))
    log = refused(spoke, folder, authority, certificate=device.certificate, key=key)
    assert "passphrase" in log and str(key) in log
    assert "Enter" not in log


def test_a_key_of_another_certificate_is_named_with_both_files(folder, spoke, authority):
    one, other = authority.client("one", "one"), authority.client("other", "other")
    log = refused(spoke, folder, authority, certificate=one.certificate, key=other.key)
    assert str(other.key) in log and "mismatch" in log


def test_a_token_without_its_provider_is_named_and_its_pin_is_not(folder, spoke, authority):
    device = authority.client("token", "token")
    log = refused(
        spoke, folder, authority, certificate=device.certificate,
        key="pkcs11:token=board;object=device;type=private?pin-value=271828",
    )
    assert "pkcs11" in log and "token=board" in log and "device" in log
    assert "271828" not in log


@pytest.mark.parametrize("part", ["ca", "certificate"])
def test_a_pin_is_not_shown_where_its_uri_does_not_belong(folder, spoke, authority, part):
    device = authority.client("token", "token")
    files = {"ca": authority.certificate, "certificate": device.certificate, "key": device.key,
             part: "pkcs11:token=board;object=device?pin-value=271828"}
    spoke.start(configuration(
        folder, stream("s", "https://localhost:1", path="/", tls="device"), tls("device", **files),
    ), ready=False)
    assert spoke.process.wait(10) == 78
    assert "token=board" in spoke.log and "271828" not in spoke.log


def test_a_key_behind_a_file_uri_is_used(make_upstream, make_line, identity, authority):
    device = authority.client("uri", "board-uri")
    upstream = make_upstream(identity, client_authority=authority.certificate)
    line = make_line(
        upstream, tls("uri", ca=authority.certificate, certificate=device.certificate, key=f"file:{device.key}"),
        tls="uri",
    )
    line.publish(b"known")
    upstream.wait_for_body(b"known")
    assert upstream.peers[0]["certificate"]["subject"][0][0][1] == "board-uri"


class TokenChip:
    """swtpm, a TPM in software, with a key at 0x81000001, and the settings that let OpenSSL use it."""

    CONFIGURATION = """
openssl_conf = all
[all]
providers = providers
[providers]
default = the_default
tpm2 = the_tpm
[the_default]
activate = 1
[the_tpm]
activate = 1
"""

    def __init__(self, folder):
        self.folder = folder
        (folder / "tpm").mkdir()
        (folder / "openssl.cnf").write_text(self.CONFIGURATION)
        # It wants two ports in a row, and somebody else may take the second one first: then it ends at once.
        for _ in range(10):
            self._start(free_port())
            wait_until(lambda: self.process.poll() is not None or self._answers(), "the TPM answers or ends", 60)
            if self.process.poll() is None:
                return
        raise AssertionError(f"swtpm did not start: {self._said()}")

    def _start(self, port):
        with (self.folder / "swtpm.log").open("wb") as log:
            self.process = subprocess.Popen(
                ["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={self.folder / 'tpm'}", "--server",
                 f"type=tcp,port={port}", "--ctrl", f"type=tcp,port={port + 1}", "--flags", "not-need-init,startup-clear"],
                stdout=log, stderr=log,
            )
        where = f"swtpm:port={port}"
        self.environment = {"OPENSSL_CONF": str(self.folder / "openssl.cnf"), "TPM2OPENSSL_TCTI": where}
        self.tools = {**os.environ, "TPM2TOOLS_TCTI": where, **self.environment}

    def _said(self):
        return (self.folder / "swtpm.log").read_text()

    def _answers(self):
        return self._try("tpm2_getrandom", "1")

    def make_key(self):
        for command in (
            "tpm2_createprimary -Q -C o -G ecc -c primary", "tpm2_create -Q -C primary -G ecc -u public -r private",
            "tpm2_load -Q -C primary -u public -r private -c key", "tpm2_evictcontrol -Q -C o -c key 0x81000001",
        ):
            self._run("tpm2_flushcontext", "-t")
            self._run(*command.split())
        self._run("tpm2_flushcontext", "-t")
        shown = self._run("openssl", "pkey", "-in", "handle:0x81000001", "-pubout")
        return serialization.load_pem_public_key(shown.stdout)

    def _try(self, *command):
        return subprocess.run(command, cwd=self.folder, env=self.tools, capture_output=True).returncode == 0

    def _run(self, *command):
        return subprocess.run(command, cwd=self.folder, env=self.tools, capture_output=True, check=True)

    def stop(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture
def chip(folder):
    missing = [name for name in ("swtpm", "tpm2_createprimary") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"no TPM in software here: {missing}")
    made = TokenChip(folder)
    yield made
    made.stop()


@pytest.mark.parametrize("fits", [True, False], ids=["its certificate", "another certificate"])
def test_a_key_in_a_tpm_is_found_by_its_uri_and_compared_with_the_certificate(folder, chip, spoke, authority, fits):
    """Its signatures are not tested: without a resource manager swtpm has no room for a handshake."""
    public_key = chip.make_key()
    certificate = folder / "chip.pem"
    certificate.write_bytes(
        authority.client_for(public_key, "board-tpm").public_bytes(serialization.Encoding.PEM)
    )
    spoke.environment = chip.environment
    if not fits:
        log = refused(
            spoke, folder, authority, certificate=authority.client("soft", "soft").certificate, key="handle:0x81000001"
        )
        assert "handle:0x81000001" in log and "mismatch" in log
        return
    spoke.start(configuration(
        folder, stream("s", "https://localhost:1", path="/", tls="chip"),
        tls("chip", ca=authority.certificate, certificate=certificate, key="handle:0x81000001"),
    ))
    assert spoke.json("/certs")["certificates"][0]["cert_chain"][0]["path"] == str(certificate)


def test_an_expired_certificate_of_our_own_is_said_at_start_and_the_daemon_runs(make_upstream, make_line, identity, authority):
    device = authority.client("past", "past", days=(-20, -10))
    upstream = make_upstream(identity)
    line = make_line(
        upstream, tls("past", ca=authority.certificate, certificate=device.certificate, key=device.key), tls="past"
    )
    said = line.spoke.wait_for_log("has expired")
    assert str(device.certificate) in said and "valid until" in said


# SIGHUP


def test_after_sighup_new_connections_show_the_new_certificate_and_old_ones_go_on(
    folder, make_upstream, make_line, identity, authority
):
    first, second = authority.client("first", "first"), authority.client("second", "second")
    certificate, key = folder / "device.pem", folder / "device.key"
    shutil.copy(first.certificate, certificate), shutil.copy(first.key, key)
    upstream = make_upstream(identity, client_authority=authority.certificate)
    line = make_line(
        upstream, tls("device", ca=authority.certificate, certificate=certificate, key=key), tls="device"
    )
    line.publish(b"one")
    upstream.wait_for_body(b"one")
    shutil.copy(second.certificate, certificate), shutil.copy(second.key, key)
    line.spoke.reload()
    line.publish(b"two")
    upstream.wait_for_body(b"two")
    assert len(upstream.peers) == 1, "the connection that was up goes on"
    upstream.drop_connections()
    line.publish(b"three")
    upstream.wait_for_body(b"three")
    names = [peer["certificate"]["subject"][0][0][1] for peer in upstream.peers]
    assert names == ["first", "second"]


def test_after_sighup_with_files_that_do_not_fit_the_old_ones_stay(folder, make_upstream, make_line, identity, authority):
    first, second = authority.client("kept", "kept"), authority.client("unfit", "unfit")
    certificate, key = folder / "device.pem", folder / "device.key"
    shutil.copy(first.certificate, certificate), shutil.copy(first.key, key)
    upstream = make_upstream(identity, client_authority=authority.certificate)
    line = make_line(
        upstream, tls("device", ca=authority.certificate, certificate=certificate, key=key), tls="device"
    )
    shutil.copy(second.key, key)
    line.spoke.reload()
    line.spoke.wait_for_log("the old configuration stays in force")
    line.publish(b"record")
    upstream.wait_for_body(b"record")
    assert upstream.peers[0]["certificate"]["subject"][0][0][1] == "kept"


# /certs


def test_certs_has_envoys_shape(folder, spoke, authority):
    device = authority.client("shown", "shown.example", days=(-1, 30))
    spoke.start(configuration(
        folder, stream("s", "https://localhost:1", path="/", tls="device"),
        tls("device", ca=authority.certificate, certificate=device.certificate, key=device.key),
    ))
    page = spoke.json("/certs")
    assert list(page) == ["certificates"] and len(page["certificates"]) == 1
    table = page["certificates"][0]
    assert set(table) == {"ca_cert", "cert_chain"}
    for shown, path in [(table["ca_cert"], authority.certificate), (table["cert_chain"], device.certificate)]:
        real = x509.load_pem_x509_certificate(path.read_bytes())
        assert len(shown) == 1
        assert shown[0]["path"] == str(path)
        assert int(shown[0]["serial_number"], 16) == real.serial_number
        assert shown[0]["valid_from"] == real.not_valid_before_utc.strftime("%Y-%m-%dT%H:%M:%SZ")
        assert shown[0]["expiration_time"] == real.not_valid_after_utc.strftime("%Y-%m-%dT%H:%M:%SZ")
        left = real.not_valid_after_utc - datetime.now(timezone.utc)
        assert abs(int(shown[0]["days_until_expiration"]) - left.days) <= 1
        assert isinstance(shown[0]["days_until_expiration"], str)
    assert table["cert_chain"][0]["subject_alt_names"] == [{"dns": "shown.example"}]


# Both families


class BlackHole:
    """An address and port that answers nothing: its queue of connections is full."""

    def __init__(self, family, address, port):
        self.socket = socket.socket(family)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind((address, port))
        self.socket.listen(0)
        self.clients = []
        for _ in range(3):
            client = socket.socket(family)
            client.setblocking(False)
            client.connect_ex((address, port))
            self.clients.append(client)

    def close(self):
        for each in [self.socket, *self.clients]:
            each.close()


class Mute:
    """An address and port that takes connections and never speaks."""

    def __init__(self, family, address, port):
        self.socket = socket.create_server((address, port), family=family)

    def close(self):
        self.socket.close()


def both_families(folder):
    """A wrapper in whose mount namespace `both.test` has an address of each family."""
    hosts = folder / "hosts"
    hosts.write_text("127.0.0.1 localhost\n::1 both.test\n127.0.0.1 both.test\n")
    wrapper = ["unshare", "-rm", "sh", "-c", f'mount --bind {hosts} /etc/hosts && exec "$@"', "sh"]
    shown = subprocess.run([*wrapper, "getent", "ahosts", "both.test"], capture_output=True, text=True)
    if "::1" not in shown.stdout or "127.0.0.1" not in shown.stdout:
        pytest.skip(f"this machine has no IPv6 or no namespaces: {shown.stdout}{shown.stderr}")
    return wrapper


@pytest.fixture
def race(folder, make_broker, make_publisher, make_upstream, authority):
    """A daemon whose upstream has both families; one of them is what the test says."""
    ended = []

    def start(dead, secure, families=("127.0.0.1",)):
        wrapper = both_families(folder)
        identity = authority.server("both", names=("both.test",)) if secure else None
        upstream = make_upstream(identity, addresses=families)
        for obstacle, family, address in dead:
            ended.append(obstacle(family, address, upstream.port))
        daemon = Spoke(folder, wrapper=wrapper)
        ended.append(daemon)
        broker = make_broker("max_queued_messages 0")
        keys = {"tls": "fleet"} if secure else {}
        url = f"{'https' if secure else 'http'}://both.test:{upstream.port}"
        daemon.start(configuration(
            folder, stream("state", url, path="/v1/state", durability="sync", **keys),
            mqtt(broker.url, ("in/state", "state")), tls("fleet", ca=authority.certificate) if secure else "",
        ))
        wait_until(lambda: daemon.stat("spoke.mqtt.connected") == 1, lambda: daemon.log)
        return daemon, upstream, make_publisher(broker)

    yield start
    for each in ended:
        each.close() if hasattr(each, "close") else each.cleanup()


# An address that is waited for costs 5 s: the time of a connection, or of a handshake.
SOON = 2


def taken(upstream, publisher, body):
    begun = time.monotonic()
    publisher.publish("in/state", body)
    publisher.flush()
    upstream.wait_for_body(body, 20)
    return time.monotonic() - begun


def assert_soon(daemon, upstream, publisher):
    """A record arrives soon by a daemon that has not been there before."""
    numbers = itertools.count()

    def first_record():
        if number := next(numbers):
            daemon.kill()
            daemon.start()
            wait_until(lambda: daemon.stat("spoke.mqtt.connected") == 1, lambda: daemon.log)
        return taken(upstream, publisher, b"record %d" % number)

    within(SOON, first_record)


@pytest.mark.parametrize("secure", [False, True], ids=["h2c", "tls"])
def test_a_black_hole_on_ipv6_costs_a_quarter_of_a_second(race, secure):
    daemon, upstream, publisher = race([(BlackHole, socket.AF_INET6, "::1")], secure)
    assert_soon(daemon, upstream, publisher)
    cluster = f"cluster.both.test_{upstream.port}."
    assert daemon.stat(cluster + "upstream_cx_connect_fail") == 0
    assert daemon.stat(cluster + "upstream_cx_active") == 1

    def next_record():
        upstream.drop_connections()
        return taken(upstream, publisher, b"next %d" % len(upstream.whole()))

    within(SOON, next_record)


def test_an_ipv6_server_that_never_finishes_tls_loses_to_ipv4(race):
    daemon, upstream, publisher = race([(Mute, socket.AF_INET6, "::1")], True)
    assert_soon(daemon, upstream, publisher)


def test_a_black_hole_on_ipv4_does_not_matter_to_a_name_with_ipv6(race):
    daemon, upstream, publisher = race([(BlackHole, socket.AF_INET, "127.0.0.1")], True, families=("::1",))
    assert_soon(daemon, upstream, publisher)


def test_when_no_family_answers_both_are_named_and_nothing_is_lost(race):
    daemon, upstream, publisher = race([(BlackHole, socket.AF_INET6, "::1")], False)
    upstream.stop()
    publisher.publish("in/state", b"kept")
    publisher.flush()
    said = daemon.wait_for_log("no answer within 5000 ms", 20)
    assert "127.0.0.1" in said and "::1" in said
    assert daemon.stat("spoke.stream.state.backlog_records") == 1


# MQTT over TLS


def broker_options(identity, *more):
    return (f"certfile {identity.certificate}", f"keyfile {identity.key}", *more)


def test_a_broker_whose_certificate_is_for_another_name_gets_no_connect(folder, spoke, make_broker, authority):
    broker = make_broker(*broker_options(authority.server("other-broker", names=("elsewhere.example",))))
    spoke.start(configuration(
        folder, stream("s", "http://localhost:1", path="/"),
        mqtt(f"mqtts://localhost:{broker.port}", ("#", "s"), tls="fleet"), tls("fleet", ca=authority.certificate),
    ))
    said = spoke.wait_for_log("hostname mismatch")
    assert "elsewhere.example" in said and "localhost" in said
    assert spoke.stat("spoke.mqtt.connected") == 0


def test_after_sighup_the_next_connection_to_the_broker_shows_the_new_certificate(folder, spoke, make_broker, authority):
    first, second = authority.client("mqtt-1", "first"), authority.client("mqtt-2", "second")
    certificate, key = folder / "device.pem", folder / "device.key"
    shutil.copy(first.certificate, certificate), shutil.copy(first.key, key)
    options = broker_options(
        authority.server("broker"), f"cafile {authority.certificate}", "require_certificate true", "use_identity_as_username true"
    )
    broker = make_broker(*options)
    spoke.start(configuration(
        folder, stream("s", "http://localhost:1", path="/"),
        mqtt(f"mqtts://localhost:{broker.port}", ("in/#", "s"), tls="fleet"),
        tls("fleet", ca=authority.certificate, certificate=certificate, key=key),
    ))
    wait_until(lambda: spoke.stat("spoke.mqtt.connected") == 1, lambda: spoke.log)
    shutil.copy(second.certificate, certificate), shutil.copy(second.key, key)
    spoke.reload()
    assert spoke.stat("spoke.mqtt.connections") == 1, "the connection that is up goes on"
    broker.stop()
    broker.start()
    wait_until(lambda: spoke.stat("spoke.mqtt.connections") == 2, lambda: spoke.log, 30)
    text = broker.log.read_text()
    assert "u'first'" in text and "u'second'" in text

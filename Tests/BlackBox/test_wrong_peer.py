"""An upstream that is not the one, or not HTTP/2: nothing is sent, the log says why, nothing is lost."""

import socket
import threading

import pytest
from spoke import configuration, stream, tls
from waiting import holds_for, wait_until


@pytest.fixture
def broken(authority):
    return {
        "wrong name": authority.server("wrong-name", names=("elsewhere.example",)),
        "expired": authority.server("expired", days=(-20, -10)),
        "not yet valid": authority.server("future", days=(10, 20)),
        "self-signed": authority.self_signed("self-signed"),
        "client certificate": authority.client("client-as-server", "localhost"),
    }


@pytest.mark.parametrize("fault", ["wrong name", "expired", "not yet valid", "self-signed", "client certificate"])
def test_a_certificate_that_does_not_hold_gets_no_request(make_upstream, make_line, broken, identity, fault):
    upstream = make_upstream(broken[fault])
    line = make_line(upstream)
    line.publish(b"secret")
    said = line.spoke.wait_for_log("certificate", 20) if fault != "wrong name" else line.spoke.wait_for_log("name", 20)
    assert f"localhost" in said
    holds_for(lambda: not upstream.requests, "no request", 1)
    assert line.spoke.stat("spoke.stream.state.backlog_records") == 1
    upstream.stop()
    upstream.identity = identity
    upstream.start()
    assert upstream.wait_for_body(b"secret", 40)


def test_an_authority_that_is_not_configured_is_not_trusted(folder, spoke, make_upstream, make_line, identity, authority):
    other = type(authority)(folder, "other authority")
    upstream = make_upstream(identity)
    line = make_line(upstream, tls("other", ca=other.certificate), tls="other")
    line.publish(b"secret")
    line.spoke.wait_for_log("certificate")
    holds_for(lambda: not upstream.requests, "no request", 1)


@pytest.mark.parametrize("alpn", [("http/1.1",), ()], ids=["http/1.1", "none"])
def test_a_server_without_h2_gets_no_request(make_upstream, make_line, identity, alpn):
    upstream = make_upstream(identity, alpn=alpn)
    line = make_line(upstream)
    line.publish(b"secret")
    said = line.spoke.wait_for_log("h2")
    assert str(upstream.port) in said or "localhost" in said
    holds_for(lambda: not upstream.requests, "no request", 1)
    assert line.spoke.stat("spoke.stream.state.backlog_records") == 1


class Talker:
    """A TCP server that says the same bytes to everyone, and reads whatever comes."""

    def __init__(self, greeting: bytes, close=False):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.greeting, self.close_at_once = greeting, close
        self.received = 0
        self.accepted = 0
        self.running = True
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while self.running:
            try:
                client, _ = self.socket.accept()
            except OSError:
                return
            self.accepted += 1
            threading.Thread(target=self.talk, args=(client,), daemon=True).start()

    def talk(self, client):
        try:
            client.sendall(self.greeting)
            while not self.close_at_once and (data := client.recv(65536)):
                self.received += len(data)
        except OSError:
            pass
        client.close()

    def stop(self):
        self.running = False
        self.socket.close()


GREETINGS = {
    "http/1.1": b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
    "noise": bytes(range(256)) * 16,
    "silence and close": b"",
    "ssh": b"SSH-2.0-OpenSSH_9.2\r\n",
    "huge frame": b"\xff\xff\xff\x04\x00\x00\x00\x00\x00" + bytes(1000),
    "ping before settings": b"\x00\x00\x08\x06\x00\x00\x00\x00\x00" + bytes(8),
    "endless settings": (b"\x00\x00\x06\x04\x00\x00\x00\x00\x00" + b"\x00\x03\x00\x00\x00\x01") * 20000,
}


@pytest.mark.parametrize("security", ["http", "https"])
@pytest.mark.parametrize("greeting", GREETINGS)
def test_a_peer_that_speaks_something_else_costs_nothing_and_is_named(
    folder, spoke, make_broker, make_publisher, authority, greeting, security
):
    from spoke import mqtt

    talker = Talker(GREETINGS[greeting], close=greeting == "silence and close")
    try:
        broker = make_broker()
        secure = {"tls": "fleet"} if security == "https" else {}
        spoke.start(configuration(
            folder, stream("s", f"{security}://127.0.0.1:{talker.port}", path="/s", **secure),
            mqtt(broker.url, ("#", "s")), tls("fleet", ca=authority.certificate),
        ))
        wait_until(lambda: spoke.stat("spoke.mqtt.connected") == 1, "MQTT is connected")
        publisher = make_publisher(broker)
        publisher.publish("x", b"kept")
        publisher.flush()
        wait_until(lambda: talker.accepted >= 2, "a second try", 30)
        spoke.wait_for_log(str(talker.port))
        assert spoke.stat("spoke.stream.s.backlog_records") == 1
        status = open(f"/proc/{spoke.process.pid}/status").read()
        assert int(status.split("VmRSS:")[1].split()[0]) < 14 * 1024
        assert spoke.stat("spoke.stream.s.delivered") == 0
    finally:
        talker.stop()


def test_a_client_certificate_is_shown_to_an_upstream_that_asks(make_upstream, make_line, identity, authority):
    client = authority.client("board-1", "board-1")
    upstream = make_upstream(identity, client_authority=authority.certificate)
    line = make_line(
        upstream, tls("device", ca=authority.certificate, certificate=client.certificate, key=client.key),
        tls="device",
    )
    line.publish(b"known")
    upstream.wait_for_body(b"known")
    assert upstream.peers[0]["certificate"]["subject"][0][0][1] == "board-1"


def test_an_upstream_that_asks_for_a_certificate_refuses_a_board_without_one(make_upstream, make_line, identity, authority):
    upstream = make_upstream(identity, client_authority=authority.certificate)
    line = make_line(upstream)
    line.publish(b"unknown")
    wait_until(lambda: upstream.failed_handshakes, "a failed handshake")
    line.spoke.wait_for_log("certificate")
    assert not upstream.requests
    assert line.spoke.stat("spoke.stream.state.backlog_records") == 1


def test_a_key_that_does_not_fit_is_a_configuration_error(folder, spoke, make_upstream, authority):
    client, other = authority.client("a", "a"), authority.client("b", "b")
    spoke.start(configuration(
        folder, stream("s", "https://localhost:1", path="/", tls="device"),
        tls("device", ca=authority.certificate, certificate=client.certificate, key=other.key),
    ), ready=False)
    assert spoke.process.wait(30) == 78
    assert "device" in spoke.log or str(other.key) in spoke.log


@pytest.mark.parametrize("key", ["ca", "certificate"])
def test_a_missing_file_of_a_tls_table_is_named(folder, spoke, key, authority):
    files = {"ca": authority.certificate}
    files[key] = folder / "not-there.pem"
    if key == "certificate":
        files["key"] = folder / "not-there.key"
    spoke.start(configuration(
        folder, stream("s", "https://localhost:1", path="/", tls="device"), tls("device", **files)
    ), ready=False)
    assert spoke.process.wait(30) == 78
    assert "not-there" in spoke.log


def test_a_name_that_does_not_resolve_is_said_and_nothing_is_lost(folder, spoke, make_broker, make_publisher):
    from spoke import mqtt

    broker = make_broker()
    spoke.start(configuration(
        folder, stream("s", "http://no-such-host.invalid:80", path="/s"), mqtt(broker.url, ("#", "s"))
    ))
    wait_until(lambda: spoke.stat("spoke.mqtt.connected") == 1, "MQTT is connected")
    publisher = make_publisher(broker)
    publisher.publish("x", b"kept")
    publisher.flush()
    # A resolver that nobody answers takes its time.
    spoke.wait_for_log("no-such-host.invalid", 90)
    assert spoke.stat("spoke.stream.s.backlog_records") == 1

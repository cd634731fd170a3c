"""SIGHUP: what is not valid changes nothing, what has not changed goes on, what waits for a restart is named."""

import json
import re
import socket
import threading

from spoke import configuration, mqtt, serial, stream
from waiting import wait_until


def test_a_password_file_that_is_gone_refuses_the_reload_and_the_broker_stays(
    folder, spoke, make_upstream, make_broker, make_publisher
):
    broker, upstream = make_broker(), make_upstream()
    target = stream("s", upstream.url, path="/", durability="sync")
    spoke.start(configuration(folder, target, mqtt(broker.url, ("a", "s"))))
    wait_until(lambda: spoke.stat("spoke.mqtt.connected") == 1, "connected")
    spoke.reload(
        configuration(folder, target, mqtt(broker.url, ("a", "s"), username="u", password_file=folder / "none"))
    )
    said = spoke.wait_for_log("reload refused, the old configuration stays in force: ")
    assert re.search(rf"force: {re.escape(str(spoke.file))}:\d+:\d+: mqtt password_file: {folder}/none: No such file", said)
    publisher = make_publisher(broker)
    publisher.publish("a", b"still here")
    upstream.wait_for_body(b"still here")
    assert spoke.stat("spoke.mqtt.connections") == 1


def test_each_problem_of_a_refused_reload_is_said_once_and_no_password_leaves(folder, make_upstream, make_line):
    upstream = make_upstream()
    line = make_line(upstream, reports=True)
    line.spoke.reload(
        line.text.replace(f'target = "{upstream.url}"', f'target = "https://user:SECRETPW@localhost:{upstream.port}"')
        .replace('level = "debug"', 'level = "loud"')
    )
    line.spoke.wait_for_log("reload refused")
    wait_until(lambda: any(b'"config_rejected"' in r.body for r in upstream.whole()), "the report")
    log = line.spoke.log
    assert log.count("'level' in [log] must be") == 1
    # One for the stream of the line, one for its reports.
    assert log.count("is 'https://***@localhost") == 2, log
    assert "SECRETPW" not in log
    assert not any(b"SECRETPW" in r.body for r in upstream.whole())


def test_a_stream_that_is_added_costs_neither_the_broker_nor_a_port_its_connection(
    folder, make_upstream, make_line, make_terminal
):
    terminal, upstream = make_terminal(), make_upstream()
    line = make_line(upstream, serial("ecu", terminal.path, "state"))
    line.spoke.wait_for_ports()
    terminal.write(b"the first half ")
    line.spoke.wait_for_stat("spoke.serial.ecu.bytes", 15)
    first = "[[stream]]\nname = \"state\""
    assert first in line.text
    line.spoke.reload(line.text.replace(first, stream("before", upstream.url, path="/before") + first))
    line.spoke.wait_for_log("configuration read again")
    terminal.write(b"and the second\n")
    upstream.wait_for_body(b"the first half and the second")
    line.publish(b"1")
    upstream.wait_for_body(b"1")
    stats = line.spoke.stats()
    assert stats["spoke.mqtt.connections"] == 1
    assert stats["spoke.serial.ecu.reopens"] == 0


def test_a_port_that_is_changed_is_opened_anew_and_the_others_stay(folder, make_upstream, make_line, make_terminal):
    changed, kept, upstream = make_terminal("changed"), make_terminal("kept"), make_upstream()
    line = make_line(upstream, serial("changed", changed.path, "state"), serial("kept", kept.path, "state"))
    line.spoke.wait_for_ports()
    kept.write(b"kept ")
    line.spoke.wait_for_stat("spoke.serial.kept.bytes", 5)
    text = line.text.replace(serial("changed", changed.path, "state"), "")
    line.spoke.reload(text + serial("changed", changed.path, "state", framing="json-lines"))
    kept.write(b"whole\n")
    upstream.wait_for_body(b"kept whole")
    wait_until(lambda: line.spoke.json("/serial")["ports"][1]["state"] == "open", "open again")
    changed.write(b'not json\n{"a":1}\n')
    upstream.wait_for_body(b'{"a":1}')
    ports = line.spoke.json("/serial")["ports"]
    assert [port["name"] for port in ports] == ["kept", "changed"]
    assert ports[0]["reopens"] == 0


def test_tables_that_are_settled_at_the_start_are_named_and_stay_in_force(folder, make_upstream, make_line):
    upstream = make_upstream()
    line = make_line(upstream, reports=True)
    before = line.spoke.json("/spool")
    line.spoke.reload(line.text.replace('size = "8MiB"', 'size = "16MiB"'))
    line.spoke.wait_for_log("changes of [spool] take effect at the next start")
    after = line.spoke.json("/spool")
    assert (after["size"], after["directory"]) == (before["size"], before["directory"])
    wait_until(
        lambda: any(r.body == b'{"restart_needed":{"tables":["[spool]"]}}' for r in upstream.whole()), "the report"
    )


def test_the_level_of_the_log_is_set_while_it_runs(folder, spoke, make_upstream):
    spoke.start(configuration(folder, stream("s", make_upstream().url, path="/"), log="error"))
    assert json.loads(spoke.get("/logging")[2])["level"] == "error"
    assert spoke.get("/logging?level=info")[0] == 405
    assert spoke.get("/logging?level=nonsense", "POST")[0] == 400
    status, kind, text = spoke.get("/logging?level=info", "POST")
    assert (status, kind, json.loads(text)["level"]) == (200, "application/json", "info")
    spoke.reload()
    assert json.loads(spoke.get("/logging")[2])["level"] == "error"
    assert "configuration read again" not in spoke.log, "the file's level holds before the line is written"


class RefusingBroker:
    """Accepts every connection and refuses every subscription (MQTT 3.1.1 §3.9.3)."""

    def __init__(self):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                client, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(client,), daemon=True).start()

    def _talk(self, client):
        with client, client.makefile("rb") as stream:
            while first := stream.read(1):
                length, shift = 0, 0
                while True:
                    digit = stream.read(1)[0]
                    length |= (digit & 127) << shift
                    shift += 7
                    if digit < 128:
                        break
                body = stream.read(length)
                if first[0] >> 4 == 1:
                    client.sendall(b"\x20\x02\x00\x00")
                elif first[0] >> 4 == 8:
                    client.sendall(b"\x90\x03" + body[:2] + b"\x80")
                elif first[0] >> 4 == 12:
                    client.sendall(b"\xd0\x00")


def test_a_subscription_that_the_broker_refuses_is_said(folder, spoke, make_upstream):
    upstream, broker = make_upstream(), RefusingBroker()
    spoke.start(
        configuration(
            folder,
            stream("s", upstream.url, path="/", durability="sync"),
            stream("health", upstream.url, path="/health", durability="sync"),
            '[reports]\nstream = "health"\n',
            mqtt(f"mqtt://127.0.0.1:{broker.port}", ("secret/#", "s")),
        )
    )
    spoke.wait_for_log("the broker refused the subscription to 'secret/#'")
    spoke.wait_for_stat("spoke.mqtt.refused_subscriptions", 1)
    assert spoke.json("/mqtt")["subscriptions"][0]["refused"] is True
    wait_until(
        lambda: any(r.body == b'{"subscription_refused":{"filter":"secret/#"}}' for r in upstream.whole()), "report"
    )
    broker.socket.close()

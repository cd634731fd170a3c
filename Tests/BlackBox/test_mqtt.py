"""MQTT against a real mosquitto: acknowledged after it is safe, through every kind of interruption."""

import re
import subprocess
from pathlib import Path

import paho.mqtt.publish as publish
import pytest
from broker import Publisher
from spoke import configuration, mqtt, stream, tls
from waiting import holds_for, wait_until


def connected(spoke):
    wait_until(lambda: spoke.stat("spoke.mqtt.connected") == 1, lambda: spoke.log[-2000:], 30)


def test_what_was_published_while_it_was_dead_arrives(make_upstream, make_line):
    line = make_line(make_upstream())
    line.publish(b"before")
    line.upstream.wait_for_body(b"before")
    line.spoke.kill()
    line.publish(b"meanwhile 1", b"meanwhile 2")
    line.spoke.start()
    line.publish(b"after")
    line.upstream.wait_for_body(b"after")
    bodies = [r.body for r in line.upstream.whole()]
    assert [b for b in dict.fromkeys(bodies)] == [b"before", b"meanwhile 1", b"meanwhile 2", b"after"]


def test_a_message_is_acknowledged_to_the_broker_only_when_it_is_on_disk(make_upstream, make_line):
    upstream = make_upstream(paused=True)
    line = make_line(upstream)
    for round_number in range(5):
        line.publish(*[b"%d.%d" % (round_number, n) for n in range(20)])
        line.spoke.kill()
        line.spoke.start()
        connected(line.spoke)
    upstream.start()
    wanted = [b"%d.%d" % (r, n) for r in range(5) for n in range(20)]
    upstream.wait_for_body(wanted[-1], 40)
    wait_until(lambda: {r.body for r in upstream.whole()} >= set(wanted), "all of them", 20)
    assert [b for b in dict.fromkeys(r.body for r in upstream.whole())] == wanted


def test_a_broker_that_is_killed_and_started_again_is_found_and_subscribed_again(make_upstream, make_line):
    line = make_line(make_upstream())
    for number in range(3):
        line.broker.kill()
        wait_until(lambda: line.spoke.stat("spoke.mqtt.connected") == 0, "the loss is noticed")
        line.broker.start()
        connected(line.spoke)
        publisher = Publisher(line.broker, f"publisher-{number}")
        wait_until(
            lambda: line.broker.log.read_text().count("SUBSCRIBE from spoke-board-1") >= number + 2, "subscribed"
        )
        publisher.publish("in/state", b"%d" % number)
        publisher.flush()
        publisher.close()
        line.upstream.wait_for_body(b"%d" % number, 30)


def only_the_kept_arrives(spoke, broker, publisher, upstream):
    broker.wait_for_log("Received UNSUBSCRIBE")
    publisher.publish("gone/1", b"nobody wants this")
    publisher.publish("kept", b"wanted")
    upstream.wait_for_body(b"wanted")
    assert [r.body for r in upstream.whole()] == [b"wanted"]
    assert spoke.stat("spoke.mqtt.unmatched") == 0


def test_a_subscription_that_a_reload_takes_away_is_unsubscribed(
    folder, spoke, make_upstream, make_broker, make_publisher
):
    broker, upstream = make_broker(), make_upstream()
    target = stream("s", upstream.url, path="/")
    spoke.start(configuration(folder, target, mqtt(broker.url, ("kept", "s"), ("gone/#", "s"))))
    connected(spoke)
    broker.kill()
    # Also when the broker is not there at the time, and comes back with the session it had.
    wait_until(lambda: spoke.stat("spoke.mqtt.connected") == 0, "the loss is noticed")
    spoke.reload(configuration(folder, target, mqtt(broker.url, ("kept", "s"))))
    spoke.wait_for_log("configuration read again")
    broker.start()
    only_the_kept_arrives(spoke, broker, make_publisher(broker), upstream)


def test_a_broker_that_a_reload_takes_away_is_not_connected_any_more(folder, spoke, make_broker):
    broker = make_broker()
    target = stream("s", "http://localhost:1", path="/")
    spoke.start(configuration(folder, target, mqtt(broker.url, ("#", "s"))))
    connected(spoke)
    spoke.reload(configuration(folder, target))
    spoke.wait_for_log("configuration read again")
    assert spoke.stat("spoke.mqtt.connected") == 0


def test_a_subscription_that_a_restart_takes_away_is_unsubscribed(
    folder, spoke, make_upstream, make_broker, make_publisher
):
    broker, upstream = make_broker(), make_upstream()
    target = stream("s", upstream.url, path="/", durability="sync")
    spoke.start(configuration(folder, target, mqtt(broker.url, ("kept", "s"), ("gone/#", "s"))))
    connected(spoke)
    spoke.kill()
    # The session at the broker has both. A start that does not reach the broker forgets nothing.
    broker.kill()
    spoke.start(configuration(folder, target, mqtt(broker.url, ("kept", "s"))))
    spoke.kill()
    broker.start()
    spoke.start()
    connected(spoke)
    only_the_kept_arrives(spoke, broker, make_publisher(broker), upstream)
    wait_until(lambda: b"gone" not in (folder / "spool/subscriptions").read_bytes(), "it is written down")
    spoke.terminate()
    before = broker.log.read_text().count("Received SUBSCRIBE")
    spoke.start()
    broker.wait_for_log("Received SUBSCRIBE", before + 1)
    assert broker.log.read_text().count("Received UNSUBSCRIBE") == 1, "once is enough"


def test_a_list_of_subscriptions_that_cannot_be_read_is_named(folder, spoke, make_upstream, make_broker):
    broker = make_broker()
    spoke.start(configuration(folder, stream("s", make_upstream().url, path="/"), mqtt(broker.url, ("#", "s"))))
    connected(spoke)
    assert "earlier subscriptions" not in spoke.log, "there was no list to be read"
    spoke.terminate()
    written = folder / "spool/subscriptions"
    written.unlink()
    written.mkdir()
    spoke.start()
    spoke.wait_for_log("earlier subscriptions stay: ")
    connected(spoke)


def test_a_broker_that_comes_late_is_found(folder, spoke, make_upstream, make_broker, make_publisher):
    broker, upstream = make_broker(), make_upstream()
    broker.kill()
    spoke.start(configuration(folder, stream("s", upstream.url, path="/"), mqtt(broker.url, ("#", "s"))))
    assert spoke.stat("spoke.mqtt.connected") == 0
    broker.start()
    connected(spoke)
    make_publisher(broker).publish("x", b"late")
    upstream.wait_for_body(b"late")


def test_a_broker_that_hangs_loses_nothing(make_upstream, make_line):
    line = make_line(make_upstream())
    line.broker.pause()
    for number in range(10):
        line.publisher.publish("in/state", b"%d" % number)
    line.broker.resume()
    line.publisher.flush(30)
    assert [r.body for r in line.upstream.wait_for(10, 30)] == [b"%d" % n for n in range(10)]


def test_messages_of_qos_0_and_retained_ones_arrive(make_upstream, make_line, make_broker):
    line = make_line(make_upstream(), filters=[("in/#", "state")])
    line.publisher.publish("in/a", b"qos 0", qos=0)
    line.upstream.wait_for_body(b"qos 0")
    line.publisher.publish("in/kept", b"retained", retain=True)
    line.publisher.flush()
    assert line.upstream.wait_for_body(b"retained").header("ce-subject") == "in/kept"


def test_the_first_filter_of_the_file_that_matches_takes_a_message_once(
    folder, spoke, make_upstream, make_broker, make_publisher
):
    upstream, broker = make_upstream(), make_broker()
    spoke.start(configuration(
        folder,
        *(stream(name, upstream.url, path=f"/{name}") for name in ("exact", "plus", "hash")),
        mqtt(broker.url, ("a/b/c", "exact"), ("a/+/c", "plus"), ("a/#", "hash")),
    ))
    connected(spoke)
    publisher = make_publisher(broker)
    topics = {"a/b/c": "/exact", "a/x/c": "/plus", "a": "/hash", "a/x/y/z": "/hash", "a//c": "/plus"}
    for topic in topics:
        publisher.publish(topic, topic.encode())
    publisher.publish("b/none", b"for nobody")
    publisher.publish("a/last", b"a/last")
    publisher.flush()
    upstream.wait_for_body(b"a/last")
    wait_until(lambda: len(upstream.whole()) >= len(topics) + 1, "all")
    assert {r.body.decode(): r.path for r in upstream.whole()} == {**topics, "a/last": "/hash"}
    assert len(upstream.whole()) == len(topics) + 1


def test_topics_of_any_text_arrive_as_the_subject(make_upstream, make_line):
    line = make_line(make_upstream(), filters=[("in/#", "state")])
    topic = "in/größe 100%/\"quoted\"/日本"
    line.publisher.publish(topic, b"x")
    subject = line.upstream.wait_for_body(b"x").header("ce-subject")
    # CloudEvents 1.0, HTTP binding §3.1.3.2: what is not printable ASCII is percent-encoded, and so
    # are the space, the double quote and the percent sign.
    from urllib.parse import unquote
    assert subject.isascii()
    assert " " not in subject and '"' not in subject
    assert unquote(subject) == topic


def test_qos_2_is_refused_with_the_reason(folder):
    from spoke import check

    checked = check(folder, configuration(
        folder, stream("s", "http://localhost:1", path="/"), mqtt("mqtt://127.0.0.1:1", ("a", "s"), qos=2)
    ))
    assert checked.returncode == 78
    said = (checked.stdout + checked.stderr).lower()
    assert "qos" in said and "2" in said
    assert any(word in said for word in ("lost", "lose", "crash", "not safe", "only in memory", "safely stored"))


def test_a_long_backlog_is_taken_from_the_broker_and_acknowledged(make_upstream, make_line):
    line = make_line(make_upstream(paused=True))
    payloads = [b"%d" % n for n in range(3000)]
    line.publish(*payloads)
    line.spoke.wait_for_stat("spoke.stream.state.records_in", 3000, 60)
    wait_until(lambda: line.spoke.stat("spoke.mqtt.unacknowledged") == 0, "all are acknowledged")
    assert line.spoke.stat("spoke.stream.state.backlog_records") == 3000


def test_a_backlog_that_the_broker_has_is_taken_at_once_while_nothing_goes_upstream(folder, spoke, make_broker):
    """The broker sends its 20 messages at once and waits: nothing that comes from outside wakes the gateway then."""
    broker = make_broker()
    text = configuration(
        folder, stream("s", "http://localhost:1", path="/", durability="spill"),
        mqtt(broker.url, ("#", "s"), client_id="spoke"),
    )
    spoke.start(text)
    connected(spoke)
    spoke.terminate()
    publish.multiple([("x", b"%d" % n, 1, False) for n in range(300)], hostname="localhost", port=broker.port)
    spoke.start(text)
    connected(spoke)
    # Asked of the broker: a question to the gateway would wake it. Of the 15 waits one takes 5 s or more.
    broker.wait_for_log("Received PUBACK from spoke", 300, 30)
    assert spoke.stat("spoke.stream.s.records_in") == 300


def test_a_broker_over_tls(folder, spoke, make_upstream, make_broker, identity, authority):
    broker, upstream = make_broker(identity=identity), make_upstream()
    url = broker.url.replace("mqtt://127.0.0.1", "mqtts://localhost")
    spoke.start(configuration(
        folder, stream("s", upstream.url, path="/"), mqtt(url, ("#", "s"), tls="local"),
        tls("local", ca=authority.certificate),
    ))
    connected(spoke)
    publish.single("x", b"over tls", qos=1, hostname="localhost", port=broker.port,
                   tls={"ca_certs": str(authority.certificate)})
    upstream.wait_for_body(b"over tls")


@pytest.mark.parametrize("bad", ["self-signed", "wrong-name"])
def test_a_broker_that_is_not_who_it_should_be_gets_nothing(folder, spoke, make_broker, authority, bad):
    wrong = (
        authority.self_signed("broker-self-signed") if bad == "self-signed"
        else authority.server("broker-wrong-name", names=("elsewhere.example",))
    )
    broker = make_broker(identity=wrong)
    url = broker.url.replace("mqtt://127.0.0.1", "mqtts://localhost")
    spoke.start(configuration(
        folder, stream("s", "http://localhost:1", path="/"), mqtt(url, ("#", "s"), tls="local"),
        tls("local", ca=authority.certificate),
    ))
    spoke.wait_for_log("certificate")
    holds_for(lambda: spoke.stat("spoke.mqtt.connected") == 0, "no connection", 2)
    assert "CONNECT" not in broker.log.read_text()


def test_a_password_comes_from_a_file_and_a_refusal_is_said(folder, spoke, make_upstream, make_broker):
    passwords = folder / "passwords"
    subprocess.run(["mosquitto_passwd", "-c", "-b", passwords, "spoke", "secret"], check=True)
    # mosquitto reads it as a user of its own.
    passwords.chmod(0o644)
    folder.chmod(0o755)
    broker, upstream = make_broker("allow_anonymous false", f"password_file {passwords}"), make_upstream()
    secret = folder / "secret"
    secret.write_text("wrong\n")
    spoke.start(configuration(
        folder, stream("s", upstream.url, path="/"),
        mqtt(broker.url, ("#", "s"), username="spoke", password_file=secret),
    ))
    spoke.wait_for_log("not authori")
    secret.write_text("secret\n")
    spoke.reload()
    connected(spoke)
    publish.single("x", b"known", qos=1, hostname="127.0.0.1", port=broker.port,
                   auth={"username": "spoke", "password": "secret"})
    upstream.wait_for_body(b"known")
    assert "secret\n" not in spoke.log and "wrong" not in spoke.log


def peak(process) -> int:
    status = (Path("/proc") / str(process.pid) / "status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status).group(1))


@pytest.mark.parametrize("qos", [0, 1])
def test_a_message_without_measure_costs_no_memory_and_is_dropped_with_a_report(make_upstream, make_line, qos):
    upstream = make_upstream()
    line = make_line(upstream, reports=True)
    line.publisher.publish("in/state", b"x" * (64 << 20), qos=qos)
    line.publish(b"small")
    upstream.wait_for_body(b"small", 60)
    gap = b'"reason":"rejected"'
    wait_until(lambda: any(gap in r.body for r in upstream.whole()), "the report", 20)
    assert line.spoke.stat("spoke.stream.state.dropped") == 1
    assert line.spoke.stat("spoke.mqtt.connections") == 1
    assert peak(line.spoke.process) <= 14 * 1024


def test_a_message_that_is_too_large_for_a_record_does_not_come_again(make_upstream, make_line):
    upstream = make_upstream()
    line = make_line(upstream, reports=True)
    line.publish(b"x" * 70_000, b"small", b"y" * (700 << 10), b"last")
    upstream.wait_for_body(b"last", 60)
    assert line.spoke.stat("spoke.stream.state.dropped") == 2
    assert line.spoke.stat("spoke.mqtt.connections") == 1
    wait_until(lambda: line.spoke.stat("spoke.mqtt.unacknowledged") == 0, "the acknowledgements", 20)
    line.spoke.terminate()
    line.spoke.start(line.text)
    connected(line.spoke)
    line.publish(b"new")
    upstream.wait_for_body(b"new", 60)
    assert line.spoke.stat("spoke.stream.state.records_in") == 1


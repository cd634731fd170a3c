"""The main job: bytes of serial ports and messages of a real broker arrive upstream over TLS."""

import datetime
import re

import pytest
from serialport import PATIENT, nmea, one_of_three, taken_from, vesc
from spoke import configuration, mqtt, serial, stream, tls
from upstream import Answer
from waiting import wait_until


def epoch_and_sequence(record_id: str, node="board-1"):
    match = re.fullmatch(rf"{node}/([\w-]+)/([\w]+)-(\d+)", record_id)
    assert match, record_id
    return match.group(1), match.group(2), int(match.group(3))


def assert_recent(time: str):
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", time), time
    age = datetime.datetime.now(datetime.timezone.utc) - datetime.datetime.fromisoformat(time)
    assert abs(age.total_seconds()) < 60


def test_an_mqtt_message_arrives_with_exactly_the_cloudevents_headers(
    make_upstream, identity, make_line
):
    upstream = make_upstream(identity)
    line = make_line(upstream, headers={"x-tenant": "berlin"}, type="scooter.state")
    line.publish(b'{"speed": 17}')
    request = upstream.wait_for(1)[0]
    assert request.body == b'{"speed": 17}'
    found = dict(request.headers)
    assert len(found) == len(request.headers), "a header appears twice"
    stream_name, _, sequence = epoch_and_sequence(found.pop("ce-id"))
    assert (stream_name, sequence) == ("state", 1)
    assert_recent(found.pop("ce-time"))
    assert found.pop("ce-clock", "unsynced") == "unsynced"
    found.pop("user-agent", None)
    assert found.pop("content-length", "13") == "13"
    assert found == {
        ":method": "POST",
        ":scheme": "https",
        ":authority": f"localhost:{upstream.port}",
        ":path": "/v1/state",
        "content-type": "application/json",
        "x-tenant": "berlin",
        "ce-specversion": "1.0",
        "ce-source": "/board-1/mqtt",
        "ce-subject": "in/state",
        "ce-type": "scooter.state",
    }
    assert upstream.peers[0]["alpn"] == "h2"
    line.spoke.wait_for_stat("spoke.stream.state.delivered", 1)
    assert line.spoke.stat("spoke.stream.state.records_in") == 1
    assert line.spoke.stat("spoke.stream.state.backlog_records") == 0


def test_a_default_type_and_a_configured_authority(make_upstream, make_line):
    line = make_line(make_upstream(), authority="ingest.example.com")
    line.publish(b"1")
    request = line.upstream.wait_for(1)[0]
    assert request.header("ce-type") == "dev.spoke.record"
    assert request.header(":authority") == "ingest.example.com"
    assert request.header(":scheme") == "http"


def test_nmea_lines_and_vesc_frames_of_serial_ports_and_mqtt_arrive_together(
    folder, spoke, make_upstream, make_terminal, make_broker, make_publisher, identity, authority
):
    upstream, broker = make_upstream(identity), make_broker()
    gnss, console, motor = (make_terminal(name) for name in ("gnss", "console", "motor"))
    keys = {"tls": "fleet", "content_type": "application/octet-stream"}
    spoke.start(configuration(
        folder,
        *(stream(name, upstream.url, path=f"/v1/{name}", **keys) for name in ("gps", "text", "vesc", "state")),
        serial("gnss", gnss.path, "gps", "nmea", 9600),
        serial("console", console.path, "text", "line"),
        serial("motor", motor.path, "vesc", "vesc"),
        mqtt(broker.url, ("telemetry/+/state", "state"), ("logs/#", "text")),
        tls("fleet", ca=authority.certificate),
    ))
    spoke.wait_for_ports()
    wait_until(lambda: spoke.stat("spoke.mqtt.connected") == 1, "MQTT is connected")
    publisher = make_publisher(broker)
    sentences = [nmea(f"GPGGA,12351{n},4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,") for n in range(9)]
    payloads = [bytes([4]) + bytes(range(n, n + 60)) for n in range(9)] + [bytes(300)]
    for sentence in sentences:
        gnss.write(sentence + b"\r\n")
    console.write(b"plain\ncarriage\r\n\n with spaces \x00\xff\n")
    for payload in payloads:
        motor.write(vesc(payload))
    publisher.publish("telemetry/9/state", b"from mqtt")
    publisher.publish("logs/deep/down", b"from the log")
    publisher.flush()
    upstream.wait_for(9 + 3 + 10 + 2)
    bodies = {path: [r for r in upstream.whole() if r.path == f"/v1/{path}"] for path in ("gps", "text", "vesc", "state")}
    assert [r.body for r in bodies["gps"]] == sentences
    assert [r.body for r in bodies["vesc"]] == payloads
    console_lines = [r for r in bodies["text"] if r.header("ce-source") == "/board-1/console"]
    assert [r.body for r in console_lines][:2] == [b"plain", b"carriage"]
    assert console_lines[-1].body == b" with spaces \x00\xff"
    assert all(r.header("ce-subject") is None for r in console_lines)
    logged = next(r for r in bodies["text"] if r.header("ce-source") == "/board-1/mqtt")
    assert (logged.body, logged.header("ce-subject")) == (b"from the log", "logs/deep/down")
    assert bodies["state"][0].header("ce-subject") == "telemetry/9/state"
    for requests in bodies.values():
        numbers = [epoch_and_sequence(r.id)[2] for r in requests]
        assert numbers == list(range(1, len(requests) + 1))
    assert spoke.stat("spoke.serial.gnss.frames") == 9
    assert spoke.stat("spoke.serial.gnss.bad_frames") == 0


def test_a_thousand_messages_arrive_once_each_and_in_order(make_upstream, identity, make_line):
    line = make_line(make_upstream(identity))
    payloads = [b'{"n": %d}' % n for n in range(1000)]
    line.publish(*payloads)
    requests = line.upstream.wait_for(1000, 60)
    assert [r.body for r in requests] == payloads
    assert [epoch_and_sequence(r.id)[2] for r in requests] == list(range(1, 1001))
    assert line.upstream.connections == 1
    assert line.upstream.protocol_errors == []


@pytest.mark.parametrize("framing", ["line", "nmea", "vesc"])
def test_the_emulated_boards_traffic_arrives_whole(folder, spoke, make_upstream, make_emulator, framing):
    upstream = make_upstream()
    link = folder / "board"
    spoke.start(configuration(
        folder, stream("s", upstream.url, path="/s", content_type="application/octet-stream", in_flight=4),
        serial("board", link, "s", framing, PATIENT),
    ))
    wanted = [n for n in range(1, 201) if framing != "nmea" or n % 3 == 1]

    def play(turn):
        before, bad = len(upstream.whole()), spoke.stat("spoke.serial.board.bad_frames")
        emulator = make_emulator(
            "--framing", framing, "--baud", "115200", "--generate", "200", "--link", str(link), held_back=True,
            name=f"emulator-{turn}")
        spoke.wait_for_ports()
        emulator.play()
        emulator.finish()
        total = taken_from(spoke, "board", "s")
        requests = sorted(upstream.whole(), key=lambda r: epoch_and_sequence(r.id)[2])
        assert [epoch_and_sequence(r.id)[2] for r in requests] == list(range(1, total + 1))
        numbers = [number for r in requests[before:] if (number := number_of(framing, r.body))]
        if numbers == wanted and total - before == 200:
            assert spoke.stat("spoke.serial.board.bad_frames") == bad
            return None
        return sorted(set(wanted) - set(numbers)) or f"{total - before} of 200 frames"

    one_of_three(play)


def number_of(framing, body):
    """The running number of a generated frame, as board-emulator's help describes it."""
    if framing == "vesc":
        return int.from_bytes(body[1:5], "big")
    match = re.search(rb'"n":(\d+)' if framing == "line" else rb",n=(\d+)", body)
    return int(match.group(1)) if match else None


def test_ids_go_on_where_they_stopped_after_a_restart(make_upstream, make_line):
    line = make_line(make_upstream())
    line.publish(b"one", b"two")
    first = line.upstream.wait_for(2)
    line.spoke.wait_for_stat("spoke.stream.state.delivered", 2)
    assert line.spoke.terminate()[0] == 0
    line.spoke.start()
    line.publish(b"three")
    third = line.upstream.wait_for(3)[2]
    _, epoch, sequence = epoch_and_sequence(third.id)
    assert third.body == b"three"
    assert epoch == epoch_and_sequence(first[0].id)[1]
    assert sequence == 3


def test_an_empty_and_a_large_payload_arrive_byte_for_byte(make_upstream, make_line):
    line = make_line(make_upstream(), content_type="application/octet-stream")
    large = bytes(range(256)) * 64
    line.publish(b"", large)
    assert [r.body for r in line.upstream.wait_for(2)] == [b"", large]


def test_response_bodies_trailers_and_informational_answers_are_read_over(make_upstream, make_line):
    def rule(request):
        return Answer(
            status=201, body=b"thank you " * 50000, trailers=[("x-checksum", "1")],
            informational=[[(":status", "103"), ("link", "</a>")]],
        )

    line = make_line(make_upstream(rule=rule))
    line.publish(b"1", b"2", b"3")
    line.spoke.wait_for_stat("spoke.stream.state.delivered", 3)
    assert [r.body for r in line.upstream.whole()] == [b"1", b"2", b"3"]
    assert line.upstream.protocol_errors == []

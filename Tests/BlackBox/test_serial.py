"""Serial ports: bytes in any portion, noise, hang-ups, ports that come late and come back."""

import contextlib
import json
import os
import re
import time
from pathlib import Path

import pytest
from serialport import PATIENT, nmea, one_of_three, taken_from, vesc
from spoke import configuration, serial, stream
from waiting import wait_until


@pytest.fixture
def make_port(folder, spoke, make_upstream, make_terminal):
    """A terminal, an upstream, and a daemon between them."""

    def make(framing="line", reports=False, **keys):
        terminal, upstream = make_terminal(), make_upstream()
        parts = [
            stream("s", upstream.url, path="/s", content_type="application/octet-stream"),
            serial("ecu", terminal.path, "s", framing, **keys),
        ]
        if reports:
            parts += [stream("health", upstream.url, path="/v1/health"), '[reports]\nstream = "health"\n']
        spoke.start(configuration(folder, *parts))
        # By the log: what comes between opening and flushing belongs to the time before.
        spoke.wait_for_log("serial ecu: open")
        return terminal, upstream

    return make


def bodies(upstream):
    return [r.body for r in upstream.whole() if r.path == "/s"]


def test_frames_that_come_one_byte_at_a_time_and_many_at_once(make_port, spoke):
    terminal, upstream = make_port("nmea")
    sentences = [nmea(f"GPTXT,{n}") for n in range(50)]
    terminal.write_paced(sentences[0] + b"\r\n", 0.002)
    terminal.write(b"".join(s + b"\r\n" for s in sentences[1:]))
    upstream.wait_for(50)
    assert bodies(upstream) == sentences


def test_noise_and_damaged_frames_are_counted_and_the_next_good_frame_arrives(make_port, spoke):
    terminal, upstream = make_port("vesc")
    good = [bytes([4, n]) * 10 for n in range(20)]
    for payload in good:
        damaged = bytearray(vesc(payload))
        damaged[5] ^= 0x40
        terminal.write(b"\x00\xff\x55" + bytes(damaged) + vesc(payload))
    upstream.wait_for(20)
    assert bodies(upstream) == good
    assert spoke.stat("spoke.serial.ecu.bad_frames") >= 1
    assert spoke.stat("spoke.serial.ecu.frames") == 20


def test_bytes_that_a_terminal_would_treat_specially_pass_untouched(make_port):
    terminal, upstream = make_port("vesc")
    payload = bytes([0x03, 0x04, 0x11, 0x13, 0x1A, 0x1C, 0x7F, 0xFF, 0x0D, 0x0A, 0x00, 0x15, 0x16, 0x17])
    terminal.write(vesc(payload))
    assert upstream.wait_for(1)[0].body == payload
    assert terminal.read() == b"", "the port echoes"


def test_a_megabyte_without_a_delimiter_costs_no_memory_and_the_next_line_arrives(make_port, spoke):
    terminal, upstream = make_port("line")
    terminal.write(b"x" * (1 << 20) + b"\n", 60)
    terminal.write(b"fine\n")
    upstream.wait_for_body(b"fine", 30)
    assert spoke.stat("spoke.serial.ecu.bad_frames") >= 1
    status = open(f"/proc/{spoke.process.pid}/status").read()
    resident = int(status.split("VmRSS:")[1].split()[0])
    assert resident < 14 * 1024


def test_a_port_that_is_pulled_and_plugged_in_again_goes_on(make_port, spoke):
    terminal, upstream = make_port("line", reports=True)

    def reported():
        return sum(b'"port_down"' in r.body for r in upstream.whole())

    for number in range(3):
        terminal.write(b"before %d\n" % number)
        upstream.wait_for_body(b"before %d" % number)
        terminal.write(b"torn by the unpl")
        terminal.unplug()
        wait_until(lambda: reported() == number + 1, "a report")
        opened = spoke.log.count("serial ecu: open")
        terminal.plug_in()
        # By the log: what comes between opening and flushing belongs to the time before.
        wait_until(lambda: spoke.log.count("serial ecu: open") > opened, "it is open again", 20)
        terminal.write(b"\nafter %d\n" % number)
        upstream.wait_for_body(b"after %d" % number)
    assert spoke.stat("spoke.serial.ecu.reopens") >= 3
    events = [json.loads(r.body) for r in upstream.whole() if r.path == "/v1/health"]
    down = [event["port_down"] for event in events if "port_down" in event]
    assert len(down) == 3 and all("ecu" in json.dumps(event) for event in down)
    assert any("port_up" in event for event in events)


def test_a_port_that_is_gone_costs_no_processor_time(make_port, spoke):
    terminal, upstream = make_port("line")
    terminal.unplug()

    def ticks():
        fields = open(f"/proc/{spoke.process.pid}/stat").read().rsplit(")", 1)[1].split()
        return int(fields[11]) + int(fields[12])

    spoke.wait_for_log("ecu")
    before, start = ticks(), time.monotonic()
    wait_until(lambda: time.monotonic() - start > 2, "two seconds", 5)
    assert ticks() - before <= 10


def test_a_port_that_is_missing_at_the_start_is_opened_when_it_comes(folder, spoke, make_upstream, make_terminal):
    upstream = make_upstream()
    spoke.start(configuration(folder, stream("s", upstream.url, path="/s"), serial("ecu", folder / "tty", "s")))
    spoke.wait_for_log("ecu")
    terminal = make_terminal()
    spoke.wait_for_ports(20)
    terminal.write(b"hello\n")
    upstream.wait_for_body(b"hello")


def watched(process):
    """The inodes that a process watches."""
    for descriptor in Path(f"/proc/{process.pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            if os.readlink(descriptor) == "anon_inode:inotify":
                text = Path(f"/proc/{process.pid}/fdinfo/{descriptor.name}").read_text()
                return {int(inode, 16) for inode in re.findall(r"^inotify wd:\S+ ino:(\S+)", text, re.M)}
    return set()


def test_the_folder_of_a_device_that_came_after_the_start_is_watched(folder, spoke, make_upstream, make_terminal):
    upstream = make_upstream()
    (folder / "dev").mkdir()
    link = folder / "dev/by-id/board"
    spoke.start(configuration(folder, stream("s", upstream.url, path="/s"), serial("ecu", link, "s")))
    wait_until(lambda: (folder / "dev").stat().st_ino in watched(spoke.process), "the nearest folder is watched")
    for _ in range(2):
        link.parent.mkdir()
        wait_until(lambda: link.parent.stat().st_ino in watched(spoke.process), "the link's own folder is watched")
        terminal = make_terminal()
        link.symlink_to(terminal.path)
        spoke.wait_for_ports()
        # As /dev/serial goes with the last adapter.
        link.unlink()
        link.parent.rmdir()
        terminal.unplug()
        wait_until(lambda: spoke.json("/serial")["ports"][0]["state"] == "closed", "it is gone")


def test_changes_that_do_not_help_a_port_do_not_make_its_next_attempt_later(
    folder, spoke, make_upstream, make_terminal
):
    # The third link's folder is not watched: what happens there only an attempt can find.
    first, second, third = (folder / name / "link" for name in ("a", "b", "c"))
    for link in first, second, third:
        link.parent.mkdir()
    first.symlink_to(second)
    second.symlink_to(third)
    terminal = make_terminal()
    spoke.start(configuration(folder, stream("s", make_upstream().url, path="/s"), serial("ecu", first, "s")))
    spoke.wait_for_log("ecu")
    for number in range(10):
        (first.parent / f"other-{number}").touch()
        time.sleep(0.05)
    third.symlink_to(terminal.path)
    # Ten pauses that double would be over after 2.5 s at least.
    spoke.wait_for_ports(2)


def test_a_device_that_is_no_serial_port_is_said_and_starts_nothing_else(folder, spoke, make_upstream):
    file = folder / "file"
    file.write_text("not a tty\n")
    spoke.start(configuration(folder, stream("s", make_upstream().url, path="/s"), serial("ecu", file, "s")))
    line = spoke.wait_for_log("ecu")
    assert "file" in line
    assert spoke.get("/ready")[0] == 200


def test_a_delimiter_of_the_configuration(make_port):
    terminal, upstream = make_port("line", delimiter=";")
    terminal.write(b"a;b\nc;")
    upstream.wait_for(2)
    assert bodies(upstream) == [b"a", b"b\nc"]


def test_whole_vesc_frames_on_request(make_port):
    terminal, upstream = make_port("vesc", deliver="frame")
    terminal.write(vesc(b"\x04abc"))
    assert upstream.wait_for(1)[0].body == vesc(b"\x04abc")


def test_a_fast_flood_while_the_upstream_is_away_stays_within_its_memory(make_port, spoke):
    terminal, upstream = make_port("line", baud=921600)
    upstream.stop()
    block = b"".join(b"%06d " % n + b"y" * 190 + b"\n" for n in range(500))
    for _ in range(20):
        terminal.write(block, 60)
    spoke.wait_for_stat("spoke.serial.ecu.frames", 10000, 60)
    status = open(f"/proc/{spoke.process.pid}/status").read()
    assert int(status.split("VmRSS:")[1].split()[0]) < 14 * 1024


def test_noise_cut_frames_gaps_and_hang_ups_cost_the_cut_frames_and_nothing_else(
    folder, spoke, make_upstream, make_emulator
):
    upstream = make_upstream()
    link = folder / "board"
    spoke.start(configuration(
        folder, stream("s", upstream.url, path="/s", in_flight=4), serial("ecu", link, "s", "nmea", PATIENT),
    ))

    def play(turn):
        before, reopens = len(bodies(upstream)), spoke.stat("spoke.serial.ecu.reopens")
        emulator = make_emulator(
            "--framing", "nmea", "--baud", "115200", "--generate", "400", "--rate", "100", "--link", str(link),
            "--noise", "0.1", "--cut", "0.05", "--gap", "0.05", "--hang-up-every", "1", "--seed", "7", name=f"emulator-{turn}",
        )
        counts = emulator.finish()
        assert counts["sent"] == 400 and min(counts.values()) > 0, counts
        taken_from(spoke, "ecu", "s")
        arrived = bodies(upstream)[before:]
        assert len(set(arrived)) == len(arrived)
        for body in arrived:
            assert nmea(body[1:-3].decode("latin-1")) == body, "a damaged sentence came through"
        assert spoke.stat("spoke.serial.ecu.bad_frames") >= 1
        assert spoke.stat("spoke.serial.ecu.reopens") >= reopens + counts["hang_ups"]
        return 400 - counts["cut"] - len(arrived)

    one_of_three(play)


def test_the_emulator_paces_its_bytes(make_emulator):
    emulator = make_emulator("--framing", "line", "--baud", "9600", "--generate", "100", "--hold")
    start, received = time.monotonic(), 0
    port = os.open(emulator.path, os.O_RDONLY | os.O_NOCTTY)
    while received < 960:
        received += len(os.read(port, 4096))
    elapsed = time.monotonic() - start
    os.close(port)
    # A machine that is busy is late; Tests/Peers looks closer.
    assert 1 <= elapsed <= 7, "960 bytes at 9600 baud, 10 bits each, last a second"

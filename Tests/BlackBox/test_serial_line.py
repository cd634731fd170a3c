"""The serial line itself: the tricky cases by their numbers. What a pseudo-terminal lacks, a preloaded
library gives it."""

import contextlib
import json
import os
import subprocess
import time
from pathlib import Path

import pytest
from serialport import nmea, vesc
from spoke import Spoke, check, configuration, preloaded, serial, stream
from waiting import wait_until

BUS = {"rts_on_send": False, "delay_before_send": "2ms", "delay_after_send": "100ms", "terminate_bus": True}
ENABLED, RTS_AFTER_SEND, TERMINATE_BUS = 1, 4, 32


@pytest.fixture(scope="session")
def shim_library(tmp_path_factory):
    return preloaded(tmp_path_factory.mktemp("shim"), "tty_shim.c")


class Board:
    """A terminal, an upstream with the daemon's reports, and the daemon between them."""

    def __init__(self, folder, terminal, upstream, daemon, settings):
        self.folder, self.terminal, self.upstream, self.spoke = folder, terminal, upstream, daemon
        self.settings = settings

    def setting(self, name, text=""):
        """At once: the daemon's library may read it at any time."""
        fresh = self.settings / f"{name}.new"
        fresh.write_text(text)
        fresh.rename(self.settings / name)

    def said(self):
        log = self.settings / "log"
        return log.read_text() if log.exists() else ""

    def bodies(self):
        return [r.body for r in self.upstream.whole() if r.path == "/s"]

    def reports(self, kind):
        events = [json.loads(r.body) for r in self.upstream.whole() if r.path == "/health"]
        return [event[kind] for event in events if kind in event]

    def port(self, index=0):
        return self.spoke.json("/serial")["ports"][index]

    def start(self, framing="line", wait=True, **keys):
        url = self.upstream.url
        self.spoke.start(configuration(
            self.folder, stream("s", url, path="/s"), stream("health", url, path="/health"),
            '[reports]\nstream = "health"\n', serial("ecu", self.terminal.path, "s", framing, **keys)))
        if wait:
            wait_until(lambda: self.port()["state"] == "open", lambda: f"the port opens: {self.spoke.log}")
        return self


@pytest.fixture
def board(folder, make_upstream, make_terminal, shim_library):
    settings = folder / "shim"
    settings.mkdir()
    environment = {"LD_PRELOAD": str(shim_library), "TTY_SHIM": str(settings)}
    daemon = Spoke(folder, environment=environment)
    yield Board(folder, make_terminal(), make_upstream(), daemon, settings)
    daemon.cleanup()


def test_18_a_port_that_is_pulled_within_a_frame_joins_nothing(board):
    board.start("vesc")
    whole = vesc(b"\x04whole")
    board.terminal.write(whole + whole[:5])
    board.upstream.wait_for_body(b"\x04whole")
    board.terminal.unplug()
    wait_until(lambda: board.reports("port_down"), "port_down")
    assert "last" in board.reports("port_down")[0]
    board.terminal.plug_in()
    board.spoke.wait_for_ports(20)
    board.terminal.write(whole[5:] + vesc(b"\x04next"))
    board.upstream.wait_for_body(b"\x04next")
    assert board.bodies() == [b"\x04whole", b"\x04next"]
    assert board.port()["bad_frames_by_reason"]["truncated"] == 1


def test_19_a_port_that_comes_back_under_another_name_is_followed_by_its_link(board):
    board.start()
    first = os.readlink(board.terminal.path)
    assert board.port()["opened_device"] == first
    board.terminal.unplug()
    wait_until(lambda: board.reports("port_down"), "port_down")
    # Somebody takes the old name meanwhile, so that the kernel gives a new one.
    other = os.openpty()
    board.terminal.plug_in()
    board.spoke.wait_for_ports(20)
    board.terminal.write(b"again\n")
    board.upstream.wait_for_body(b"again")
    second = os.readlink(board.terminal.path)
    assert board.port()["opened_device"] == second
    wait_until(lambda: len(board.reports("port_up")) == 2, "two openings")
    assert [up["device"] for up in board.reports("port_up")] == [first, second]
    for descriptor in other:
        os.close(descriptor)


def test_20_another_board_under_the_same_name_starts_afresh(board):
    board.start("nmea")
    torn = nmea("GPTXT,old")
    board.terminal.write(torn[:-1])
    wait_until(lambda: board.port()["bytes"] > 0, "bytes")
    board.terminal.unplug()
    board.terminal.plug_in()
    wait_until(lambda: board.port()["reopens"] == 1 and board.port()["state"] == "open", "reopened", 20)
    board.terminal.write(torn[-1:] + b"\r\n" + nmea("GPTXT,new") + b"\r\n")
    board.upstream.wait_for_body(nmea("GPTXT,new"))
    assert board.bodies() == [nmea("GPTXT,new")]


def test_21_a_hang_up_costs_no_processor_time(board):
    board.start()
    board.terminal.write(b"one\n")
    board.upstream.wait_for_body(b"one")
    # The link stays and points to nothing, not to a number that another test's terminal may have next; the daemon's
    # descriptor of the dead terminal must be closed.
    board.terminal.path.unlink()
    board.terminal.path.symlink_to(board.folder / "nothing")
    os.close(board.terminal.master)
    board.terminal.master = None
    wait_until(lambda: board.port()["state"] == "closed", "closed")

    def ticks():
        fields = open(f"/proc/{board.spoke.process.pid}/stat").read().rsplit(")", 1)[1].split()
        return int(fields[11]) + int(fields[12])

    for descriptor in Path(f"/proc/{board.spoke.process.pid}/fd").iterdir():
        # It may be closed between the listing and the look at it.
        with contextlib.suppress(FileNotFoundError):
            assert "pts" not in os.readlink(descriptor)
    before, start = ticks(), time.monotonic()
    wait_until(lambda: time.monotonic() - start > 5, "five seconds", 10)
    assert ticks() - before <= 0.01 * 5 * os.sysconf("SC_CLK_TCK") + 1


def test_25_two_ports_of_a_configuration_on_one_device_are_refused(folder, board):
    upstream, path = board.upstream, board.terminal.path
    other = folder / "other-name"
    other.symlink_to(os.readlink(path))
    same = configuration(
        folder, stream("s", upstream.url, path="/s"), serial("a", path, "s"), serial("b", path, "s"))
    refused = check(folder, same)
    assert refused.returncode == 78
    assert f"a second [[serial]] opens '{path}'" in refused.stderr + refused.stdout
    board.spoke.start(configuration(
        folder, stream("s", upstream.url, path="/s"), serial("a", path, "s"), serial("b", other, "s")))
    assert "EBUSY" in board.spoke.wait_for_log("serial b:")
    assert board.port(0)["state"] == "open"
    assert board.port(1)["state"] == "closed" and "EBUSY" in board.port(1)["detail"]
    board.terminal.write(b"once\n")
    upstream.wait_for_body(b"once")
    assert board.bodies() == [b"once"]


def test_26_a_port_without_permission_is_opened_when_there_is(board):
    board.setting("deny", str(board.terminal.path))
    board.start(wait=False)
    assert "Permission denied" in board.spoke.wait_for_log("serial ecu:")
    assert board.port()["state"] == "closed"
    (board.settings / "deny").unlink()
    board.spoke.wait_for_ports(20)
    board.terminal.write(b"allowed\n")
    board.upstream.wait_for_body(b"allowed")
    wait_until(lambda: len(board.reports("port_up")) == 1, "port_up")
    assert len(board.reports("port_down")) == 1


def test_27_breaks_and_marked_bytes_spoil_their_frame_and_are_counted(board):
    board.setting("marks")
    board.start()
    board.terminal.write(b"one\ntw\xff\x00o\nthree\n")
    board.terminal.write(b"fo\xff\x00\x00ur\n\xff\xff\n")
    board.terminal.write_paced(b"fi\xff\x00ve\nsix\n", 0.01)
    board.upstream.wait_for_body(b"six")
    # The shim reads FF FF of the test as one FF, the first of a mark; FF LF is one that no driver makes.
    assert b"one" in board.bodies() and b"three" in board.bodies()
    assert not {b"two", b"four", b"five", b"fur"} & set(board.bodies())
    assert board.port()["breaks"] == 1
    assert board.port()["bad_frames_by_reason"]["line-error"] >= 3
    assert board.spoke.stat("spoke.serial.ecu.breaks") == 1
    assert board.spoke.stat("spoke.serial.ecu.damaged_bytes") == board.port()["damaged_bytes"] >= 2


def test_a_real_ff_is_one_ff(board):
    board.start("vesc")
    payload = bytes([4]) + b"\xff" * 100 + b"\xff\x00\xff\x00\x00"
    for byte in range(3):
        board.terminal.write(vesc(payload + bytes([byte])))
    wait_until(lambda: len(board.bodies()) >= 3, lambda: f"three frames: {board.bodies()}")
    assert board.bodies() == [payload + bytes([byte]) for byte in range(3)]
    assert board.port()["damaged_bytes"] == board.port()["breaks"] == 0


def test_28_a_wrong_baud_rate_is_an_alarm(board):
    board.start("nmea", baud=4800)
    stop = time.monotonic() + 30
    while not board.reports("garbage") and time.monotonic() < stop:
        board.terminal.write_paced(bytes([0x9C, 0xE6, 0x00, 0x78] * 20), 0.005)
    assert board.reports("garbage"), board.spoke.log
    alarm = board.reports("garbage")[0]
    assert alarm["port"] == "ecu" and alarm["baud"] == 4800 and alarm["skipped"] * 2 >= alarm["bytes"]
    assert board.port()["garbage"] is True
    assert board.spoke.stat("spoke.serial.ecu.garbage_alarms") == 1
    page = subprocess.run(
        [Path(board.spoke.binary).with_name("spokectl"), "--socket", board.spoke.admin, "status"],
        capture_output=True, text=True, timeout=60)
    assert "garbage" in page.stdout, page


def test_the_errors_that_a_driver_counts_are_ours_from_the_opening_on(board):
    board.setting("icount", "100 200 300 400 500")
    board.start()
    assert board.port()["icount"] == {"frame": 0, "overrun": 0, "parity": 0, "brk": 0, "buf_overrun": 0}
    board.setting("icount", "101 202 303 404 505")
    board.spoke.wait_for_stat("spoke.serial.ecu.frame_errors", 1, 20)
    assert board.port()["icount"] == {"frame": 1, "overrun": 2, "parity": 3, "brk": 4, "buf_overrun": 5}
    wait_until(lambda: board.reports("overrun"), "a report of lost characters")
    assert board.reports("overrun")[0] == {"port": "ecu", "characters": 7}
    assert board.spoke.stat("spoke.serial.ecu.buffer_overruns") == 5


def test_a_driver_that_does_not_count_says_null(board):
    board.start()
    assert board.port()["icount"] is None
    assert "spoke.serial.ecu.frame_errors" not in board.spoke.stats()
    assert board.port()["termios"] == "115200 CS8 INPCK PARMRK"


def test_rs485_is_set_read_back_and_shown(board):
    board.setting("rs485", "0xFFFF")
    board.start(rs485=BUS)
    flags = ENABLED | RTS_AFTER_SEND | TERMINATE_BUS
    assert board.said() == f"TIOCSRS485 {flags} 2 100\n"
    assert board.port()["rs485"] == "SER_RS485_ENABLED SER_RS485_RTS_AFTER_SEND SER_RS485_TERMINATE_BUS"
    assert board.port()["detail"] == ""


def test_rs485_without_termination_works_and_says_so(board):
    board.setting("rs485", str(0xFFFF & ~TERMINATE_BUS))
    board.start(rs485=BUS)
    assert board.port()["detail"] == "without SER_RS485_TERMINATE_BUS"


def test_rs485_that_the_driver_does_not_take_keeps_the_port_closed(board):
    board.setting("rs485", "0")
    board.start(wait=False, rs485=BUS)
    assert "the driver did not take it" in board.spoke.wait_for_log("serial ecu:")
    assert board.port()["state"] == "closed"


def test_rs485_without_a_driver_for_it_is_an_error_or_the_adapters_matter(board):
    board.start(wait=False, rs485=BUS)
    assert "TIOCSRS485" in board.spoke.wait_for_log("serial ecu:")
    assert board.port()["state"] == "closed"
    text = board.spoke.file.read_text().replace('"terminate_bus" =', '"fallback" = "auto-direction", "terminate_bus" =')
    board.spoke.reload(text)
    wait_until(lambda: board.port()["state"] == "open", lambda: board.spoke.log)
    assert "adapter" in board.port()["detail"] and board.port()["rs485"] == ""
    board.terminal.write(b"heard\n")
    board.upstream.wait_for_body(b"heard")


def test_low_latency_is_asked_for_and_a_port_without_it_works(board):
    board.setting("latency")
    board.start(low_latency=True)
    assert board.said() == f"TIOCSSERIAL {1 << 13}\n"
    assert board.port()["low_latency"] is True and board.port()["detail"] == ""
    (board.settings / "latency").unlink()
    board.terminal.unplug()
    board.terminal.plug_in()
    wait_until(lambda: board.port()["reopens"] == 1 or board.port()["low_latency"] is False, "reopened", 20)
    wait_until(lambda: board.port()["state"] == "open", "open", 20)
    assert board.port()["low_latency"] is False
    assert "ASYNC_LOW_LATENCY" in board.port()["detail"]

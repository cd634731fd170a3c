"""Serial ports on pseudo-terminals: one that a test writes to byte by byte, and the board emulator."""

import errno
import os
import re
import select
import signal
import subprocess
import time
import tty
from pathlib import Path

from spoke import program
from waiting import settled, wait_until


class Terminal:
    """A port whose far end is the test. It keeps its name over being unplugged and plugged in again."""

    def __init__(self, path: Path):
        self.path = path
        self.master = None
        self.plug_in()

    def plug_in(self):
        assert self.master is None
        self.master, slave = os.openpty()
        tty.setraw(slave)
        name = os.ttyname(slave)
        os.close(slave)
        os.set_blocking(self.master, False)
        self.path.unlink(missing_ok=True)
        self.path.symlink_to(name)

    def unplug(self):
        """The device goes away, name and all, as a USB adapter that is pulled."""
        self.path.unlink(missing_ok=True)
        os.close(self.master)
        self.master = None

    def write(self, data: bytes, seconds=30.0):
        end = time.monotonic() + seconds
        while data:
            try:
                sent = os.write(self.master, data)
                data = data[sent:]
            except BlockingIOError:
                assert time.monotonic() < end, "the port takes no more bytes"
                select.select([], [self.master], [], 0.05)

    def write_paced(self, data: bytes, pause: float):
        """One byte at a time, as a slow line delivers them."""
        for byte in data:
            self.write(bytes([byte]))
            time.sleep(pause)

    def read(self) -> bytes:
        try:
            return os.read(self.master, 65536)
        except BlockingIOError:
            return b""
        except OSError as error:
            if error.errno == errno.EIO:
                return b""
            raise

    def close(self):
        if self.master is not None:
            self.unplug()


class BoardEmulator:
    """board-emulator as a process; its first line is the terminal's path. It plays 300 ms after somebody has opened its
    port: a daemon that is kept from its turn for longer empties the port when something has been played already. Held
    back, the board plays nothing before `play`."""

    def __init__(self, folder: Path, *arguments: str, name="emulator", held_back=False):
        self.log = folder / f"{name}.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [program("board-emulator"), *arguments],
                stdout=subprocess.PIPE, stderr=log, stdin=subprocess.DEVNULL, text=True,
            )
        self.path = self.process.stdout.readline().strip()
        assert self.path, f"board-emulator {arguments}: {self.log.read_text()}"
        if held_back:
            self.process.send_signal(signal.SIGSTOP)

    def play(self):
        self.process.send_signal(signal.SIGCONT)

    def finish(self, seconds=60.0) -> dict[str, int]:
        """Until it has played everything and gone away: what it counted."""
        wait_until(lambda: self.process.poll() is not None, "the emulator has played everything", seconds)
        counts = re.search(r"sent (\d+) frames, cut (\d+), noise bytes (\d+), hang-ups (\d+)", self.log.read_text())
        return dict(zip(("sent", "cut", "noise", "hang_ups"), map(int, counts.groups())))

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            self.play()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process.stdout.close()


# What a daemon is told of the line, which the board plays faster: then it waits for the rest of a frame as long as on a slow
# one, a tenth of a second and not a hundredth. A machine that is busy pauses for longer than that.
PATIENT = 4800


def one_of_three(play):
    """Has the board play until nothing of it is missing. A machine that is busy keeps the board from its turn within a
    frame, or the daemon while it opens the port: the frame is lost then, as it is on a line. Who loses frames otherwise
    loses them each time. `play` answers what is missing, or wrong."""
    missing = []
    for turn in range(3):
        missing.append(play(turn))
        if not missing[-1]:
            return
    raise AssertionError(f"each time something is missing: {missing}")


def taken_from(spoke, port, stream):
    """Once all frames of the port are delivered: how many there were so far."""
    frames = settled(lambda: spoke.stat(f"spoke.serial.{port}.frames"))
    spoke.wait_for_stat(f"spoke.stream.{stream}.delivered", frames, 60)
    return frames


def nmea(body: str) -> bytes:
    """A sentence with its checksum, without the line end."""
    check = 0
    for byte in body.encode():
        check ^= byte
    return f"${body}*{check:02X}".encode()


def vesc(payload: bytes) -> bytes:
    """A VESC frame: 02 or 03, length, payload, CRC-16/XMODEM, 03."""
    check = 0
    for byte in payload:
        check ^= byte << 8
        for _ in range(8):
            check = ((check << 1) ^ 0x1021 if check & 0x8000 else check << 1) & 0xFFFF
    head = bytes([2, len(payload)]) if len(payload) < 256 else b"\x03" + len(payload).to_bytes(2)
    return head + payload + check.to_bytes(2) + b"\x03"

"""Bytes written to flash for each byte of record that came in, upstream away, as the kernel counts them on a loop device
with ext4: the data, the file system's own and its journal's. Beside ours SQLite in WAL mode and a file for each message.

    .venv/bin/python Tests/Benchmarks/flash_wear.py [--quick]     (from Tests/bench too; needs root for the loop device)

A class `sync` record is on the disk before the next one comes: SQLite commits each by itself, a message's file is
written, synced and renamed. `spill` records wait together: ours for half a minute, SQLite's transactions take as many.
SQLite's figures have the checkpoint in them that its log ends in.
"""

import os
import sqlite3
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "Tests/BlackBox"))

from ports import free_port  # noqa: E402
from serialport import Terminal  # noqa: E402
from smalldisk import SmallDisk  # noqa: E402
from spoke import Spoke, configuration, serial, stream  # noqa: E402
from table import Table  # noqa: E402

BYTES = 200
TO_DEVICE = "bytes written to the device per byte of record"
WHY_MORE = (
    "what the daemon writes itself has a row of its own. The rest is the file system's, ext4 with its journal: whole pages "
    "of 4 KiB, and at every sync its blocks of metadata, in the journal and again in their places. Runs of 35 s "
    "and 125 s side by side: about 50 kB at each commit, which with the defaults holds the 60 kB of half a minute, and 140 kB "
    "once, for a new spool and its end."
)


def on_a_device(folder: Path, name: str, work) -> float:
    """What `work` in a new file system writes to its device, for each byte of the records that it returns the number of."""
    disk = SmallDisk(folder / name, 128 << 10)
    try:
        before = disk.written
        count = work(disk.place)
        return (disk.written - before) / (count * BYTES)
    finally:
        disk.close()


def spooled(folder: Path, durability: str, seconds: float, rate: float):
    """Records at this rate to the daemon, defaults; what the spool says that it wrote is left in `said`."""

    def work(place):
        terminal, spoke = Terminal(folder / f"tty-{durability}"), Spoke(folder)
        try:
            text = configuration(
                folder, stream("state", f"http://localhost:{free_port()}", path="/", durability=durability),
                serial("ecu", terminal.path, "state"), spool="", log="warning")
            spoke.start(text.replace(f"{folder}/spool", str(place / "spool")))
            spoke.wait_for_ports()
            begun = time.monotonic()
            for number in range(int(seconds * rate)):
                time.sleep(max(0, begun + number / rate - time.monotonic()))
                terminal.write(b"y" * BYTES + b"\n")
            spoke.wait_for_stat("spoke.stream.state.records_in", int(seconds * rate))
            work.said = spoke.stat("spoke.spool.bytes_written") / (seconds * rate * BYTES)
            assert spoke.terminate()[0] == 0
            return int(seconds * rate)
        finally:
            spoke.cleanup()
            terminal.close()

    return work


def in_sqlite(count: int, together: int):
    """One insert a record, a commit for so many of them."""

    def work(place):
        database = sqlite3.connect(place / "records.db", isolation_level=None)
        assert database.execute("PRAGMA journal_mode=WAL").fetchone() == ("wal",)
        database.execute("PRAGMA synchronous=FULL")
        database.execute("CREATE TABLE records (sequence INTEGER PRIMARY KEY, stream TEXT, time INTEGER, payload BLOB)")
        for start in range(0, count, together):
            database.execute("BEGIN")
            rows = [("state", time.time_ns(), b"y" * BYTES) for _ in range(min(together, count - start))]
            database.executemany("INSERT INTO records (stream, time, payload) VALUES (?, ?, ?)", rows)
            database.execute("COMMIT")
        database.close()
        return count

    return work


def in_files(count: int):
    """A file for each message, synced, renamed to its name, and the folder synced."""

    def work(place):
        folder = os.open(place, os.O_RDONLY)
        for number in range(count):
            with open(place / "new", "wb", buffering=0) as file:
                file.write(b"y" * BYTES)
                os.fsync(file.fileno())
            os.rename(place / "new", place / f"{number:08}")
            os.fsync(folder)
        os.close(folder)
        return count

    return work


def measure(table, folder: Path, quick: bool):
    seconds = 35 if quick else 125
    spill = spooled(folder, "spill", seconds, 10)
    ours = on_a_device(folder, "spill", spill)
    conditions = f"{seconds} s of 2 kB/s, upstream down, defaults"
    table.row(f"bytes written by the daemon per byte of record, {conditions}", spill.said, None, "", 1.6)
    # What half a minute brings in.
    sqlite = on_a_device(folder, "spill-sqlite", in_sqlite(seconds * 10, 300))
    files = on_a_device(folder, "spill-files", in_files(seconds * 10))
    table.row(f"{TO_DEVICE}, spill, {conditions}", ours, sqlite, "SQLite, WAL, 300 in a commit", 1.6)
    table.row(f"{TO_DEVICE}, spill, {conditions}", ours, files, "a file for each message, synced", 1.6)
    count = 200 if quick else 1000
    # One at a time: farther apart than the 50 ms of a commit.
    ours = on_a_device(folder, "sync", spooled(folder, "sync", count / 15, 15))
    sqlite = on_a_device(folder, "sync-sqlite", in_sqlite(count, 1))
    files = on_a_device(folder, "sync-files", in_files(count))
    what = f"{TO_DEVICE}, sync, each by itself, 15 a second"
    table.row(what, ours, sqlite, "SQLite, WAL, a commit for each")
    table.row(what, ours, files, "a file for each message, synced")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="spoke-wear-") as work:
        measure(Table("Tests/Benchmarks/flash_wear.py"), Path(work), "--quick" in sys.argv)

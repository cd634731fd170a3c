"""The power is cut at every flush of the disk. The daemon runs in an emulated machine whose device-mapper records every
write (machine.py, log_writes.py, power_cut_guest.py); from the record the disk is made again as it was at a flush, with any
part of what was written after it, and mounted: its journal is replayed as after a real cut.

At each such point the file system and the spool open, `spokectl spool verify` finds no damage, what was acknowledged
to the broker for a `sync` stream was delivered before or is there, and the daemon that starts on it delivers it, in
order, and gives no number to another record that the upstream has seen.
"""

import json
import os
import random
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from log_writes import WriteLog
from machine import Machine, needed
from power_cut_guest import name_of
from smalldisk import as_root
from spoke import BINARIES, Spoke, configuration, program, serial, stream
from waiting import wait_until

LONG = bool(os.environ.get("SPOKE_LONG"))
SECONDS = 60 if LONG else 15
STATES = None if LONG else 60  # None: every flush
STREAMS = ("state", "event", "lines")
GUEST = Path(__file__).with_name("power_cut_guest.py")


@dataclass
class Promises:
    """What the marks of the record say until now."""

    acknowledged: dict[str, set[int]] = field(default_factory=lambda: {name: set() for name in STREAMS})
    delivered: dict[str, str] = field(default_factory=dict)

    def note(self, mark: str):
        kind, *words = mark.split(",")
        if kind == "a":
            self.acknowledged[words[0]].add(int(words[1]))
        elif kind == "d":
            assert self.delivered.setdefault(words[0], words[1]) == words[1], f"{words[0]} has two bodies"

    def missing(self, there: set[str]) -> list[str]:
        """What a `sync` stream took and is neither upstream nor there."""
        known = there | set(self.delivered.values())
        return [name for n in sorted(self.acknowledged["state"]) if (name := f"state-{n}") not in known]


class Disk:
    """The image as the device was, and a copy of it that is mounted and changed."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.image, self.place = folder / "spool.img", folder / "cut"
        self.copy, self.copies = None, 0
        self.place.mkdir()
        self.is_mounted = False

    def make(self):
        with self.image.open("wb") as image:
            image.truncate(32 << 20)
        owner = f"root_owner={os.getuid()}:{os.getgid()},lazy_itable_init=0,lazy_journal_init=0"
        subprocess.run([needed("mkfs.ext4"), "-q", "-F", "-b", "4096", "-J", "size=4", "-E", owner, self.image], check=True)

    def cut(self, log, after, chance):
        """The disk as it is now, and some of the writes `after`."""
        # A file of its own each time: a loop device that is not detached yet would be used again, with all that it
        # still has of the former content, for a file that is the same one.
        self.copies += 1
        self.copy = self.image.with_name(f"cut-{self.copies}.img")
        shutil.copyfile(self.image, self.copy)
        with self.copy.open("r+b") as copy:
            log.apply_some(after, copy, chance)
        as_root("mount", "-o", "loop", str(self.copy), str(self.place))
        self.is_mounted = True

    def release(self):
        if self.is_mounted:
            as_root("umount", str(self.place))
            self.is_mounted = False
            self.copy.unlink()


@pytest.fixture
def disk(folder):
    made = Disk(folder)
    yield made
    made.release()


def record(folder, disk, seed) -> WriteLog:
    """Has the machine run the daemon under load; the record of its writes."""
    log = folder / "writes.log"
    with log.open("wb") as file:
        file.truncate(2 << 30)
    disk.make()
    running = folder / "running.img"
    shutil.copyfile(disk.image, running)
    command = [sys.executable, "-B", str(GUEST), str(SECONDS), str(seed), str(BINARIES.resolve()), str(os.getuid())]
    Machine(folder, command, [running, log]).run(8 * SECONDS + 480)
    return WriteLog(log)


def spool_tool(spoke, *arguments) -> bytes:
    """What it prints. Nothing may be missing but numbers of the `spill` stream that the cursor had reserved."""
    done = subprocess.run(
        [program("spokectl"), "--config", spoke.file, "spool", *arguments], capture_output=True, timeout=60)
    said = done.stderr.decode().splitlines()
    known = [line for line in said if "stream event: " in line and " are reserved and not accounted for" in line]
    assert said == known and done.returncode == 0, (arguments, done.returncode, done.stdout[-1000:], said)
    return done.stdout


def dumped(spoke) -> dict[str, str]:
    """The id and the first word of every record that waits."""
    lines = [json.loads(line) for line in spool_tool(spoke, "dump").splitlines()]
    return {line["id"]: name_of(line["payload"]) for line in lines}


def sequence(record_id) -> int:
    return int(record_id.rpartition("-")[2])


def check_tools(spoke, promises, where):
    """Verified, and everything that was acknowledged is there. What waits."""
    assert b"0 corrupt frames" in spool_tool(spoke, "verify"), where
    waiting = dumped(spoke)
    missing = promises.missing(set(waiting.values()))
    assert not missing, f"{where}: {len(missing)} acknowledged records are gone: {missing[:9]}"
    for record_id, name in waiting.items():
        assert promises.delivered.get(record_id, name) == name, f"{where}: {record_id} has another body"
    return waiting


def what_is_missing(spoke, upstream, waiting) -> str:
    """For the failure: which records did not come, and how far the daemon counts them."""
    came = upstream.whole()
    ids = {r.id for r in came}
    begun = [(r.path, r.id) for r in list(upstream.requests) if not r.complete]
    lines = [
        f"{len(waiting)} wait, {len(came)} came; missing: {sorted(waiting.keys() - ids)[:9]}",
        f"new: {[(r.path, r.id, r.body[:40]) for r in came if r.id not in waiting][:9]}",
        f"not whole: {begun}, protocol errors: {upstream.protocol_errors}",
    ]
    if spoke.running:
        counted = ("spoke.serial.", "spoke.stream.", "spoke.spool.")
        lines += [spoke.get("/serial")[2], str({k: n for k, n in spoke.stats().items() if n and k.startswith(counted)})]
    return "\n".join([*lines, spoke.log_since_start[-2000:]])


def check_daemon(spoke, upstream, terminals, promises, waiting, where):
    """The daemon delivers what waits, in order, and new records under numbers that the upstream has not seen."""
    upstream.forget()
    spoke.start()
    spoke.wait_for_ports()
    for terminal in terminals:
        terminal.write(b"after the cut\n")

    def has_arrived():
        came = upstream.whole()
        return waiting.keys() <= {r.id for r in came} and len(
            {r.path for r in came if r.body == b"after the cut"}) == len(terminals)

    wait_until(has_arrived, lambda: f"{where}: {what_is_missing(spoke, upstream, waiting)}", 60)
    arrived = upstream.whole()
    by_id = {r.id: r.body for r in arrived}
    for record_id, name in waiting.items():
        assert name_of(by_id[record_id].decode()) == name, f"{where}: {record_id}"
    for name in STREAMS:
        ids = list(dict.fromkeys(r.id for r in arrived if r.path == f"/{name}"))
        assert [sequence(i) for i in ids] == sorted(map(sequence, ids)), f"{where}: order of {name}"
    for record in arrived:
        if record.body == b"after the cut":
            assert record.id not in promises.delivered and record.id not in waiting, f"{where}: {record.id} is used twice"
    assert spoke.terminate()[0] == 0


def test_after_a_power_cut_at_a_flush_the_spool_opens_and_keeps_its_promise(
    folder, disk, make_upstream, make_terminal
):
    seed = int(os.environ.get("SPOKE_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"SPOKE_SEED={seed}")
    chance = random.Random(seed)
    log = record(folder, disk, seed)
    cuts = list(log.cuts())
    marks = [mark for cut in cuts for mark in cut.marks]
    assert "end" in marks, "the record is not whole"
    assert sum(mark.startswith("a,state") for mark in marks) > SECONDS * 2, "there was load"
    chosen = set(range(len(cuts) - 1)) if STATES is None else set(chance.sample(range(len(cuts) - 1), STATES))
    print(f"{len(cuts)} flushes, {len(chosen)} cuts, {len(marks)} marks")
    upstream = make_upstream()
    terminals = [make_terminal("board"), make_terminal("spilling")]
    spoke = Spoke(folder)
    keys = {"content_type": "text/plain", "durability": "sync"}
    spoke.configure(configuration(
        folder, *(stream(name, upstream.url, path=f"/{name}", **{**keys, "durability": kept}, in_flight=1)
                  for name, kept in (("state", "sync"), ("event", "spill"), ("lines", "sync"))),
        serial("board", terminals[0].path, "lines"), serial("spilling", terminals[1].path, "event"),
        spool='size = "12MiB"\nsegment = "64KiB"\nfree_floor = "64KiB"', log="info",
    ).replace(f"{folder}/spool", f"{disk.place}/spool"))
    promises = Promises()
    try:
        with disk.image.open("r+b", buffering=0) as image:
            for number, cut in enumerate(cuts):
                for entry in cut.writes:
                    log.apply(entry, image)
                following = cuts[number + 1] if number + 1 < len(cuts) else None
                for mark in cut.marks if number == 0 else []:
                    promises.note(mark)
                for mark in following.marks if following else []:
                    promises.note(mark)
                if number not in chosen:
                    continue
                where = f"SPOKE_SEED={seed}, flush {number} of {len(cuts)}"
                disk.cut(log, following.writes, chance)
                if (disk.place / "spool").exists():
                    waiting = check_tools(spoke, promises, where)
                    check_daemon(spoke, upstream, terminals, promises, waiting, where)
                else:
                    assert not promises.missing(set()), where
                disk.release()
    finally:
        spoke.cleanup()

"""Reads what dm-log-writes recorded: the kernel's Documentation/admin-guide/device-mapper/log-writes.rst, and for the layout
`struct log_write_super` and `struct log_write_entry` in drivers/md/dm-log-writes.c.

The first sector holds the super block: magic, version, number of entries (64 bits each), sector size (32 bits), all
little-endian. From the second sector on come the entries, each in a sector of its own: sector, number of sectors, flags,
length of its data (64 bits each); a mark's text stands behind these in the same sector, what was written follows in
`number` sectors of its own, a discard has nothing behind it. A write that was not forced to the disk (FUA) is logged
when the flush that made it durable has ended: so every beginning of the log is what a disk may hold whose power was cut
there, and what a mark says was true before whatever comes after it.
"""

import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

MAGIC, VERSION = 0x6A736677736872, 1
FLUSH, FUA, DISCARD, MARK = 1, 2, 4, 8


@dataclass
class Entry:
    offset: int  # on the device, in bytes
    length: int
    flags: int
    place: int  # of the data in the log
    mark: str | None = None

    @property
    def is_durable(self) -> bool:
        """Whether the disk has everything up to here when this has ended."""
        return bool(self.flags & (FLUSH | FUA))


@dataclass
class Cut:
    """What comes between two flush points: what the second one made durable, and what was said until it ended."""

    writes: list[Entry] = field(default_factory=list)
    marks: list[str] = field(default_factory=list)


class WriteLog:
    def __init__(self, path: Path):
        self.path = path
        self.file = path.open("rb")
        magic, version, self.count, self.sector = struct.unpack("<QQQI", self.file.read(28))
        assert (magic, version) == (MAGIC, VERSION), f"{path} is no log of dm-log-writes"

    def entries(self) -> Iterator[Entry]:
        place = self.sector
        for _ in range(self.count):
            self.file.seek(place)
            head = self.file.read(self.sector)
            sector, count, flags, length = struct.unpack("<QQQQ", head[:32])
            place += self.sector
            entry = Entry(sector * self.sector, count * self.sector, flags, place)
            if flags & MARK:
                entry.mark = head[32 : 32 + length].rstrip(b"\0").decode()
            elif not flags & DISCARD:
                place += entry.length
            yield entry

    def cuts(self) -> Iterator[Cut]:
        """One for each flush point."""
        cut = Cut()
        for entry in self.entries():
            if entry.mark is not None:
                cut.marks.append(entry.mark)
                continue
            cut.writes.append(entry)
            if entry.is_durable:
                yield cut
                cut = Cut()

    def apply(self, entry: Entry, image):
        """Writes what the entry wrote into the image, a file that is open for writing."""
        if not entry.length:
            return
        image.seek(entry.offset)
        if entry.flags & DISCARD:
            image.write(bytes(entry.length))
        else:
            self.file.seek(entry.place)
            image.write(self.file.read(entry.length))

    def apply_some(self, entries: list[Entry], image, chance: random.Random):
        """A part of the writes, each whole or its first sectors only: what a disk may keep of what was not flushed."""
        for entry in entries:
            if chance.random() < 0.5:
                continue
            kept = entry.length
            if chance.random() < 0.3:
                kept = chance.randrange(0, entry.length + 1, self.sector)
            self.apply(Entry(entry.offset, kept, entry.flags, entry.place), image)

"""A memory cgroup of our own below the one that the tests run in, where the system lets us make one."""

import errno
import os
from pathlib import Path

from waiting import wait_until


class Unavailable(Exception):
    """Why there is none."""


class MemoryGroup:
    """Version 1 or 2, whichever has the memory controller."""

    def __init__(self, limit: int):
        lines = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
        first = next((path for _, controllers, path in lines if "memory" in controllers.split(",")), None)
        unified = next((path for number, _, path in lines if number == "0"), None)
        if first is not None:
            base, self.names = Path("/sys/fs/cgroup/memory"), ("memory.limit_in_bytes", "memory.max_usage_in_bytes")
            base /= first.lstrip("/")
        elif unified is not None:
            base, self.names = Path("/sys/fs/cgroup"), ("memory.max", "memory.peak")
            base /= unified.lstrip("/")
            enabled = base / "cgroup.subtree_control"
            if not enabled.exists() or "memory" not in enabled.read_text().split():
                raise Unavailable(f"{base} does not pass the memory controller on")
        else:
            raise Unavailable("this system has no cgroups")
        self.folder = base / f"spoke-test-{os.getpid()}"
        try:
            self.folder.mkdir()
            (self.folder / self.names[0]).write_text(str(limit))
        except OSError as error:
            if self.folder.exists():
                self.folder.rmdir()
            raise Unavailable(f"{error.strerror}: {error.filename}") from None

    @property
    def wrapper(self) -> list[str]:
        """Runs a program inside."""
        return ["sh", "-c", f'echo $$ > {self.folder}/cgroup.procs && exec "$0" "$@"']

    @property
    def peak(self) -> int:
        return int((self.folder / self.names[1]).read_text())

    @property
    def kills(self) -> int:
        for name in ("memory.events", "memory.oom_control"):
            if (self.folder / name).exists():
                words = (self.folder / name).read_text().split()
                return int(words[words.index("oom_kill") + 1]) if "oom_kill" in words else 0
        return 0

    def remove(self):
        def removed():
            try:
                self.folder.rmdir()
            except OSError as error:
                # The kernel may still be at the end of what ran inside.
                if error.errno != errno.EBUSY:
                    raise
                return False
            return True

        wait_until(removed, f"{self.folder} is empty")

"""Small file systems for the spool: one that can be filled, and one on a device whose writes the kernel counts."""

import os
import subprocess
from pathlib import Path


def as_root(*command) -> str:
    words = [] if os.geteuid() == 0 else ["sudo", "-n"]
    return subprocess.run([*words, *command], check=True, stdout=subprocess.PIPE, text=True).stdout


class SmallDisk:
    """ext4 on a loop device, or a tmpfs; everybody may write."""

    def __init__(self, place: Path, kibibytes: int, kind="ext4"):
        self.place, self.device = place, None
        place.mkdir(exist_ok=True)
        if kind == "tmpfs":
            as_root("mount", "-t", "tmpfs", "-o", f"size={kibibytes}k,mode=0777", "tmpfs", str(place))
            return
        image = place.with_name(place.name + ".img")
        with image.open("wb") as file:
            file.truncate(kibibytes << 10)
        # A loop device's tables are written at once: nothing is written later that no file asked for.
        as_root("mkfs.ext4", "-q", "-F", "-b", "4096", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0", str(image))
        self.device = as_root("losetup", "--find", "--show", str(image)).strip()
        try:
            as_root("mount", self.device, str(place))
        except subprocess.CalledProcessError:
            self.close()
            raise
        as_root("chmod", "0777", str(place))

    @property
    def written(self) -> int:
        """Bytes written to the device: /sys/block/…/stat, whose seventh number counts sectors of 512 bytes."""
        subprocess.run(["sync", "--file-system", str(self.place)], check=True)
        return int(Path(f"/sys/block/{Path(self.device).name}/stat").read_text().split()[6]) * 512

    def fill(self) -> Path:
        """Another program's file takes every byte that is left."""
        hog = self.place / "another programs file"
        with hog.open("ab", buffering=0) as file:
            for size in (1 << 16, 4096, 1):
                try:
                    while file.write(bytes(size)):
                        pass
                except OSError:
                    continue
        return hog

    def close(self):
        subprocess.run([*([] if os.geteuid() == 0 else ["sudo", "-n"]), "umount", "-l", str(self.place)], stderr=subprocess.DEVNULL)
        if self.device:
            as_root("losetup", "--detach", self.device)

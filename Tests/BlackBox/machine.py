"""A machine with Debian's kernel under qemu, for what the host's kernel lacks. Its root is the host's, read-only over 9p,
so every program and the test's own files are there; it has no network, and /run is its only writable folder."""

import gzip
import os
import re
import shutil
import subprocess
from pathlib import Path

from spoke import ROOT

# What the root and the disks need; what these modules need themselves is found in them.
MODULES = ["virtio_pci", "virtio_blk", "9pnet_virtio", "9p", "crc32c_generic", "ext4", "dm-log-writes"]

INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t devtmpfs dev /dev
for module in /modules/*; do insmod "$module" || echo "cannot load $module"; done
mount -t 9p -o trans=virtio,version=9p2000.L,cache=loose,ro,msize=524288 host /host || echo "no root"
mount -t proc proc /host/proc
mount -t sysfs sys /host/sys
mount -t devtmpfs dev /host/dev
mkdir -p /host/dev/pts
mount -t devpts -o ptmxmode=0666 devpts /host/dev/pts
mount -t tmpfs run /host/run
ifconfig lo 127.0.0.1 up
cd /
chroot /host COMMAND
echo "the command ended: $?"
poweroff -f
"""


def kernel_folder() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME")
    return Path(cache) / "spoke/kernel" if cache else ROOT / ".build-kernel"


def needed(name: str) -> Path:
    """The path of a program. Who asks for a test of this machine is told what it lacks, not given a pass."""
    found = shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin")
    assert found, f"no {name}: Tests/run installs what the emulated machine needs"
    return Path(found)


class Machine:
    """Runs one command as root and is switched off. `disks` are raw images: /dev/vda, /dev/vdb, …"""

    def __init__(self, folder: Path, command: list[str], disks: list[Path]):
        assert os.uname().machine == "x86_64", "the emulated machine runs the host's programs, and needs an x86_64 host"
        self.kernel = next(iter(kernel_folder().glob("boot/vmlinuz-*")), None)
        assert self.kernel, f"no kernel in {kernel_folder()}: Tests/run puts Debian's there"
        self.folder, self.disks = folder, disks
        self.console = folder / "console"
        self.initrd = folder / "initrd"
        self.initrd.write_bytes(self._make_initrd(command))

    def run(self, seconds: float) -> str:
        """Waits until it is switched off: what its console showed."""
        disks = [
            word for disk in self.disks
            for word in ("-drive", f"file={disk},format=raw,if=virtio,cache=unsafe")
        ]
        # KVM is not asked for: where it is nested it may hang.
        with self.console.open("wb") as console:
            process = subprocess.Popen(
                [needed("qemu-system-x86_64"), "-accel", "tcg,thread=multi", "-cpu", "max", "-m", "768", "-smp", "1",
                 "-display", "none", "-nodefaults", "-no-reboot", "-serial", "stdio", "-kernel", self.kernel, "-initrd",
                 self.initrd, "-append", "console=ttyS0 quiet panic=-1",
                 "-virtfs", "local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap", *disks],
                stdin=subprocess.DEVNULL, stdout=console, stderr=subprocess.STDOUT,
            )
            try:
                process.wait(seconds)
            except subprocess.TimeoutExpired:
                raise AssertionError(f"the machine was not done within {seconds} s:\n{self.text[-3000:]}") from None
            finally:
                process.kill()
                process.wait()
        assert "the command ended: 0" in self.text, self.text[-3000:]
        return self.text

    @property
    def text(self) -> str:
        return self.console.read_text(errors="replace")

    def _make_initrd(self, command):
        files = {"bin/busybox": needed("busybox").read_bytes()}
        for number, module in enumerate(self._modules()):
            files[f"modules/{number:02}-{module.name}"] = module.read_bytes()
        quoted = " ".join(f"'{word}'" for word in command)
        files["init"] = INIT.replace("COMMAND", quoted).encode()
        return gzip.compress(archive(["bin", "modules", "proc", "dev", "host"], files), 1)

    def _modules(self) -> list[Path]:
        """In the order in which they can be loaded."""
        there = {path.stem.replace("-", "_"): path for path in kernel_folder().glob("lib/modules/*/kernel/**/*.ko")}
        order: list[Path] = []

        def add(name):
            path = there.get(name.replace("-", "_"))
            assert path, f"the kernel has no module {name}"
            if path in order:
                return
            depends = re.search(rb"\0depends=([^\0]*)\0", path.read_bytes())
            for other in depends.group(1).decode().split(",") if depends and depends.group(1) else []:
                add(other)
            order.append(path)

        for name in MODULES:
            add(name)
        return order


def archive(folders: list[str], files: dict[str, bytes]) -> bytes:
    """A cpio archive in the `newc` format, as the kernel's Documentation/driver-api/early-userspace/buffer-format.rst
    has it."""
    out = bytearray()

    def entry(number, name, mode, data):
        fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
        out.extend(b"070701" + b"".join(b"%08x" % field for field in fields) + name.encode() + b"\0")
        out.extend(bytes(-len(out) % 4) + data)
        out.extend(bytes(-len(out) % 4))

    entries = [(name, 0o040755, b"") for name in folders] + [(name, 0o100755, data) for name, data in files.items()]
    for number, (name, mode, data) in enumerate(entries, 1):
        entry(number, name, mode, data)
    entry(0, "TRAILER!!!", 0, b"")
    return bytes(out)

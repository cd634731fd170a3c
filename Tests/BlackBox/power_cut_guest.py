"""Runs in the emulated machine: spoked under load with its spool on a device whose every write is recorded.

    power_cut_guest.py SECONDS SEED PROGRAMS UID

/dev/vda is the spool's disk, /dev/vdb takes the record of dm-log-writes. What the daemon has promised to others stands in
that record as marks, in its place among the writes:

    a,STREAM,NUMBER         this message was acknowledged to the broker
    d,ID,NAME               this record arrived upstream; written before the upstream answers
"""

import contextlib
import fcntl
import json
import os
import random
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

WORK = Path("/run/power")
# Enough for segments to begin and end, and room for none to be dropped.
SPOOL = 'size = "12MiB"\nsegment = "64KiB"\nfree_floor = "64KiB"\ncommit = { bytes = "16KiB", interval = "1s" }'
STREAMS = {"state": "sync", "event": "spill"}
RATE = 120


class Recorder:
    """Marks in the record of dm-log-writes: `struct dm_ioctl` and DM_TARGET_MSG of <linux/dm-ioctl.h>."""

    def __init__(self, name: str):
        self.name = name
        self.control = os.open("/dev/mapper/control", os.O_RDWR)
        self.lock = threading.Lock()

    def mark(self, text: str):
        message = struct.pack("=Q", 0) + f"mark {text}\0".encode()
        size = 312 + len(message)
        head = struct.pack("=3I I I I i I I I Q", 4, 0, 0, size, 312, 0, 0, 0, 0, 0, 0)
        head += self.name.encode().ljust(128, b"\0") + bytes(129)
        with self.lock:
            fcntl.ioctl(self.control, 3 << 30 | 312 << 16 | 0xFD << 8 | 14, bytearray(head.ljust(312, b"\0") + message))


class Broker:
    """As much of MQTT 3.1.1 as one subscriber at QoS 1 needs; it knows which messages were acknowledged. 20 are in
    flight, and those come again after a reconnect."""

    def __init__(self, recorder, chance):
        self.recorder, self.chance = recorder, chance
        self.counts = dict.fromkeys(STREAMS, 0)
        self.acknowledged = dict.fromkeys(STREAMS, 0)
        self.flight: dict[int, tuple[str, int]] = {}
        self.next = 1
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            client, _ = self.listener.accept()
            with contextlib.suppress(OSError, EOFError):
                self.talk(client)
            client.close()

    def talk(self, client):
        stream = client.makefile("rb")
        subscribed = threading.Event()
        threading.Thread(target=self.send, args=(client, subscribed), daemon=True).start()
        while True:
            kind, body = self.read_packet(stream)
            if kind == 1:
                client.sendall(b"\x20\x02\x00\x00")
                for message in list(self.flight.values()):
                    self.publish(client, message, repeated=True)
            elif kind == 8:
                client.sendall(b"\x90\x03" + body[:2] + b"\x01")
                subscribed.set()
            elif kind == 4:
                stream_name, number = self.flight.pop(int.from_bytes(body[:2]))
                self.recorder.mark(f"a,{stream_name},{number}")
                self.acknowledged[stream_name] += 1
            elif kind == 12:
                client.sendall(b"\xd0\x00")
            elif kind == 14:
                return

    def read_packet(self, stream):
        head, length, shift = stream.read(1), 0, 0
        while head:
            byte = stream.read(1)[0]
            length |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return head[0] >> 4, stream.read(length)
        raise EOFError

    def send(self, client, subscribed):
        subscribed.wait()
        with contextlib.suppress(OSError):
            while True:
                if len(self.flight) < 20:
                    name = self.chance.choice(list(STREAMS))
                    identifier, self.next = self.next, self.next % 65535 + 1
                    self.flight[identifier] = (name, self.counts[name])
                    self.counts[name] += 1
                    self.publish(client, self.flight[identifier])
                time.sleep(1 / RATE)

    def publish(self, client, message, repeated=False):
        name, number = message
        identifier = next(i for i, m in self.flight.items() if m == message)
        payload = f"{name}-{number} ".encode().ljust(64 + number * 37 % 900, b".")
        body = struct.pack(">H", len(name)) + name.encode() + struct.pack(">H", identifier) + payload
        length, rest = bytearray(), len(body)
        while rest > 127:
            length.append(rest & 127 | 128)
            rest >>= 7
        client.sendall(bytes([0x3A if repeated else 0x32]) + length + bytes([rest]) + body)


def name_of(payload: str) -> str:
    """A record's name: `state-17`, and for a board's line `lines-` and its running number."""
    return f"lines-{json.loads(payload)['n']}" if payload.startswith("{") else payload.split(" ")[0]


def upstream_that_notes(recorder):
    from upstream import Answer, Upstream

    def rule(request):
        recorder.mark(f"d,{request.id},{name_of(request.body.decode())}")
        return Answer()

    return Upstream(rule=rule)


def run(*command):
    subprocess.run(command, check=True)


def mount_recorded(owner):
    sectors = int(Path("/sys/class/block/vda/size").read_text())
    run("dmsetup", "create", "spool", "--noudevsync", "--table", f"0 {sectors} log-writes /dev/vda /dev/vdb")
    (WORK / "disk").mkdir(parents=True)
    run("mount", "-t", "ext4", "/dev/mapper/spool", WORK / "disk")
    os.chown(WORK, owner, owner)


def main(seconds, seed, programs, owner) -> int:
    os.environ |= {"DM_DISABLE_UDEV": "1", "SPOKE_BIN": programs, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    from spoke import configuration, mqtt, serial, stream

    chance = random.Random(seed)
    mount_recorded(owner)
    recorder = Recorder("spool")
    upstream, broker = upstream_that_notes(recorder), Broker(recorder, chance)
    board = subprocess.Popen(
        [f"{programs}/board-emulator", "--framing", "line", "--baud", "115200", "--generate", "0", "--rate", "30",
         "--link", WORK / "board"], stdout=subprocess.DEVNULL, user=owner, group=owner)
    keys = {"content_type": "text/plain", "path": "/"}
    (WORK / "spoke.toml").write_text(configuration(
        WORK, *(stream(name, upstream.url, durability=kept, **keys) for name, kept in STREAMS.items()),
        stream("lines", upstream.url, durability="sync", **keys), serial("board", WORK / "board", "lines"),
        mqtt(f"mqtt://127.0.0.1:{broker.port}", *((name, name) for name in STREAMS)), spool=SPOOL, log="info",
    ).replace(f"{WORK}/spool", f"{WORK}/disk/spool"))
    spoked = subprocess.Popen([f"{programs}/spoked", "--config", WORK / "spoke.toml"], user=owner, group=owner)
    begun, is_up = time.monotonic(), True

    def is_enough():
        """So many seconds; and on a machine that is busy as long as it takes until there was load."""
        taken = time.monotonic() - begun
        return taken > seconds and (broker.acknowledged["state"] > 3 * seconds or taken > 8 * seconds)

    while not is_enough() and spoked.poll() is None:
        time.sleep(min(chance.uniform(0.5, 3), max(0.1, begun + seconds - time.monotonic())))
        upstream.stop() if is_up else upstream.start()
        is_up = not is_up
    assert spoked.poll() is None, "spoked ended by itself"
    recorder.mark("end")
    for process in (spoked, board):
        process.kill()
        process.wait()
    run("umount", WORK / "disk")
    run("dmsetup", "remove", "--noudevsync", "spool")
    print(f"published: {broker.counts}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4])))

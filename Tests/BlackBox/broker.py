"""A real mosquitto on a free port, and a publisher that knows what the broker acknowledged."""

import os
import shutil
import signal
import socket
import subprocess
import threading
from pathlib import Path

import paho.mqtt.client as mqtt
from ports import free_port
from waiting import wait_until


def mosquitto_program() -> str:
    program = shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
    assert program, "mosquitto is not installed"
    return program


class Broker:
    def __init__(self, folder: Path, *options: str, identity=None):
        self.folder = folder
        self.port = free_port()
        self.log = folder / "mosquitto.log"
        lines = [
            f"listener {self.port} 127.0.0.1",
            "log_dest stderr",
            "log_type all",
            *options,
        ]
        if os.geteuid() == 0:
            # Otherwise it becomes a user of its own, who cannot read the test's files.
            lines.append("user root")
        if not any(option.startswith("allow_anonymous") for option in options):
            lines.append("allow_anonymous true")
        if identity is not None:
            lines += [f"certfile {identity.certificate}", f"keyfile {identity.key}"]
        self.configuration = folder / "mosquitto.conf"
        self.configuration.write_text("\n".join(lines) + "\n")
        self.process = None
        self.start()

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    def start(self):
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [mosquitto_program(), "-c", self.configuration], stdout=log, stderr=log
            )
        wait_until(self._listening, lambda: f"mosquitto listens: {self.log.read_text()[-500:]}")

    def _listening(self):
        assert self.process.poll() is None, self.log.read_text()
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        except OSError:
            return False

    def kill(self):
        self.process.kill()
        self.process.wait()

    def pause(self):
        self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()

    def wait_for_log(self, text, count=1, seconds=15.0):
        wait_until(
            lambda: self.log.read_text(errors="replace").count(text) >= count,
            lambda: f"{text!r} in mosquitto's log:\n{self.log.read_text()[-1500:]}",
            seconds,
        )


class Publisher:
    """Publishes with paho; `acknowledged` holds the payloads whose PUBACK came (QoS 1)."""

    def __init__(self, broker: Broker, client_id="publisher"):
        self.acknowledged: list[bytes] = []
        self._waiting: dict[int, bytes] = {}
        self._early: set[int] = set()
        self._lock = threading.Lock()
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id, clean_session=False)
        self.client.on_publish = self._on_publish
        self.client.max_inflight_messages_set(100)
        self.client.reconnect_delay_set(1, 1)
        self.client.connect("127.0.0.1", broker.port)
        self.client.loop_start()
        wait_until(self.client.is_connected, "the publisher is connected")

    def publish(self, topic: str, payload: bytes, qos=1, retain=False):
        # Not under the lock: paho calls back under one of its own.
        information = self.client.publish(topic, payload, qos=qos, retain=retain)
        with self._lock:
            if information.mid not in self._early:
                self._waiting[information.mid] = payload
                return information
            self._early.remove(information.mid)
            self.acknowledged.append(payload)
        return information

    def _on_publish(self, client, userdata, mid, reason, properties):
        with self._lock:
            payload = self._waiting.pop(mid, None)
            if payload is not None:
                self.acknowledged.append(payload)
            else:
                self._early.add(mid)

    def flush(self, seconds=60.0):
        wait_until(lambda: not self._waiting, lambda: f"{len(self._waiting)} PUBACKs", seconds)

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()

"""A daemon whose stream `state` takes its policy from a control plane."""

from spoke import configuration, mqtt, stream, toml
from waiting import wait_until

LISTENER = "ingest.example.com"


def xds(*servers, **keys) -> str:
    """The table [xds]; its cache is off unless a test gives it a place."""
    keys = {"servers": list(servers) or None, "cache": "", "runtime": [], **keys}
    keys = {name: value for name, value in keys.items() if value is not None}
    return "[xds]\n" + "".join(f"{name} = {toml(value)}\n" for name, value in keys.items())


class Steered:
    """MQTT in, the stream `state` out, wherever the control plane says."""

    def __init__(self, folder, spoke, broker, publisher):
        self.folder, self.spoke, self.broker, self.publisher = folder, spoke, broker, publisher

    def text(self, *parts, table, listener=LISTENER, **keys) -> str:
        settings = {"path": "/v1/state", "content_type": "application/json", "durability": "sync"}
        return configuration(
            self.folder,
            stream("state", f"xds:///{listener}", **{**settings, **keys}),
            mqtt(self.broker.url, ("in/state", "state")),
            table, *parts,
        )

    def start(self, text):
        self.spoke.start(text)
        wait_until(lambda: self.spoke.stat("spoke.mqtt.connected") == 1, lambda: f"MQTT: {self.spoke.log}")
        return self

    def publish(self, *payloads: bytes, topic="in/state"):
        for payload in payloads:
            self.publisher.publish(topic, payload)
        self.publisher.flush()

    def resources(self) -> dict[tuple[str, str], dict]:
        return {(r["type"], r["name"]): r for r in self.spoke.json("/config_dump")["resources"]}

    def wait_for_resource(self, kind, name, seconds=15, **fields):
        def there():
            found = self.resources().get((kind, name))
            return found if found and all(found.get(k) == v for k, v in fields.items()) else None

        return wait_until(
            there, lambda: f"{kind} {name} {fields}; there is {self.resources()}; {self.spoke.log[-3000:]}", seconds)

    def wait_for_records(self, upstream, *bodies: bytes, seconds=15):
        def came():
            return [r.body for r in upstream.whole()][-len(bodies):] == list(bodies)

        wait_until(
            came,
            lambda: f"{bodies}; there are {[r.body for r in upstream.whole()]}; {self.spoke.log[-3000:]}", seconds)

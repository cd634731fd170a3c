"""Names that nobody answers for at the moment: what does not need them does not wait, and an answer that comes late is
not taken for another one's."""

import pytest
from broker import Broker, Publisher
from spoke import configuration, mqtt, preloaded, stream
from waiting import wait_until


@pytest.fixture
def hold(folder, spoke):
    """Holds the lookup of a name back. The file that it returns is there until the lookup may end."""
    names = folder / "names"
    names.mkdir()
    spoke.environment |= {"LD_PRELOAD": str(preloaded(folder, "names_shim.c")), "SLOW_NAMES": str(names)}

    def hold(name):
        (names / name).touch()
        return names / name

    yield hold
    for name in names.iterdir():
        name.unlink()


@pytest.fixture
def broker(folder):
    """Makes a broker with a folder of its own."""
    made = []

    def make(name):
        (folder / name).mkdir()
        made.append(Broker(folder / name))
        return made[-1]

    yield make
    for broker in made:
        broker.stop()


def test_the_answer_to_a_former_brokers_name_does_not_lead_the_new_password_there(folder, spoke, hold, broker):
    old, new = broker("old"), broker("new")
    held = hold("old.test")
    target = stream("s", "http://127.0.0.1:1", path="/")
    spoke.start(configuration(folder, target, mqtt(f"mqtt://old.test:{old.port}", ("a", "s"))))
    wait_until(held.with_name("old.test.asked").exists, "the lookup")
    (folder / "password").write_text("secret")
    spoke.reload(configuration(
        folder, target,
        mqtt(f"mqtt://new.test:{new.port}", ("a", "s"), username="u", password_file=folder / "password")))
    held.unlink()
    wait_until(lambda: spoke.stat("spoke.mqtt.connected") == 1, lambda: spoke.log[-2000:], 20)
    assert "New client connected" in new.log.read_text()
    assert "New client connected" not in old.log.read_text(), old.log.read_text()


def test_a_broker_with_a_numeric_address_does_not_wait_for_the_names_of_upstreams(folder, spoke, hold, broker):
    local = broker("local")
    held = hold("upstream.test")
    spoke.start(configuration(
        folder, stream("s", "http://upstream.test:1", path="/"), mqtt(local.url, ("a", "s"))))
    wait_until(lambda: spoke.stat("spoke.mqtt.connected") == 1, lambda: spoke.log[-2000:], 20)
    publisher = Publisher(local)
    publisher.publish("a", b"something to look the upstream up for")
    wait_until(held.with_name("upstream.test.asked").exists, "the lookup")
    publisher.close()
    local.kill()
    wait_until(lambda: spoke.stat("spoke.mqtt.connected") == 0, "the loss is noticed")
    local.start()
    wait_until(lambda: spoke.stat("spoke.mqtt.connected") == 1, lambda: spoke.log[-2000:], 20)

"""A link that cuts, delays, throttles and corrupts between the daemon and servers of others."""

import os

import pytest
from interop import PATH, bodies, of_stream, second_stream, sequence
from relay import bad_link
from servers import Caddy, Nginx
from waiting import wait_until

SEED = int(os.environ.get("SPOKE_SEED", "7"))
COUNT = 150
FAULTY = 12


@pytest.mark.parametrize("kind", [Nginx, Caddy], ids=lambda kind: kind.name)
def test_every_record_arrives_unharmed_over_a_link_that_cuts_delays_throttles_and_corrupts(
    make_server, make_relay, make_line, kind
):
    print(f"SPOKE_SEED={SEED}")
    server = make_server(kind, True)
    relay = make_relay(server, plan=bad_link(SEED, FAULTY))
    line = make_line(
        relay, second_stream(relay.url, True), filters=[("in/state", "state"), ("in/many", "many")], **PATH
    )
    sent = {name: bodies(SEED, COUNT, name) for name in ("state", "many")}
    for name, payloads in sent.items():
        line.publish(*payloads, topic=f"in/{name}")
    for name in sent:
        line.spoke.wait_for_stat(f"spoke.stream.{name}.delivered", COUNT, 90)
    for name, payloads in sent.items():
        requests = of_stream(server.back.whole(), name)
        numbers = [sequence(request.id) for request in requests]
        assert sorted(set(numbers)) == list(range(1, COUNT + 1)), "every record, at least once"
        if name == "state":
            assert list(dict.fromkeys(numbers)) == list(range(1, COUNT + 1)), "in order, repetitions aside"
        for request in requests:
            assert request.body == payloads[sequence(request.id) - 1], "the same id has the same body"
    wait_until(lambda: len(relay.connections) > FAULTY, "every fault had its connection")
    stats = line.spoke.stats()
    assert stats["spoke.stream.state.dropped"] == stats["spoke.stream.many.dropped"] == 0
    assert stats["spoke.stream.state.parked"] == stats["spoke.stream.many.parked"] == 0
    assert stats["spoke.stream.state.backlog_records"] == stats["spoke.stream.many.backlog_records"] == 0

"""What the tests with others' servers share: the servers' fixtures, the load, what must have arrived."""

import random
import re

from spoke import stream

SECURE = {"tls": True, "h2c": False}
NO_ERROR = 0  # RFC 9113 §7
STREAM_CLOSED = 5
REFUSED_STREAM = 7
PATH = {"path": "/v1/state", "content_type": "application/octet-stream", "durability": "sync"}


def bodies(seed, count, name):
    """Payloads of telemetry's size, now and then one that fills many frames; each names itself."""
    source = random.Random(seed)
    sizes = [source.choice((0, 10, 150, 150, 150, 900)) for _ in range(count)]
    for index, size in zip(source.sample(range(count), 4), (16_384, 16_385, 40_000, 60_000)):
        sizes[index] = size
    return [b"%s %d;" % (name.encode(), n) + source.randbytes(size) for n, size in enumerate(sizes)]


def sequence(record_id):
    return int(record_id.rsplit("-", 1)[1])


def of_stream(requests, name):
    return [r for r in requests if r.id.split("/")[1] == name]


def second_stream(url, secure, name="many", **keys):
    """A stream beside `state`, with several requests at once."""
    own = {"tls": "fleet"} if secure else {}
    return stream(name, url, **{**PATH, **own, "in_flight": 8, **keys})


def sequences(text, pattern=r"ce-id: (\S+)"):
    """The sequence numbers of the ids in a log, repetitions of one after another left out."""
    return [sequence(found) for found in dict.fromkeys(re.findall(pattern, text))]


def assert_each_once(requests, payloads):
    assert sorted(sequence(r.id) for r in requests) == list(range(1, len(payloads) + 1))
    assert all(r.body == payloads[sequence(r.id) - 1] for r in requests)

"""The steady path allocates nothing: counted by a preloaded allocator, not by a guess."""

import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from spoke import configuration, mqtt, serial, stream
from upstream import Answer
from waiting import wait_until

WARM, COUNTED = 600, 500
# What does not grow with the records: the service manager's status line, a commit.
FEW = COUNTED // 20
# What libmosquitto allocates for a message that it receives, and at QoS 1 for its acknowledgement.
LIBMOSQUITTO = {0: 5, 1: 8}


@pytest.fixture(scope="session")
def counting_allocator(tmp_path_factory):
    library = tmp_path_factory.mktemp("allocations") / "allocations.so"
    compiler = shutil.which("cc") or shutil.which("clang")
    assert compiler, "no C compiler"
    source = Path(__file__).with_name("allocations.c")
    subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-o", library, source], check=True)
    return library


@pytest.fixture
def count_allocations(folder, spoke, counting_allocator):
    """Has the program start with the counting allocator; returns what tells how often anyone in the process has
    allocated, and how often its own code."""
    counts = folder / "allocations"
    counts.write_bytes(bytes(24))
    spoke.environment |= {"LD_PRELOAD": str(counting_allocator), "SPOKE_ALLOCATIONS": str(counts)}

    def allocations():
        everyone, _, own = struct.unpack("QQQ", counts.read_bytes())
        return everyone, own

    return allocations


def cost(send, allocations) -> tuple[int, int]:
    """The allocations of `COUNTED` records, each of which takes the whole way alone: everyone's, the program's own."""
    send(0, WARM)
    before = allocations()
    assert min(before) > 0, "the allocator counts"
    send(WARM, COUNTED)
    return tuple(after - early for after, early in zip(allocations(), before))


@pytest.mark.parametrize("encoding", ["cloudevents", "cloudevents-batch", "protobuf", "grpc"])
def test_no_record_from_a_serial_port_to_http2_costs_an_allocation(
    folder, spoke, make_upstream, make_terminal, count_allocations, encoding
):
    upstream, terminal = make_upstream(), make_terminal()
    if encoding == "grpc":
        upstream.rule = lambda request: Answer(
            headers=[("content-type", "application/grpc")], trailers=[("grpc-status", "0")]
        )
    spoke.start(configuration(
        folder, stream("lines", upstream.url, path="/spoke.test.Ingest/Put", encoding=encoding), serial("ecu", terminal.path, "lines"),
    ))
    spoke.wait_for_ports()

    def send(first, count):
        for number in range(first, first + count):
            terminal.write(b"line %06d\n" % number)
            wait_until(lambda: len(upstream.requests) > number, "it arrived", 30, 0.001)

    everyone, _ = cost(send, count_allocations)
    assert everyone < FEW


@pytest.mark.parametrize("qos", [0, 1])
def test_no_record_from_mqtt_to_http2_costs_an_allocation_of_our_own(
    folder, spoke, make_broker, make_publisher, make_upstream, count_allocations, qos
):
    upstream, broker = make_upstream(), make_broker()
    spoke.start(configuration(
        folder, stream("state", upstream.url, path="/"), mqtt(broker.url, ("in/state", "state"), qos=qos),
    ))
    wait_until(lambda: "SUBSCRIBE from spoke-board-1" in broker.log.read_text(), "subscribed")
    publisher = make_publisher(broker)

    def send(first, count):
        for number in range(first, first + count):
            publisher.publish("in/state", b"message %06d" % number, qos=qos)
            wait_until(lambda: len(upstream.requests) > number, "it arrived", 30, 0.001)

    everyone, own = cost(send, count_allocations)
    assert own < FEW
    assert everyone < LIBMOSQUITTO[qos] * COUNTED + FEW

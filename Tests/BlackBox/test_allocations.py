"""The steady path allocates nothing: counted by a preloaded allocator, not by a guess."""

import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from spoke import configuration, serial, stream
from waiting import wait_until

WARM, COUNTED = 600, 500


@pytest.fixture(scope="session")
def counting_allocator(tmp_path_factory):
    library = tmp_path_factory.mktemp("allocations") / "allocations.so"
    compiler = shutil.which("cc") or shutil.which("clang")
    assert compiler, "no C compiler"
    source = Path(__file__).with_name("allocations.c")
    subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-o", library, source], check=True)
    return library


def test_no_record_from_a_serial_port_to_http2_costs_an_allocation(
    folder, spoke, make_upstream, make_terminal, counting_allocator
):
    counts = folder / "allocations"
    counts.write_bytes(bytes(16))
    spoke.environment |= {"LD_PRELOAD": str(counting_allocator), "SPOKE_ALLOCATIONS": str(counts)}
    upstream, terminal = make_upstream(), make_terminal()
    spoke.start(configuration(
        folder, stream("lines", upstream.url, path="/"), serial("ecu", terminal.path, "lines"),
    ))
    terminal.wait_until_open()

    def send(first, count):
        for number in range(first, first + count):
            terminal.write(b"line %06d\n" % number)
            # One at a time, so that each takes the whole way alone.
            wait_until(lambda: len(upstream.requests) > number, "it arrived", 30, 0.001)

    def allocations():
        return struct.unpack("QQ", counts.read_bytes())[0]

    send(0, WARM)
    before = allocations()
    assert before > 0, "the allocator counts"
    send(WARM, COUNTED)
    # What does not grow with the records: the service manager's status line, a commit.
    assert allocations() - before < COUNTED // 20

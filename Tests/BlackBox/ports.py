"""Ports that stay a test's own while nothing listens on them yet, or for a while.

The kernel hands the ports of its own range to whoever binds port 0, and to every connection that is made: one that was
chosen there, closed and given to a server may be another's by then. These are below that range, and no two processes
share them: each has a block, and listens on its first port for as long as it lives.
"""

import functools
import itertools
import socket
from pathlib import Path

FIRST, LAST, BLOCK = 10_000, 32_000, 400


def _can_bind(family, address, port) -> bool:
    with socket.socket(family) as probe:
        if family == socket.AF_INET6:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
        return True


@functools.cache
def _has_ipv6() -> bool:
    return _can_bind(socket.AF_INET6, "::1", 0)


def _is_free(port) -> bool:
    """At every address of both families."""
    return _can_bind(socket.AF_INET, "", port) and (not _has_ipv6() or _can_bind(socket.AF_INET6, "::", port))


@functools.cache
def _block():
    """The lock, and the ports of this process in turn."""
    for first in range(FIRST, min(LAST, _first_of_the_kernels()) - BLOCK + 1, BLOCK):
        lock = socket.socket()
        try:
            lock.bind(("127.0.0.1", first))
            lock.listen()
            return lock, itertools.cycle(range(first + 1, first + BLOCK))
        except OSError:
            lock.close()
    raise AssertionError(f"every block of {BLOCK} ports from {FIRST} on is taken")


def _first_of_the_kernels() -> int:
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    # Where the kernel's range leaves no room below it, another worker at least is kept out.
    return first if first >= FIRST + 20 * BLOCK else LAST


def free_port() -> int:
    """One that nobody has, and that this process gave out longest ago."""
    _, ports = _block()
    return next(port for port in itertools.islice(ports, BLOCK) if _is_free(port))

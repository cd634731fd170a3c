"""Waiting for something to happen, with a deadline; nothing in these tests sleeps for luck."""

import time


class Deadline(AssertionError):
    """What was waited for did not happen in time."""


def wait_until(predicate, what, seconds=15.0, pause=0.01):
    """The predicate's first true value; `what` names the expectation in the failure."""
    end = time.monotonic() + seconds
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() >= end:
            raise Deadline(f"not within {seconds} s: {what() if callable(what) else what}")
        time.sleep(pause)


def holds_for(predicate, what, seconds):
    """Fails as soon as the predicate is false within the time: for what must not happen."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert predicate(), what
        time.sleep(0.02)


def settled(value, quiet=1.0, seconds=30.0):
    """What the function returns, once it has been the same for so long: for what another process still writes down."""
    end, last, since = time.monotonic() + seconds, value(), time.monotonic()
    while time.monotonic() - since < quiet:
        assert time.monotonic() < end, f"it changes on and on: {last}"
        time.sleep(0.02)
        if (now := value()) != last:
            last, since = now, time.monotonic()
    return last


def within(limit, measure, tries=3):
    """The first of some measured times that keeps the limit. A machine that is busy is late now and then; what is slow
    is late each time."""
    seen = []
    while len(seen) < tries:
        seen.append(measure())
        if seen[-1] < limit:
            return seen[-1]
    raise AssertionError(f"never within {limit} s: {seen}")

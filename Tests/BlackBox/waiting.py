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

"""How long Envoy and Spoke wait, how often they try, and why Spoke tried no more: XDS.md items 55 to 67."""

import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from differences import name
from resources import (
    CDS, EDS, RTDS, cluster, endpoints, match, retry, route, route_configuration, runtime, thresholds, virtual_host,
)
from spoke import stream
from spoke_xds import NAME, spokectl
from upstream import Answer
from waiting import wait_until

QUICK = {"base": 0.001, "most": 0.002}
# How much later than it happened a busy machine may see the first of two things, or the second; 10 s is what a route
# has that says nothing.
LATE_FIRST, LATE_LAST = 0.3, 4
STALLS, FAILS = [Answer(stall=True)] * 9, [Answer(status=503)] * 9


@dataclass
class Case:
    """A route to a cluster of its own, what the upstream answers to each attempt, and what comes of it. `cluster` is
    what the cluster has besides; None: no endpoint."""

    about: str
    answers: list[Answer]
    attempts: int
    not_retried: str  # what Spoke says
    status: int = 503  # what Envoy answers
    seconds: float = 0  # at least, from the question to the answer
    between: float = 0  # the first and the last attempt
    cluster: dict = field(default_factory=dict)
    action: dict = field(default_factory=dict)

    @property
    def path(self):
        return "/times/" + self.about.replace(" ", "-")


CASES = [
    Case("56 the route's timeout", STALLS, 1, "timeout", 504, 0.3, action={"timeout": 0.3}),
    Case("56 it covers all attempts", STALLS, 2, "timeout", 504, 1.6, 1,
         action={"timeout": 1.6, "retry_policy": retry("5xx", 9, per_try_timeout=1, **QUICK)}),
    Case("57 each try has its time", STALLS, 3, "limit", 504, 1.5, 1,
         action={"retry_policy": retry("gateway-error", 2, per_try_timeout=0.5, **QUICK)}),
    Case("57 a try's time is over and no word is for it", STALLS, 1, "not_retriable", 504, 0.2,
         action={"retry_policy": retry("retriable-4xx", 2, per_try_timeout=0.2, **QUICK)}),
    Case("57 a try's time is not the route's", STALLS, 1, "timeout", 504, 0.3,
         action={"timeout": 0.3, "retry_policy": retry("5xx", 2, per_try_timeout=1, **QUICK)}),
    Case("58 the stream's duration", STALLS, 1, "timeout", 504, 0.3,
         action={"timeout": 0, "max_stream_duration": {"max_stream_duration": 0.3}}),
    Case("61 as often as it says", FAILS, 4, "limit", action={"retry_policy": retry("5xx", 3, **QUICK)}),
    Case("63 as late as the server says", [Answer(status=503, headers=[("retry-after", "1")]), Answer(status=500)], 2,
         "limit", 500, 1, 1, action={"retry_policy": retry("5xx", 1, rate_limited_retry_back_off={
             "reset_headers": [{"name": "retry-after", "format": "SECONDS"}], "max_interval": 5})}),
    Case("63 later than it may", [Answer(status=503, headers=[("retry-after", "9")]), Answer(status=500)], 2,
         "limit", 500, action={"retry_policy": retry("5xx", 1, rate_limited_retry_back_off={
             "reset_headers": [{"name": "retry-after", "format": "SECONDS"}], "max_interval": 5}, **QUICK)}),
    Case("64 no retry is allowed", FAILS, 1, "overflow", cluster={"circuit_breakers": thresholds(max_retries=0)}, action={"retry_policy": retry("5xx", 3, **QUICK)}),
    Case("66 the request asks for none", FAILS, 1, "request_headers", action={"retry_policy": retry(
        "5xx", 3, retriable_request_headers=[{"name": "x-idempotent", "present_match": True}], **QUICK)}),
    Case("67 no endpoint", [], 0, "no_endpoint", cluster=None, action={"retry_policy": retry("gateway-error", 0)}),
    Case("60 a breaker is open", [], 0, "circuit_breaker", cluster={"circuit_breakers": thresholds(max_requests=0)}, action={"retry_policy": retry("5xx", 3, **QUICK)}),
    Case("55 maintenance", [], 0, "maintenance", action={"retry_policy": retry("retriable-4xx", 3)}),
]


class Script:
    """The upstream's rule: the answers of each case by the number of the attempt. What starts over, as the spool lets it,
    is taken."""

    def __init__(self, cases):
        self.cases = {case.path: case for case in cases}
        self.times = defaultdict(list)
        self.over = set()

    def __call__(self, request):
        case = self.cases.get(request.path)
        key = (request.path, request.id is not None)
        if case is None or key in self.over:
            return Answer()
        made = self.times[key]
        if made and request.header("x-envoy-attempt-count") == "1":
            self.over.add(key)
            return Answer()
        made.append(request.time)
        return case.answers[min(len(made), len(case.answers)) - 1]


def start(make_clients, cases, *more):
    script = Script(cases)
    parts = [stream(f"s{n}", f"xds:///{NAME}", path=case.path, durability="memory") for n, case in enumerate(cases)]
    # Each stream in memory has a ring of its own.
    parts.append('[memory]\nbudget = "16MiB"\n')
    filters = [("in/state", "state"), *((f"in/s{n}", f"s{n}") for n in range(len(cases)))]
    routes = [
        route(name(n), match(path=case.path), **{"timeout": 10, **case.action}) for n, case in enumerate(cases, 1)
    ]
    clients = make_clients(
        route_configuration("routes", virtual_host(*routes, route("c1"), include_request_attempt_count=True)),
        *more, with_grpcio=False, rule=script, parts=parts, filters=filters,
    )
    return clients, script


def failures(spoke):
    """stream → its first failed request."""
    found = {}
    for entry in spoke.json("/failed_requests")["failed_requests"]:
        found.setdefault(entry["stream"], entry)
    return found


def ask_envoy(clients, case):
    """Its answer, and how long it took."""
    began = time.monotonic()
    status, _ = clients.envoy.request("a", case.path, body=b"x")
    return status, time.monotonic() - began


def test_items_55_to_67_envoy_and_spoke_give_up_at_the_same_time_and_spoke_says_why(make_clients):
    clients, script = start(make_clients, CASES)
    clients.plane.set(
        *(cluster(name(n), **case.cluster) for n, case in enumerate(CASES, 1) if case.cluster),
        *(endpoints(name(n)) for n, case in enumerate(CASES, 1) if case.cluster is None),
        runtime("runtime", **{f"upstream.maintenance_mode.{name(n)}": 100
                              for n, case in enumerate(CASES, 1) if "maintenance" in case.about}),
    )
    clients.wait_for_acks(CDS, EDS, RTDS)
    spoke = clients.line.spoke
    for number, case in enumerate(CASES):
        # At once as many as have a connection each: the device has eight, and one is the control plane's.
        wait_until(lambda: len(failures(spoke)) >= number - 5, lambda: f"{sorted(failures(spoke))}")
        clients.line.publish(case.about.encode(), topic=f"in/s{number}")
    with ThreadPoolExecutor(len(CASES)) as pool:
        envoy = dict(zip((c.about for c in CASES), pool.map(lambda case: ask_envoy(clients, case), CASES)))
    wait_until(lambda: len(failures(spoke)) == len(CASES), lambda: f"{sorted(failures(spoke))}", 40)
    found, wrong = failures(spoke), []
    for number, case in enumerate(CASES):
        status, seconds = envoy[case.about]
        made = len(script.times[case.path, False])
        if (status, made) != (case.status, case.attempts) or not case.seconds <= seconds + 0.02 <= case.seconds + LATE_LAST:
            wrong.append((case.about, "Envoy", status, made, seconds))
        entry, times = found[f"s{number}"], script.times[case.path, True]
        # What ends before a connection is an attempt, too, if it got as far as its cluster.
        attempts = entry["attempts"] if times else 0
        if (entry["not_retried"], attempts, len(times)) != (case.not_retried, case.attempts, case.attempts):
            wrong.append((case.about, "Spoke", entry, len(times)))
        for who, times in (("Spoke", times), ("Envoy", script.times[case.path, False])):
            if times and not case.between - LATE_FIRST <= times[-1] - times[0] <= case.between + LATE_LAST:
                wrong.append((case.about, who, times))
    assert not wrong, "\n".join(map(str, wrong))
    text = spokectl(spoke, "failures")
    for number, case in enumerate(CASES):
        line = next(line for line in text.splitlines() if f"s{number}" in line.split())
        assert case.not_retried.replace("_", " ") in line.replace("_", " "), (case.about, line)

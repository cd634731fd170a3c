"""The attempts that Envoy, grpcio and Spoke make of one request, under the same retry policies and answers."""

from collections import defaultdict
from dataclasses import dataclass, field

from differences import CALL, grpc_answer
from resources import match, regex, retry, route, route_configuration, thresholds, virtual_host
from spoke import stream
from upstream import Answer
from waiting import wait_until

REFUSED_STREAM, INTERNAL_ERROR = 7, 2
QUICK = {"base": 0.001, "most": 0.005}


@dataclass
class Case:
    """A policy, what the upstream answers to each attempt, and how many attempts there are."""

    about: str
    policy: object
    answers: list[Answer]
    attempts: int
    spoke: int | None = None  # if it differs from Envoy; the comment says why
    action: dict = field(default_factory=dict)

    @property
    def path(self):
        return "/retries/" + self.about.replace(" ", "-")


def status(code, **fields):
    return Answer(status=code, **fields)


def fails(code, times=9):
    return [status(code)] * times


CASES = [
    Case("no policy", None, fails(503), 1),
    Case("5xx once by default", retry("5xx", **QUICK), fails(503), 2),
    Case("5xx three times", retry("5xx", 3, **QUICK), fails(500), 4),
    Case("5xx until it is well", retry("5xx", 5, **QUICK), [*fails(503, 2), status(200)], 3),
    Case("5xx is not 4xx", retry("5xx", 3, **QUICK), fails(409), 1),
    Case("5xx covers a reset", retry("5xx", 2, **QUICK), [Answer(reset=INTERNAL_ERROR)] * 9, 3),
    Case("no retries", retry("5xx", 0, **QUICK), fails(503), 1),
    Case("gateway error takes 502", retry("gateway-error", 2, **QUICK), fails(502), 3),
    Case("gateway error leaves 500", retry("gateway-error", 2, **QUICK), fails(500), 1),
    Case("retriable 4xx is 409", retry("retriable-4xx", 2, **QUICK), fails(409), 3),
    Case("retriable 4xx is not 408", retry("retriable-4xx", 2, **QUICK), fails(408), 1),
    Case("codes", retry("retriable-status-codes", 2, retriable_status_codes=[418, 425], **QUICK), fails(425), 3),
    Case("codes that are not listed", retry("retriable-status-codes", 2, retriable_status_codes=[418], **QUICK), fails(425), 1),
    Case("reset", retry("reset", 2, **QUICK), [Answer(reset=INTERNAL_ERROR)] * 9, 3),
    Case("reset leaves 503", retry("reset", 2, **QUICK), fails(503), 1),
    Case("connect failure leaves a reset", retry("connect-failure", 2, **QUICK), [Answer(reset=INTERNAL_ERROR)] * 9, 1),
    Case("a field of the response", retry("retriable-headers", 2, retriable_headers=[{"name": "x-again", "present_match": True}], **QUICK),
         [status(500, headers=[("x-again", "1")])] * 9, 3),
    Case("a field that is not there", retry("retriable-headers", 2, retriable_headers=[{"name": "x-again", "present_match": True}], **QUICK),
         fails(500), 1),
    Case("a field of the request that is not there", retry("5xx", 2, retriable_request_headers=[{"name": "x-idempotent", "present_match": True}], **QUICK),
         fails(500), 1),
    Case("ratelimited is left alone", retry("5xx", 2, **QUICK), [status(503, headers=[("x-envoy-ratelimited", "true")])] * 9, 1),
    Case("ratelimited if it is asked for", retry("5xx,envoy-ratelimited", 2, **QUICK),
         [status(503, headers=[("x-envoy-ratelimited", "true")])] * 9, 3),
    Case("several words", retry("gateway-error,retriable-4xx,what-is-this", 4, **QUICK),
         [status(502), status(409), status(504), status(200)], 4),
    Case("a try that takes too long", retry("5xx", 2, per_try_timeout=0.15, **QUICK), [Answer(stall=True)] * 9, 3),
    Case("a try that takes too long and reset", retry("reset", 1, per_try_timeout=0.15, **QUICK), [Answer(stall=True)] * 9, 2),
    # Far from the end of a try, for a machine that looks late at its clocks.
    Case("the route's time is over", retry("5xx", 5, per_try_timeout=1.0, **QUICK), [Answer(stall=True)] * 9, 2,
         action={"timeout": 1.6}),
    # Envoy repeats a refused stream only if `retry_on` says so; XDS.md item 72 chose one transparent retry for all.
    Case("refused without a word", retry("retriable-4xx", 2, **QUICK), [Answer(reset=REFUSED_STREAM)] * 9, 1, spoke=2),
    Case("refused stream", retry("refused-stream", 1, **QUICK), [Answer(reset=REFUSED_STREAM)] * 9, 2, spoke=3),
]


def host(cases):
    """Attempts are counted in the requests themselves; every path has the policy of its case."""
    return virtual_host(
        *(
            route("c1", match(path=case.path), retry_policy=case.policy, timeout=case.action.get("timeout", 10))
            for case in cases
        ),
        route("c1"),
        include_request_attempt_count=True,
    )


class Script:
    """The upstream's rule: the answers of each case by the number of the attempt. A request that starts over, as the
    spool lets it, is taken."""

    def __init__(self, cases):
        self.cases = {case.path: case for case in cases}
        self.attempts = defaultdict(list)

    def __call__(self, request):
        case = self.cases.get(request.path)
        if case is None:
            return Answer()
        number = request.header("x-envoy-attempt-count")
        made = self.attempts[request.path, request.id is not None]
        if made and number == "1" and "1" in made and not refused(case, made):
            made.append("again")
        if "again" in made:
            return Answer()
        made.append(number)
        return case.answers[min(len(made), len(case.answers)) - 1]

    def count(self, case, by_spoke):
        return len([n for n in self.attempts[case.path, by_spoke] if n != "again"])


def ended(spoke, number):
    """The record of a case is delivered, or parked: 409 is the record's fault unless a policy lists it."""
    stats = spoke.stats()
    return stats[f"spoke.stream.s{number}.delivered"] + stats[f"spoke.stream.s{number}.parked"] == 1


def refused(case, made):
    """A transparent retry is no attempt: it has the number of the one before."""
    return case.answers[0].reset == REFUSED_STREAM and made == ["1"]


def test_items_59_to_61_envoy_and_spoke_make_the_same_attempts(make_clients):
    script = Script(CASES)
    parts = [
        stream(f"s{n}", "xds:///ingest.example.com", path=case.path, durability="memory") for n, case in enumerate(CASES)
    ]
    # Each stream in memory has a ring of its own.
    parts.append('[memory]\nbudget = "16MiB"\n')
    filters = [("in/state", "state"), *((f"in/s{n}", f"s{n}") for n in range(len(CASES)))]
    clients = make_clients(
        route_configuration("routes", host(CASES)), with_grpcio=False, rule=script, parts=parts, filters=filters,
        # The records of all cases may be on their way at once: no retry is one too many.
        cluster_fields={"circuit_breakers": thresholds(max_retries=len(CASES))},
    )
    for number, case in enumerate(CASES):
        clients.line.publish(case.about.encode(), topic=f"in/s{number}")
    for case in CASES:
        clients.envoy.request("a", case.path, body=b"x")
    envoy = {case.about: script.count(case, False) for case in CASES}
    assert envoy == {case.about: case.attempts for case in CASES}
    for number in range(len(CASES)):
        wait_until(lambda: ended(clients.line.spoke, number), lambda: clients.line.spoke.log[-2000:], 30)
    spoke = {case.about: script.count(case, True) for case in CASES}
    assert spoke == {case.about: case.spoke or case.attempts for case in CASES}


def delivered(spoke, name):
    return spoke.stats()[f"spoke.stream.{name}.delivered"]


def test_item_69_grpcio_and_spoke_repeat_a_call_by_its_status(make_clients):
    """grpcio takes at most five attempts, whatever the policy says (gRFC A6); Spoke takes those of the policy."""
    calls = defaultdict(int)

    def rule(request):
        key = (request.path, (request.header("user-agent") or "").startswith("grpc"))
        starts_over = request.header("x-envoy-attempt-count") == "1" and calls[key]
        if request.path == CALL or starts_over:
            return grpc_answer(request)
        calls[key] += 1
        number = {"/svc/unavailable": 14, "/svc/exhausted": 8, "/svc/aborted": 10, "/svc/often": 14}[request.path]
        return Answer(headers=[("content-type", "application/grpc"), ("grpc-status", str(number))])

    # With a base of 1 ms grpcio 1.85 never makes the second attempt.
    quick = {"base": 0.02, "most": 0.03}
    clients = make_clients(
        route_configuration("routes", virtual_host(
            route("c1", match(path="/svc/often"), retry_policy=retry("unavailable", 6, **quick)),
            route("c1", match(safe_regex=regex("/svc/.*")), retry_policy=retry("unavailable,resource-exhausted", 2, **quick)),
            route("c1"), include_request_attempt_count=True,
        )),
        rule=rule, path="/svc/often", encoding="grpc",
        parts=[
            stream(n, "xds:///ingest.example.com", path=f"/svc/{n}", encoding="grpc", durability="memory")
            for n in ("unavailable", "exhausted", "aborted")
        ],
        filters=[("in/state", "state"), *((f"in/{n}", n) for n in ("unavailable", "exhausted", "aborted"))],
    )
    paths = ["/svc/unavailable", "/svc/exhausted", "/svc/aborted", "/svc/often"]
    codes = [result["code"] for result in clients.grpcio.call(*[(path, []) for path in paths])]
    assert codes == ["UNAVAILABLE", "RESOURCE_EXHAUSTED", "ABORTED", "UNAVAILABLE"]
    assert [calls[path, True] for path in paths] == [3, 3, 1, 5]
    expected = dict(zip(paths, (3, 3, 1, 7)))
    for path in paths:
        topic = "state" if path == "/svc/often" else path.rpartition("/")[2]
        clients.line.publish(b"x", topic=f"in/{topic}")
        # After that series the spool lets it start over, and it is taken; ABORTED is tried again as well.
        wait_until(lambda: delivered(clients.line.spoke, topic) == 1, lambda: f"{path}: {dict(calls)}")
        assert calls[path, False] == expected[path]

"""What a stream's `encoding` puts on the wire, and what the end of a gRPC call means for a record; the
calls are taken by a grpcio server."""

import base64
import json
import threading
from concurrent import futures

import grpc
import pytest
from upstream import Answer
from waiting import holds_for, wait_until

METHOD = "/spoke.test.Ingest/Put"
OK = grpc.StatusCode.OK


class Calls(grpc.GenericRpcHandler):
    """A grpcio server of one method, whose calls end with the statuses given, then with OK."""

    def __init__(self, *statuses, message="it says no"):
        self.statuses, self.message = list(statuses), message
        self.taken, self.lock = [], threading.Lock()
        self.server = grpc.server(futures.ThreadPoolExecutor(4), handlers=[self])
        self.url = f"http://127.0.0.1:{self.server.add_insecure_port('127.0.0.1:0')}"
        self.server.start()

    def service(self, details):
        def put(messages, context):
            with self.lock:
                self.taken.append((dict(context.invocation_metadata()), list(messages)))
                status = self.statuses.pop(0) if self.statuses else OK
            if status is not OK:
                context.abort(status, self.message)
            return b"answer"

        return grpc.stream_unary_rpc_method_handler(put) if details.method == METHOD else None

    @property
    def messages(self):
        return [m for _, messages in self.taken for m in messages]


@pytest.fixture
def make_calls():
    made = []

    def make(*statuses, **keys):
        made.append(Calls(*statuses, **keys))
        return made[-1]

    yield make
    for calls in made:
        calls.server.stop(None).wait()


def test_records_are_taken_as_calls_by_grpcio(make_calls, make_line):
    calls = make_calls()
    line = make_line(calls, encoding="grpc", path=METHOD)
    payloads = [b"", b"\x00\xff", b"x" * 60_000, b"four"]
    line.publish(*payloads)
    line.spoke.wait_for_stat("spoke.stream.state.delivered", 4)
    assert calls.messages == payloads
    ids = [metadata["spoke-id"] for metadata, _ in calls.taken]
    assert [i.rpartition("-")[2] for i in ids] == ["1", "2", "3", "4"]
    assert all(i.startswith("board-1/state/") for i in ids)
    assert {metadata["spoke-count"] for metadata, _ in calls.taken} == {"1"}


@pytest.mark.parametrize("name", ["UNAVAILABLE", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED", "ABORTED", "INTERNAL", "UNKNOWN"])
def test_a_transient_status_is_tried_again(make_calls, make_line, name):
    calls = make_calls(getattr(grpc.StatusCode, name), message="not nöw")
    line = make_line(calls, encoding="grpc", path=METHOD)
    line.publish(b"1", b"2")
    line.spoke.wait_for_stat("spoke.stream.state.delivered", 2)
    assert calls.messages == [b"1", b"1", b"2"]
    assert calls.taken[0][0]["spoke-id"] == calls.taken[1][0]["spoke-id"]
    assert f"({name}): not nöw" in line.spoke.wait_for_log("grpc-status")


@pytest.mark.parametrize("name", ["INVALID_ARGUMENT", "FAILED_PRECONDITION", "OUT_OF_RANGE", "DATA_LOSS"])
def test_a_record_that_a_call_refuses_is_parked(make_calls, make_line, name):
    calls = make_calls(getattr(grpc.StatusCode, name))
    line = make_line(calls, encoding="grpc", path=METHOD)
    line.publish(b"1", b"2")
    line.spoke.wait_for_stat("spoke.stream.state.delivered", 1)
    assert calls.messages == [b"1", b"2"]
    assert line.spoke.stat("spoke.stream.state.parked") == 1


@pytest.mark.parametrize("name", ["UNAUTHENTICATED", "PERMISSION_DENIED", "NOT_FOUND", "UNIMPLEMENTED"])
def test_a_status_that_holds_keeps_everything_until_a_reload(make_calls, make_line, name):
    calls = make_calls(getattr(grpc.StatusCode, name))
    line = make_line(calls, encoding="grpc", path=METHOD)
    line.publish(b"1", b"2")
    wait_until(lambda: line.spoke.stat("spoke.stream.state.held") == 1, "the stream is held")
    holds_for(lambda: len(calls.taken) == 1, "no second call", 1)
    line.spoke.reload()
    line.spoke.wait_for_stat("spoke.stream.state.delivered", 2)
    assert calls.messages == [b"1", b"1", b"2"]


def test_a_method_that_the_server_does_not_have_holds(make_calls, make_line):
    line = make_line(make_calls(), encoding="grpc", path="/spoke.test.Ingest/Other")
    line.publish(b"1")
    wait_until(lambda: line.spoke.stat("spoke.stream.state.held") == 1, "the stream is held")
    line.spoke.wait_for_log("UNIMPLEMENTED")


def test_a_2xx_without_a_status_does_not_deliver_a_call(make_upstream, make_line):
    upstream = make_upstream()
    line = make_line(upstream, encoding="grpc", path=METHOD)
    line.publish(b"1")
    line.spoke.wait_for_stat("spoke.stream.state.retried", 1)
    assert line.spoke.stat("spoke.stream.state.delivered") == 0
    line.spoke.wait_for_log("upstream answered 200 without a grpc-status, attempt 1")
    upstream.rule = lambda request: Answer(headers=[("grpc-status", "0")])
    line.spoke.reload()
    line.spoke.wait_for_stat("spoke.stream.state.delivered", 1)


def test_a_json_array_of_events(make_upstream, make_line):
    line = make_line(make_upstream(), encoding="cloudevents-batch")
    line.publish(b'{"v": 1}', b'{"v": ')
    line.spoke.wait_for_stat("spoke.stream.state.delivered", 2)
    requests = line.upstream.whole()
    assert {r.header("content-type") for r in requests} == {"application/cloudevents-batch+json"}
    events = [event for r in requests for event in json.loads(r.body)]
    assert events[0]["data"] == {"v": 1}
    assert base64.b64decode(events[1]["data_base64"]) == b'{"v": '
    assert [e["subject"] for e in events] == ["in/state"] * 2
    assert [e["id"].rpartition("-")[2] for e in events] == ["1", "2"]
    assert {(e["source"], e["datacontenttype"]) for e in events} == {("/board-1/mqtt", "application/json")}


def test_a_protobuf_batch(make_upstream, make_line):
    line = make_line(make_upstream(), encoding="protobuf")
    line.publish(b"\x00\x01")
    line.spoke.wait_for_stat("spoke.stream.state.delivered", 1)
    (request,) = line.upstream.whole()
    assert request.header("content-type") == "application/x-protobuf"
    assert request.body.startswith(b"\x0a\x07board-1\x12\x05state\x1a")
    assert b"\x12\x04mqtt" in request.body and b"\x2a\x02\x00\x01" in request.body
    assert request.body.endswith(b"\x32\x08in/state")

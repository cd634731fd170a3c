"""Requests as the encoder makes them, read by others: json and base64, the cloudevents package, protobuf
with the project's own .proto file, a grpcio server."""
import base64
import json
import os
import pathlib
import random
import socket
import subprocess
from concurrent import futures
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone

import grpc
import h2.config
import h2.connection
import h2.events
import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_binary_event, from_structured_event
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, timestamp_pb2, wrappers_pb2
from google.protobuf.message import DecodeError
from grpc_tools import protoc

REPO = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("SPOKE_BIN", REPO / ".build/release"))
PROTO = REPO / "Sources/Gateway/Proto"

NODE, STREAM, EPOCH = "scooter-1", "state", 0xE1
CLOCKS = ["synced", "unsynced", "restamped"]
TIME = 1_800_000_000_123_456_789
JSON = "application/json"


@dataclass
class Record:
    sequence: int
    payload: bytes = b"x"
    source: str = "mqtt"
    subject: bytes = b""
    time: int = TIME
    clock: int = 0

    @property
    def line(self):
        parts = (self.source.encode(), self.subject, self.payload)
        return " ".join([str(self.sequence), str(self.time), str(self.clock), *("-" + p.hex() for p in parts)])

    @property
    def id(self):
        return f"{NODE}/{STREAM}/{EPOCH:x}-{self.sequence}"

    @property
    def milliseconds(self):
        return datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(milliseconds=self.time // 1_000_000)


@dataclass
class Request:
    headers: list = field(default_factory=list)
    body: bytes = b""
    count: int = 0

    def __getitem__(self, name):
        return dict(self.headers)[name]


def encode(records, encoding, content_type=JSON, most=1000):
    command = [
        BIN / "probe", "encode", "--encoding", encoding, "--node", NODE, "--stream", STREAM, "--epoch", str(EPOCH),
        "--content-type", content_type, "--records", str(most),
    ]
    done = subprocess.run(
        command, input="".join(r.line + "\n" for r in records), capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    requests = [Request()]
    for line in done.stdout.splitlines():
        kind, rest = line.split(" ", 1)
        if kind == "header":
            requests[-1].headers.append(tuple(rest.split(" ", 1)))
            continue
        body, count, bound = rest.split(" ")
        requests[-1].body, requests[-1].count = bytes.fromhex(body[1:]), int(count)
        assert len(requests[-1].body) <= int(bound), "more bytes than the encoder announced"
        requests.append(Request())
    assert sum(r.count for r in requests) == len(records)
    return requests[:-1]


def random_records(seed, count):
    """Records of every kind, among them JSON that is valid, nearly so, and not at all."""
    generator = random.Random(seed)
    documents = [
        b"{}", b"[1, 2.5e3, -0]", b' "text \\u00e9" ', b"null", b'{"a": {"b": [true, false]}}', b'"\xc3\xa9"', b"", b"{",
        b'"\xff"', b"\xef\xbb\xbf{}", b"NaN", b"01", b'"\\ud800"', b"{} {}", bytes(range(256)), b"\x00",
    ]
    subjects = [b"", b"state/one", b"state/two", 'tëxt/"quoted"\\'.encode(), b"line\nbreak\x01", "a/\N{SNOWMAN}".encode()]
    for sequence in range(1, count + 1):
        yield Record(
            sequence * generator.choice([1, 1, 300, 2**40]),
            generator.choice([generator.choice(documents), generator.randbytes(generator.randrange(300))]),
            generator.choice(["mqtt", "gnss", "ecu-2"]), generator.choice(subjects),
            generator.choice([0, 1, TIME, generator.randrange(1, 2**61)]), generator.randrange(3),
        )


def check_attributes(event, record, has_time, content_type=JSON):
    attributes = event.get_attributes()
    assert attributes.pop("specversion") == "1.0"
    assert attributes.pop("id") == record.id
    assert attributes.pop("source") == f"/{NODE}/{record.source}"
    assert attributes.pop("type") == "dev.spoke.record"
    assert attributes.pop("datacontenttype") == content_type
    assert attributes.pop("subject", None) == (record.subject.decode() or None)
    # The package makes a time up for an event that has none.
    assert has_time == (record.time > 0)
    assert attributes.pop("time") == record.milliseconds or not has_time
    assert attributes.pop("clock", "synced") == CLOCKS[record.clock]
    assert attributes == {}


def test_cloudevents_reads_the_binary_mode():
    records = list(random_records(1, 200))
    requests = encode(records, "cloudevents", "application/octet-stream")
    assert [r.count for r in requests] == [1] * len(records)
    for record, request in zip(records, requests):
        event = from_binary_event(HTTPMessage(dict(request.headers), request.body))
        # A value without a media type that says otherwise is handed out as it came.
        data = event.get_data()
        assert (data.encode() if isinstance(data, str) else data or b"") == record.payload
        check_attributes(event, record, "ce-time" in dict(request.headers), "application/octet-stream")


def strict_json(payload):
    """The value of a document, and whether a strict reader takes it."""
    def refuse(word):
        raise ValueError(word)

    def lone(value):
        if isinstance(value, str):
            value.encode()
        elif isinstance(value, list):
            [lone(v) for v in value]
        elif isinstance(value, dict):
            [(lone(k), lone(v)) for k, v in value.items()]

    try:
        value = json.loads(payload.decode(), parse_constant=refuse)
        lone(value)
        return value, True
    except (ValueError, RecursionError):
        return None, False


@pytest.mark.parametrize("content_type", [JSON, "application/vnd.x+json; charset=utf-8", "text/plain", "Text/JSON"])
def test_cloudevents_reads_every_event_of_a_batch(content_type):
    seed = 2
    records = list(random_records(seed, 300))
    for request in encode(records, "cloudevents-batch", content_type, most=32):
        assert request.headers == [("content-type", "application/cloudevents-batch+json")]
        events = json.loads(request.body.decode())
        assert len(events) == request.count
        for text in events:
            record = records.pop(0)
            value, is_json = strict_json(record.payload)
            if content_type != "text/plain" and is_json:
                assert text["data"] == value and "data_base64" not in text, record
            else:
                assert base64.b64decode(text["data_base64"], validate=True) == record.payload, record
                assert "data" not in text
            message = HTTPMessage({"content-type": "application/cloudevents+json"}, json.dumps(text).encode())
            check_attributes(from_structured_event(message), record, "time" in text, content_type)
    assert records == []


def test_the_daemons_own_reports_are_json_whatever_the_stream_is():
    records = [Record(1, b'{"gap": {}}', source="spoke"), Record(2, b"{}")]
    (batch,) = encode(records, "cloudevents-batch", "text/plain")
    first, second = json.loads(batch.body)
    assert (first["datacontenttype"], first["data"]) == (JSON, {"gap": {}})
    assert (second["datacontenttype"], second["data_base64"]) == ("text/plain", "e30=")
    assert [r.count for r in encode(records, "protobuf", "text/plain")] == [1, 1]
    assert [r.count for r in encode(records, "grpc", "text/plain")] == [1, 1]


# MARK: JSON


def mutated(generator, document):
    changed = bytearray(document)
    for _ in range(generator.randrange(1, 4)):
        place = generator.randrange(len(changed) + 1)
        action = generator.randrange(3)
        if action == 0:
            changed[place:place] = bytes([generator.choice(b'{}[],:"\\ \t0123456789.eE+-truefalsn\x00\x7f\x80\xc3\xed\xff')])
        elif action == 1 and changed:
            del changed[place % len(changed)]
        elif changed:
            changed[place % len(changed)] = generator.randrange(256)
    return bytes(changed)


def test_the_validator_takes_what_json_takes_and_nothing_else():
    seed = 3
    generator = random.Random(seed)
    values = [
        {"a": [1, -2.5, 1e300, True, None, "é\n\u2028😀"], "": {}}, [], [[[]]], "x", 0, -1.5, {"k": "\\\"/\b\f\r\t"}, "\U0010ffff",
    ]
    documents = [json.dumps(v, ensure_ascii=a, indent=i).encode() for v in values for a in (0, 1) for i in (None, 1)]
    documents += [
        b"[" * 64 + b"]" * 64, b'{"a":' * 64 + b"1" + b"}" * 64, b"", b" ", b"[1,]", b"[,1]", b'{"a":1,}', b'{"a"}', b"{1:2}",
        b"-", b"1.", b".5", b"1e", b"1e+", b"+1", b"00", b"-01", b"0x1", b"Infinity", b"-Infinity", b"nul", b"truee",
        b"'a'", b'"a', b'"\\x"', b'"\\u12"', b'"\\u12G4"', b'"\\ud83d\\ude00"', b'"\\ud83d"', b'"\\ude00"', b'"\\ud83dx"',
        b'"\\ud83d\\u0041"', b'"\x1f"', b'"\x7f"', b"\xef\xbb\xbf1", b'"\xed\xa0\x80"', b'"\xc0\x80"', b'"\xf4\x90\x80\x80"',
        b"1 2", b"]", b"}", b"[1}", b'{"a":1]', b"/**/1", b"\x0c1", b"1\x00",
    ]
    documents += [mutated(generator, generator.choice(documents)) for _ in range(20_000)]
    done = subprocess.run(
        [BIN / "probe", "json"], input="".join(d.hex() + "\n" for d in documents), capture_output=True, text=True, timeout=300
    )
    answers = done.stdout.splitlines()
    assert len(answers) == len(documents)
    for document, answer in zip(documents, answers):
        assert (answer == "1") == strict_json(document)[1], (seed, document)
    assert 1000 < answers.count("1") < len(documents) - 1000


def test_the_validator_refuses_what_is_deeper_than_its_limit():
    for brackets in (b"[]", b"{}"):
        inner = b"[" if brackets == b"[]" else b'{"a":'
        deep = inner * 65 + b"1" + brackets[1:] * 65
        done = subprocess.run([BIN / "probe", "json"], input=deep.hex() + "\n", capture_output=True, text=True, timeout=60)
        assert done.stdout == "0\n"
        (batch,) = encode([Record(1, deep)], "cloudevents-batch")
        assert base64.b64decode(json.loads(batch.body)[0]["data_base64"]) == deep


# MARK: Protobuf


@pytest.fixture(scope="module")
def record_batch(tmp_path_factory):
    """The class of spoke.v1.RecordBatch, from the file in the repository as protoc reads it."""
    output = tmp_path_factory.mktemp("proto") / "records.pb"
    wrong = protoc.main(["protoc", f"-I{PROTO}", f"-I{pathlib.Path(protoc.__file__).parent / '_proto'}",
                         f"--descriptor_set_out={output}", "spoke/v1/records.proto"])
    assert not wrong
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(timestamp_pb2.DESCRIPTOR.serialized_pb)
    for file in descriptor_pb2.FileDescriptorSet.FromString(output.read_bytes()).file:
        pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("spoke.v1.RecordBatch"))


def expanded(batch):
    """The records with what was left out because the one before had it."""
    source = subject = ""
    for record in batch.records:
        source, subject = record.source or source, record.subject or subject
        yield record, source, subject


def test_protobuf_reads_a_batch(record_batch):
    seed = 4
    records = list(random_records(seed, 400))
    requests = encode(records, "protobuf", "text/plain", most=50)
    assert max(r.count for r in requests) > 3
    for request in requests:
        assert request.headers == [("content-type", "application/x-protobuf")]
        batch = record_batch.FromString(request.body)
        assert (batch.node, batch.stream, batch.epoch, batch.content_type) == (NODE, STREAM, f"{EPOCH:x}", "text/plain")
        assert len(batch.records) == request.count
        # Nothing unknown, and nothing that another writer would leave out.
        assert batch.SerializeToString(deterministic=True) == request.body
        for message, source, subject in expanded(batch):
            record = records.pop(0)
            assert (message.sequence, source, subject) == (record.sequence, record.source, record.subject.decode()), seed
            assert (message.payload, message.clock) == (record.payload, record.clock)
            assert message.HasField("time") == (record.time > 0)
            assert message.time.ToNanoseconds() == record.time
    assert records == []


def test_sources_and_subjects_stand_once_in_a_batch(record_batch):
    records = [Record(n, subject=b"a", source="mqtt") for n in (1, 2)] + [Record(3, subject=b"b"), Record(4, subject=b"a")]
    (request,) = encode(records, "protobuf")
    batch = record_batch.FromString(request.body)
    assert [(r.source, r.subject) for r in batch.records] == [("mqtt", "a"), ("", ""), ("", "b"), ("", "a")]


def test_a_record_without_a_subject_does_not_follow_one_that_has_one(record_batch):
    records = [Record(1, source="gnss"), Record(2, subject=b"a"), Record(3, source="gnss"), Record(4, source="gnss")]
    requests = encode(records, "protobuf")
    assert [r.count for r in requests] == [2, 2]
    subjects = [s for r in requests for _, _, s in expanded(record_batch.FromString(r.body))]
    assert subjects == ["", "a", "", ""]


def test_a_subject_that_is_no_text_spoils_no_batch(record_batch):
    (request,) = encode([Record(1, subject=b"a\xff\xc3"), Record(2, subject=b"a\xff\xc3")], "protobuf")
    assert [r.subject for r in record_batch.FromString(request.body).records] == ["a\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}", ""]


def wire(messages):
    done = subprocess.run(
        [BIN / "probe", "wire"], input="".join(m.hex() + "\n" for m in messages), capture_output=True, text=True, timeout=300
    )
    answers = done.stdout.splitlines()
    assert len(answers) == len(messages), done.stderr
    return answers


def test_the_reader_takes_what_protobuf_takes_and_nothing_else():
    """A message of one bytes field keeps all else as unknown: only the wire format can be wrong."""
    seed = 5
    generator = random.Random(seed)
    wholes = [request.body for request in encode(list(random_records(seed, 60)), "protobuf", most=3)]
    wholes += [bytes.fromhex(h) for h in ("0b10051b1c12010c0c2009", "0b0c", "090000000000000000", "0d00000000", "")]
    messages = list(wholes)
    for _ in range(20_000):
        changed = bytearray(generator.choice(wholes[-30:])[: generator.randrange(1, 40)])
        for _ in range(generator.randrange(0, 3)):
            if changed:
                changed[generator.randrange(len(changed))] = generator.randrange(256)
        messages.append(bytes(changed))
    for message, answer in zip(messages, wire(messages)):
        try:
            wrappers_pb2.BytesValue.FromString(message)
            is_valid = True
        except DecodeError:
            is_valid = False
        # Inside of an unknown group upb does not mind a field number of 0, which the format forbids.
        if is_valid and answer == "error an invalid tag" and any(byte & 7 == 3 for byte in message):
            continue
        assert is_valid != answer.startswith("error"), (seed, message.hex(), answer)


# MARK: gRPC


def call(port, request, path):
    """One call over h2 with the header fields and the body as they are; answers header and trailer fields."""
    connection = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
    fields = []
    with socket.create_connection(("127.0.0.1", port), timeout=60) as peer:
        connection.initiate_connection()
        pseudo = [(":method", "POST"), (":scheme", "http"), (":authority", "localhost"), (":path", path)]
        connection.send_headers(1, pseudo + request.headers)
        for start in range(0, len(request.body), 1000):
            connection.send_data(1, request.body[start : start + 1000])
        connection.end_stream(1)
        peer.sendall(connection.data_to_send())
        while data := peer.recv(65536):
            for event in connection.receive_data(data):
                if isinstance(event, (h2.events.ResponseReceived, h2.events.TrailersReceived)):
                    fields += event.headers
                if isinstance(event, (h2.events.StreamEnded, h2.events.StreamReset)):
                    return dict(fields)
            peer.sendall(connection.data_to_send())
    raise AssertionError("the server closed the connection")


@pytest.fixture
def grpc_server():
    """Takes any method; the messages as bytes, whatever the method's declaration."""
    taken = []

    class Handler(grpc.GenericRpcHandler):
        def service(self, details):
            metadata = dict(details.invocation_metadata)
            def unary(message, context):
                taken.append((details.method, metadata, [message]))
                return b""

            def streaming(messages, context):
                taken.append((details.method, metadata, list(messages)))
                return b""

            if details.method.endswith("/Unary"):
                return grpc.unary_unary_rpc_method_handler(unary)
            return grpc.stream_unary_rpc_method_handler(streaming)

    server = grpc.server(futures.ThreadPoolExecutor(2), handlers=[Handler()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield port, taken
    server.stop(None).wait()


def test_grpcio_takes_a_record_as_a_unary_call(grpc_server):
    port, taken = grpc_server
    for record in random_records(6, 20):
        (request,) = encode([record], "grpc")
        answer = call(port, request, "/spoke.test.Ingest/Unary")
        assert (answer[":status"], answer["grpc-status"]) == ("200", "0")
        method, metadata, messages = taken.pop()
        assert (method, messages) == ("/spoke.test.Ingest/Unary", [record.payload])
        assert (metadata["spoke-id"], metadata["spoke-count"]) == (record.id, "1")


def test_grpcio_takes_a_batch_as_a_client_streaming_call(grpc_server):
    port, taken = grpc_server
    records = [replace(record, sequence=number) for number, record in enumerate(random_records(7, 100), 5)]
    (request,) = encode(records, "grpc")
    assert request["te"] == "trailers" and request["content-type"] == "application/grpc"
    answer = call(port, request, "/spoke.test.Ingest/Stream")
    assert answer["grpc-status"] == "0"
    ((_, metadata, messages),) = taken
    assert messages == [r.payload for r in records]
    assert (metadata["spoke-id"], metadata["spoke-count"]) == (records[0].id, "100")

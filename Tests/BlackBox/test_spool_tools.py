"""`spokectl spool`: a spool's files, of a daemon that runs and of one that does not."""

import base64
import json
import re
import subprocess

import pytest
from spoke import program
from upstream import Answer
from waiting import wait_until

PATH = "/v1/state"
RECORDS = [b"record %d " % number + b"x" * 300 for number in range(200)]


def tool(line, *arguments, status=0):
    done = subprocess.run(
        [program("spokectl"), "--config", line.spoke.file, "--socket", line.spoke.admin, "spool", *arguments],
        capture_output=True, timeout=90)
    assert done.returncode == status, (done.returncode, done.stdout[-2000:], done.stderr[-2000:])
    return done


def dumped(done):
    return [json.loads(text) for text in done.stdout.splitlines()]


def payload(record):
    if "payload" in record:
        return record["payload"].encode()
    return base64.b64decode(record["payload_base64"])


def numbers(gap):
    return set(range(gap["first"], gap["last"] + 1))


@pytest.fixture
def full(make_upstream, make_line):
    """A daemon whose upstream is away, with all records on disk in several segments."""
    upstream = make_upstream(paused=True)
    line = make_line(upstream, reports=True, durability="sync")
    line.publish(*RECORDS)
    line.spoke.wait_for_stat("spoke.stream.state.backlog_records", len(RECORDS), 30)
    return line


def segments(line):
    return sorted((line.spoke.folder / "spool").glob("*.seg"))


def test_a_stopped_daemons_spool_is_listed_dumped_and_whole(full):
    full.spoke.terminate()
    before = {path.name: path.read_bytes() for path in segments(full)}
    page = json.loads(tool(full, "ls", "--json").stdout)
    held = [s for segment in page["segments"] for s in segment["streams"] if s["name"] == "state"]
    assert sum(s["waiting"] for s in held) == len(RECORDS)
    assert len(page["segments"]) == len(before) > 1
    assert b"WAITING" in tool(full, "ls").stdout
    records = dumped(tool(full, "dump", "state"))
    assert [payload(r) for r in records] == RECORDS
    epoch = page["segments"][0]["epoch"]
    assert [r["id"] for r in records] == [f"board-1/state/{epoch}-{n + 1}" for n in range(len(RECORDS))]
    assert records[0]["source"] == "mqtt" and records[0]["stream"] == "state"
    assert b"0 corrupt frames" in tool(full, "verify").stdout
    found = json.loads(tool(full, "verify", "--json").stdout)
    assert found["whole"] is True and found["segments"] == len(before) and found["records"] >= len(RECORDS)
    assert {path.name: path.read_bytes() for path in segments(full)} == before
    assert b"no stream of that name" in tool(full, "dump", "stat", status=1).stderr


def test_a_running_daemons_spool_is_looked_at_and_left_alone(full):
    wait_until(lambda: len(dumped(tool(full, "dump", "state"))) == len(RECORDS), "the last ones are on disk")
    assert [payload(r) for r in dumped(tool(full, "dump", "state"))] == RECORDS
    tool(full, "verify")
    for arguments in (("repair",), ("drain", "--export")):
        refused = tool(full, *arguments, status=69)
        assert b"another process uses it" in refused.stderr and refused.stdout == b""
    assert full.spoke.running


def test_numbers_that_are_reserved_ahead_are_no_damage(make_upstream, make_line):
    """`spill` numbers are promised before they are used: files beside a daemon that runs always lack some."""
    upstream = make_upstream()
    line = make_line(upstream, reports=True, durability="spill")
    line.publish(b"delivered")
    line.spoke.wait_for_stat("spoke.stream.state.delivered", 1)
    wait_until(lambda: tool(line, "verify").stderr, "the cursor has reserved numbers")

    def look():
        """What `verify` names; the others have nothing to say."""
        assert tool(line, "ls").stderr == tool(line, "dump").stderr == b""
        found = tool(line, "verify")
        assert b" 0 corrupt frames" in found.stdout and b"lost" not in found.stderr
        return found.stderr.decode()

    assert re.search(r"stream state: up to 64 numbers, 1 to 64 of epoch \w+, are reserved by the daemon that runs\n", look())
    line.spoke.kill()
    assert re.search(r"stream state: up to 6\d numbers, .* no daemon runs, and the next start reports them\n", look())
    # Whoever takes the spool over has to report them.
    repaired = tool(line, "repair").stderr
    assert re.search(rb"stream state: at most 6\d records lost, .* reason memory\n", repaired)
    assert look() == "", "it is told, and stored"
    line.spoke.start()
    found = wait_until(lambda: gaps(upstream), "the gap report")
    assert [(g["stream"], g["reason"], g["upper_bound"]) for g in found] == [("state", "memory", True)]
    line.spoke.terminate()
    assert look() == ""


def test_payloads_that_are_no_text_are_base64(make_upstream, make_line):
    line = make_line(make_upstream(paused=True), durability="sync")
    sent = [bytes(range(256)), b"\x00", b"plain\ttext", "Grüße".encode(), b"\xff\xfe"]
    line.publish(*sent)
    line.spoke.wait_for_stat("spoke.stream.state.backlog_records", len(sent))
    records = dumped(tool(line, "dump"))
    records = [r for r in records if r["stream"] == "state"]
    assert [payload(r) for r in records] == sent
    assert ["payload" in r for r in records] == [False, False, True, True, False]


def test_damage_is_named_repaired_and_reported_upstream(full):
    full.spoke.terminate()
    victim = next(path for path in segments(full) if path.stat().st_size > 20_000)
    content = bytearray(victim.read_bytes())
    content[12_000] ^= 0x10
    victim.write_bytes(content)
    found = tool(full, "verify", status=1)
    assert b"stream state" in found.stderr and b"reason corrupt" in found.stderr
    found = json.loads(tool(full, "verify", "--json", status=1).stdout)
    assert found["whole"] is False and found["corrupt_frames"] > 0 and found["unreadable"] == 0
    assert victim.read_bytes() == content, "verify changes nothing"
    left = {r["id"] for r in dumped(tool(full, "dump", "state", status=1))}
    assert 0 < len(left) < len(RECORDS)
    repaired = tool(full, "repair", "--json")
    assert b"reason corrupt" in repaired.stderr
    assert json.loads(repaired.stdout)["records"] >= len(left)
    full.upstream.start()
    full.spoke.start()
    full.spoke.wait_for_stat("spoke.stream.state.delivered", len(left), 30)
    wait_until(lambda: gaps(full.upstream), "a gap report", 20)
    arrived = {r.id for r in full.upstream.whole() if r.path == PATH}
    assert arrived == left
    reported = set().union(*(numbers(g) for g in gaps(full.upstream) if g["reason"] == "corrupt"))
    missing = {n + 1 for n in range(len(RECORDS))} - {int(i.rpartition("-")[2]) for i in left}
    assert missing and missing <= reported
    full.spoke.terminate()
    assert b"0 corrupt frames" in tool(full, "verify").stdout


def gaps(upstream):
    bodies = [json.loads(r.body) for r in upstream.whole() if r.path == "/v1/health"]
    return [body["gap"] for body in bodies if "gap" in body]


def test_what_was_set_aside_can_be_read(make_upstream, make_line):
    upstream = make_upstream(rule=lambda request: Answer(status=422))
    line = make_line(upstream, durability="sync")
    line.publish(b"poison one", b"poison two")
    line.spoke.wait_for_stat("spoke.stream.state.parked", 2)
    letters = dumped(tool(line, "dump", "--dead-letters"))
    assert [(payload(r), r["status"], r["stream"]) for r in letters] == [
        (b"poison one", 422, "state"), (b"poison two", 422, "state")]
    status = subprocess.run(
        [program("spokectl"), "--socket", line.spoke.admin, "status"], capture_output=True, text=True, timeout=20).stdout
    rows = [text.split() for text in status.splitlines()]
    head = next(row for row in rows if row[:1] == ["STREAM"])
    shown = dict(zip(head, next(row for row in rows if row[:1] == ["state"])))
    assert shown["PARKED"] == "2"
    assert int(shown["IN"]) == sum(int(shown[name]) for name in ("DELIVERED", "DROPPED", "PARKED", "WAITING"))


def test_drain_ends_pauses_and_returns_when_nothing_waits(full):
    full.upstream.start()
    assert b"nothing waits" in tool(full, "drain").stdout
    assert full.spoke.stat("spoke.stream.state.backlog_records") == 0
    assert [r.body for r in full.upstream.whole() if r.path == PATH] == RECORDS
    status, _, _ = full.spoke.get("/spool/drain")
    assert status == 405


def test_export_hands_every_record_out_once(full):
    full.spoke.terminate()
    assert b"admin.sock" in tool(full, "drain", status=69).stderr, "nobody is there to send them"
    records = [r for r in dumped(tool(full, "drain", "--export")) if r["stream"] == "state"]
    assert [payload(r) for r in records] == RECORDS
    assert dumped(tool(full, "dump")) == []
    full.upstream.start()
    full.spoke.start()
    full.publish(b"after")
    request = full.upstream.wait_for_body(b"after")
    assert int(request.id.rpartition("-")[2]) > len(RECORDS), "no number is used twice"
    assert [r.body for r in full.upstream.whole() if r.path == PATH] == [b"after"]


def test_an_output_that_breaks_keeps_the_records(full):
    full.spoke.terminate()
    with open("/dev/full", "wb") as output:
        done = subprocess.run(
            [program("spokectl"), "--config", full.spoke.file, "spool", "drain", "--export"],
            stdout=output, stderr=subprocess.PIPE, timeout=60)
    assert done.returncode == 1
    assert len([r for r in dumped(tool(full, "dump")) if r["stream"] == "state"]) == len(RECORDS)


@pytest.mark.parametrize("words", [["ls"], ["ls", "--json"], ["dump"], ["verify"], ["verify", "--json"], ["repair"],
                                   ["repair", "--json"], ["drain", "--export"]])
def test_a_spool_that_could_not_be_printed_is_no_success(full, words):
    full.spoke.terminate()
    with open("/dev/full", "wb") as output:
        done = subprocess.run(
            [program("spokectl"), "--config", full.spoke.file, "spool", *words], stdout=output,
            stderr=subprocess.PIPE, timeout=60)
    assert done.returncode == 1
    assert b"spokectl: the output could not be written\n" in done.stderr


def test_an_export_whose_reader_goes_away_keeps_what_was_not_written(full):
    full.spoke.terminate()
    command = [program("spokectl"), "--config", full.spoke.file, "spool", "drain", "--export"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as export:
        assert json.loads(export.stdout.readline())["stream"] == "state"
        export.stdout.close()
        assert b"the output could not be written" in export.stderr.read()
    assert export.returncode == 1
    assert tool(full, "dump").stdout.count(b'"stream":"state"') > 0


def test_an_export_without_a_standard_output_writes_to_no_file_of_the_spool(full):
    full.spoke.terminate()
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" <&- >&-', "sh", program("spokectl"), "--config", full.spoke.file, "spool", "drain",
         "--export"], stderr=subprocess.PIPE, timeout=60)
    assert done.returncode == 1 and b"the output could not be written" in done.stderr
    assert (full.spoke.folder / "spool/lock").read_bytes() == b""
    assert len([r for r in dumped(tool(full, "dump")) if r["stream"] == "state"]) == len(RECORDS)


@pytest.mark.parametrize("words", [["spool"], ["spool", "burn"], ["spool", "ls", "more"],
                                   ["spool", "ls", "--export"], ["status", "--export"],
                                   ["spool", "drain", "--json"], ["check", "--json"],
                                   ["spool", "dump", "a", "b"], ["spool", "verify", "--dead-letters"]])
def test_wrong_words_are_refused(words):
    done = subprocess.run([program("spokectl"), *words], capture_output=True, text=True, timeout=20)
    assert done.returncode == 64 and "--help" in done.stderr

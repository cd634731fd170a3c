"""The tests' own upstream, checked with clients that others wrote: what it records is what was sent."""

import subprocess

from serialport import nmea, vesc
from upstream import Answer


def curl(*arguments):
    return subprocess.run(
        ["curl", "-sS", "--max-time", "60", *arguments], capture_output=True, text=True
    )


def test_the_upstream_records_a_request_of_curl_over_tls(make_upstream, identity, authority):
    upstream = make_upstream(identity)
    upstream.rule = lambda request: Answer(status=202, body=b"taken" * 20000)
    answer = curl("--http2", "--cacert", str(authority.certificate), "-d", "hello", "-w", "%{http_code}",
                  f"{upstream.url}/v1/x")
    assert answer.stdout == "taken" * 20000 + "202", answer.stderr
    request = upstream.wait_for(1)[0]
    assert (request.body, request.path, request.header(":method")) == (b"hello", "/v1/x", "POST")
    assert upstream.peers[0]["alpn"] == "h2"


def test_the_upstream_answers_h2load_on_many_streams_without_tls(make_upstream):
    upstream = make_upstream()
    done = subprocess.run(
        ["h2load", "-n", "200", "-c", "2", "-m", "10", upstream.url + "/"], capture_output=True, text=True
    )
    assert "200 succeeded" in done.stdout, done.stdout + done.stderr
    assert len(upstream.wait_for(200)) == 200


def test_a_small_window_slows_a_client_down_and_loses_nothing(make_upstream):
    upstream = make_upstream(settings={4: 100})
    body = "x" * 5000
    answer = curl("--http2-prior-knowledge", "-d", body, "-w", "%{http_code}", upstream.url + "/")
    assert answer.stdout == "200", answer.stderr
    assert upstream.wait_for(1)[0].body == body.encode()


def test_a_reset_and_a_dropped_connection_reach_the_client(make_upstream):
    upstream = make_upstream()
    upstream.rule = lambda request: Answer(reset=2) if request.path == "/reset" else Answer(drop=True)
    assert curl("--http2-prior-knowledge", upstream.url + "/reset").returncode == 92
    assert curl("--http2-prior-knowledge", upstream.url + "/drop").returncode in (16, 18, 52, 56)


def test_a_stopped_upstream_refuses_and_comes_back_on_the_same_port(make_upstream):
    upstream = make_upstream()
    upstream.stop()
    assert curl("--http2-prior-knowledge", upstream.url + "/").returncode == 7
    upstream.start()
    assert curl("--http2-prior-knowledge", upstream.url + "/").returncode == 0


def test_the_publisher_knows_what_the_broker_acknowledged(make_broker, make_publisher):
    publisher = make_publisher(make_broker())
    for number in range(50):
        publisher.publish("a/b", b"%d" % number)
    publisher.flush()
    assert sorted(map(int, publisher.acknowledged)) == list(range(50))


def test_frames_match_the_examples_of_their_protocols():
    # NMEA 0183's well-known GGA example; the VESC frame of COMM_FW_VERSION.
    sentence = nmea("GPGGA,123519,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,")
    assert sentence.endswith(b"*47")
    assert vesc(b"\x00") == bytes.fromhex("020100000003")

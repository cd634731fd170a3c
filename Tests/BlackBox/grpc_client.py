"""grpcio's own xDS client in a process of its own: the configuration of its xDS is read once per process.

As a program it reads a JSON object a line and answers with one: {"calls": [{"path", "metadata", "authority"}]} → the
results in order. As a module it starts that program.
"""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path


class GrpcClient:
    """Calls through a channel of `xds:///NAME`."""

    def __init__(self, folder: Path, server: str, name="ingest.example.com", node="grpcio"):
        bootstrap = {
            "xds_servers": [{
                "server_uri": server, "channel_creds": [{"type": "insecure"}], "server_features": ["xds_v3"],
            }],
            "node": {"id": node, "cluster": "boards", "locality": {"zone": "z"}},
        }
        file = folder / f"{node}.json"
        file.write_text(json.dumps(bootstrap))
        self.log = folder / f"{node}.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, __file__, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
                env={**os.environ, "GRPC_XDS_BOOTSTRAP": str(file), "GRPC_ENABLE_FORK_SUPPORT": "0"},
            )
        self._lock = threading.Lock()

    def call(self, *calls, seconds=30.0, parallel=False) -> list[dict]:
        """Each call is (path, metadata) and maybe an authority; a result has `code` and, if it went well, `body`."""
        described = [
            {"path": path, "metadata": metadata, "authority": authority[0] if authority else None}
            for path, metadata, *authority in calls
        ]
        request = {"calls": described, "seconds": seconds, "parallel": parallel}
        with self._lock:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        assert line, f"the client ended: {self.log.read_text()[-2000:]}"
        return json.loads(line)

    def stop(self):
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()


def main(name):
    import grpc

    same = lambda data: data  # noqa: E731
    channels = {}

    def channel_to(authority):
        if authority not in channels:
            options = [("grpc.default_authority", authority)] if authority else []
            channels[authority] = grpc.insecure_channel(f"xds:///{name}", options)
        return channels[authority]

    def begin(call, seconds):
        method = channel_to(call["authority"]).unary_unary(call["path"], request_serializer=same, response_deserializer=same)
        metadata = [tuple(pair) for pair in call["metadata"]]
        return method.future(b"", metadata=metadata, timeout=seconds, wait_for_ready=False)

    def end(future):
        try:
            return {"code": "OK", "body": future.result().decode()}
        except grpc.RpcError as error:
            return {"code": error.code().name, "details": error.details()}

    for line in sys.stdin:
        request = json.loads(line)
        if request["parallel"]:
            results = [end(f) for f in [begin(call, request["seconds"]) for call in request["calls"]]]
        else:
            results = [end(begin(call, request["seconds"])) for call in request["calls"]]
        print(json.dumps(results), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])

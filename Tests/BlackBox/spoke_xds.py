"""Spoke under a control plane: its configuration, and what its pages and `spokectl` say. The form of a page is known
here and nowhere else in the tests."""

import subprocess
from dataclasses import dataclass

from envoy.service.discovery.v3 import discovery_pb2
from resources import SHORT, packed
from spoke import program, toml
from waiting import wait_until

NAME = "ingest.example.com"
CONNECTED = "control_plane.connected_state"


@dataclass
class Target:
    """What a stream of `make_line` goes to."""

    url: str = f"xds:///{NAME}"


def table(folder, *servers, **keys) -> str:
    """The `[xds]` table; the cache is in the test's folder."""
    settings = {"servers": list(servers) or None, "cache": f"{folder}/xds", **keys}
    return "[xds]\n" + "".join(f"{key} = {toml(value)}\n" for key, value in settings.items() if value is not None)


def memory(spoke) -> int:
    """Resident KiB."""
    with open(f"/proc/{spoke.process.pid}/status") as status:
        return int(status.read().split("VmRSS:")[1].split()[0])


# /config_dump


@dataclass
class Resource:
    """An entry of /config_dump."""

    kind: str
    name: str
    version: str
    state: str
    source: str
    error: str
    error_version: str
    not_applied: list[str]


def resources(spoke) -> list[Resource]:
    found = []
    for entry in spoke.json("/config_dump")["resources"]:
        error = entry.get("error") or {}
        found.append(Resource(
            entry["type"], entry["name"], entry.get("version", ""), entry["state"], entry.get("source", ""),
            error.get("message", ""), error.get("version", ""), entry.get("not_applied", []),
        ))
    return found


def resource(spoke, kind, name) -> Resource | None:
    return next((r for r in resources(spoke) if (r.kind, r.name) == (SHORT[kind], name)), None)


def wait_for_resource(spoke, kind, name, state="ACKED", seconds=15.0, **expected) -> Resource:
    """Until an entry of the dump is in the state, and has what else is expected of it."""
    wanted = {"state": state, **expected}

    def there():
        found = resource(spoke, kind, name)
        return found if found and all(getattr(found, key) == value for key, value in wanted.items()) else None

    return wait_until(
        there, lambda: f"{SHORT[kind]} {name} {wanted}: {resource(spoke, kind, name)}\n{spoke.log[-1500:]}", seconds, 0.03
    )


# spokectl route


def explain(spoke, path, authority=NAME, headers=(), method=None) -> str:
    """What `spokectl route` prints."""
    words = ["route", "--socket", str(spoke.admin), "--authority", authority, "--path", path]
    for name, value in headers:
        words += ["--header", f"{name}={value}"]
    ended = subprocess.run(
        [str(program("spokectl")), *words], capture_output=True, text=True, timeout=60
    )
    assert ended.returncode in (0, 1), f"{ended.returncode}: {ended.stderr}"
    return ended.stdout + ended.stderr


def chosen_cluster(spoke, path, authority=NAME, headers=()) -> str | None:
    """The cluster that a request would go to; None: there is no route for it."""
    for line in explain(spoke, path, authority, headers).splitlines():
        words = line.split()
        if words[:1] == ["cluster"] and len(words) > 1:
            return words[1] if len(words) == 2 else None  # or it says that there is none
    return None


def spokectl(spoke, *words):
    ended = subprocess.run(
        [str(program("spokectl")), *words, "--socket", str(spoke.admin)], capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 0, f"{words}: {ended.returncode} {ended.stderr}"
    return ended.stdout


# Files that the daemon reads


def discovery_file(path, kind, *messages, version="static"):
    """A DiscoveryResponse as a file of `[xds] resources`."""
    response = discovery_pb2.DiscoveryResponse(version_info=version, type_url=kind)
    response.resources.extend(map(packed, messages))
    path.write_bytes(response.SerializeToString())


def runtime_page(spoke) -> dict:
    """/runtime: key → value in force."""
    page = spoke.json("/runtime")
    entries = page["entries"] if "entries" in page else page
    return {k: v["final_value"] if isinstance(v, dict) and "final_value" in v else v for k, v in entries.items()}


def cluster_lines(spoke, name) -> list[str]:
    """The lines of /clusters about one cluster, as `name::…`."""
    status, _, text = spoke.get("/clusters")
    assert status == 200, text
    return [line for line in text.splitlines() if line.startswith(f"{name}::")]


def cluster_stat(spoke, cluster, name) -> int:
    return spoke.stats().get(f"cluster.{cluster}.{name}", 0)

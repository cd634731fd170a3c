"""The table of attacks names tests that exist, and statistics that the code has."""

import re

from swift_source import ROOT

TABLE = (ROOT / "Sources/HTTP2/HTTP2.docc/HostilePeers.md").read_text()
ROWS = [line for line in TABLE.split("## Attacks")[1].splitlines() if line.startswith("|")][2:]


def test_every_attack_names_a_test_that_exists():
    tests = "".join(
        re.sub(r'"\s*\+\s*"', "", path.read_text())
        for folder in ("HTTP2Tests", "HPACKTests", "NetworkingCoreTests")
        for path in (ROOT / "Tests" / folder).glob("*.swift")
    )
    named = [(row, re.findall(r'"([^"]+)"', row)) for row in ROWS]
    assert len(named) > 40
    assert [row for row, names in named if not names] == []
    assert [name for _, names in named for name in names if f'"{name}"' not in tests] == []


def test_every_statistic_of_the_table_is_one_of_the_code():
    code = (ROOT / "Sources/HTTP2/HTTP2CauseNames.swift").read_text()
    code += (ROOT / "Sources/NetworkingCore/ClusterStatistics.swift").read_text()
    listed = {name for row in ROWS for name in re.findall(r"`([^`]+)`", row.split("|")[3])}
    assert len(listed) > 40
    assert [name for name in sorted(listed) if f'"{name}"' not in code] == []

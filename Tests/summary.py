"""Adds up what Tests/run ran, and prints one last line: `N passed, N failed`.

A part with JUnit files counts its test cases: a skipped one is a failure, because a test that did
not run showed nothing. A part without them (a build, the linter) counts as one. A part that should
have written JUnit files and did not, or that ended badly with no failed case, is one failure more.
"""

import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

WITH_CASES = {"tidy", "swift", "peers", "peers-armhf", "blackbox"}
LOG_LINES = 60


def cases(part: Path):
    """Yields (name, problem or None) for each test case of a part."""
    for file in sorted(part.glob("*.xml")):
        for case in ElementTree.parse(file).iter("testcase"):
            problem = None
            for kind in ("failure", "error", "skipped"):
                found = case.find(kind)
                if found is not None:
                    problem = f"{kind}: {found.get('message') or (found.text or '').strip()}"
            yield f"{case.get('classname')}.{case.get('name')}", problem


def count(part: Path) -> tuple[int, list[str]]:
    """How many of a part passed, and a line for each failure."""
    status_file = part / "status"
    status = status_file.read_text().strip() if status_file.exists() else "did not run"
    passed, failures = 0, []
    try:
        for name, problem in cases(part):
            if problem is None:
                passed += 1
            else:
                failures.append(f"{name}: {' '.join(problem.split())[:300]}")
    except ElementTree.ParseError as error:
        failures.append(f"unreadable results: {error}")
    if part.name not in WITH_CASES:
        if status == "0":
            passed += 1
        else:
            failures.append(f"ended with {status}")
    elif status != "0" and not failures:
        failures.append(f"ended with {status} without a failed case")
    elif passed == 0 and not failures:
        failures.append("ran no test")
    return passed, failures


def main() -> int:
    results = Path(sys.argv[1])
    total_passed, total_failed = 0, 0
    for name in sys.argv[2:]:
        part = results / name
        passed, failures = count(part)
        total_passed += passed
        total_failed += len(failures)
        if failures:
            log = part / "log"
            print(f"---- {name}: the end of {log}")
            if log.exists():
                print("\n".join(log.read_text(errors="replace").splitlines()[-LOG_LINES:]))
            for failure in failures:
                print(f"FAILED [{name}] {failure}")
    print()
    for name in sys.argv[2:]:
        passed, failures = count(results / name)
        seconds = results / name / "seconds"
        took = seconds.read_text().strip() + " s" if seconds.exists() else "-"
        print(f"{name:12} {passed:6} passed {len(failures):4} failed   {took}")
    print(f"{total_passed} passed, {total_failed} failed")
    return 1 if total_failed or total_passed == 0 else 0


if __name__ == "__main__":
    sys.exit(main())

"""The shell scripts parse, and shellcheck has nothing to say about them."""

import subprocess

import pytest
from swift_source import ROOT, name


def shell_scripts():
    found = []
    for folder in ("board", "Tests", ".ci"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.is_file() and path.suffix in ("", ".sh"):
                head = path.read_bytes()[:64]
                if head.startswith(b"#!/usr/bin/env bash") or path.suffix == ".sh":
                    found.append(path)
    return found


@pytest.mark.parametrize("script", shell_scripts(), ids=name)
def test_a_script_parses_and_shellcheck_is_silent(script):
    subprocess.run(["bash", "-n", script], check=True)
    checked = subprocess.run(
        ["shellcheck", "-x", "-P", str(script.parent), "-e", "SC1091", script], capture_output=True, text=True
    )
    assert checked.stdout + checked.stderr == ""


def test_the_scripts_that_people_type_are_executable():
    for script in ("board/build", "board/demo", "Tests/run", "Tests/bench", ".ci/run"):
        assert (ROOT / script).stat().st_mode & 0o111 == 0o111, script


@pytest.mark.parametrize("script", ["board/build", "Tests/run"])
def test_a_wrong_argument_is_a_usage_error(script):
    ended = subprocess.run([ROOT / script, "--no-such-thing"], capture_output=True, text=True)
    assert ended.returncode == 64
    assert "usage: " in ended.stderr

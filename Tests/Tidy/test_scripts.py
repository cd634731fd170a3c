"""The shell scripts parse, and shellcheck has nothing to say about them."""

import os
import shutil
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


@pytest.mark.parametrize(("word", "asked"), [("time@GLIBC_2.4", False), ("__time64@GLIBC_2.34", True)])
def test_a_32_bit_board_has_as_many_bits_of_time_as_its_openssl(tmp_path, word, asked):
    shutil.copytree(ROOT / "board", tmp_path / "board")
    library = tmp_path / "system/usr/lib/arm-linux-gnueabihf/libcrypto.so.3"
    library.parent.mkdir(parents=True)
    library.write_bytes(b"\x7fELF\0" + word.encode() + b"\0")
    swift = tmp_path / "bin/swift"
    swift.parent.mkdir()
    swift.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n[ "$1" != build ]\n')
    swift.chmod(0o755)
    ended = subprocess.run(
        [tmp_path / "board/build", "armhf"], capture_output=True, text=True,
        env={**os.environ, "PATH": f"{swift.parent}:{os.environ['PATH']}", "SPOKE_SYSROOT": str(tmp_path / "system")})
    assert "building spoked for armhf failed" in ended.stderr, ended.stderr
    assert ("-Xcc -D_TIME_BITS=64" in (tmp_path / "asked").read_text()) == asked


def test_the_scripts_that_people_type_are_executable():
    for script in ("board/build", "board/demo", "Tests/run", "Tests/bench", ".ci/run"):
        assert (ROOT / script).stat().st_mode & 0o111 == 0o111, script


@pytest.mark.parametrize("script", ["board/build", "Tests/run"])
def test_a_wrong_argument_is_a_usage_error(script):
    ended = subprocess.run([ROOT / script, "--no-such-thing"], capture_output=True, text=True)
    assert ended.returncode == 64
    assert "usage: " in ended.stderr

"""systemd accepts the files that are installed beside the daemon, and finds the unit well locked up."""

import re
import shutil
import subprocess

import pytest
from swift_source import ROOT

UNITS = ROOT / "systemd"


@pytest.fixture
def unit(tmp_path):
    """The unit with a program that exists here, since verify looks for it."""
    text = (UNITS / "spoked.service").read_text()
    text = re.sub(r"^(Exec\w+=)/usr/bin/spoked\b", r"\1/bin/true", text, flags=re.M)
    path = tmp_path / "spoked.service"
    path.write_text(text)
    return path


def run(*command):
    return subprocess.run(command, capture_output=True, text=True)


def test_systemd_verifies_the_unit_without_a_word(unit):
    verified = run("systemd-analyze", "verify", unit)
    assert verified.returncode == 0, verified.stderr
    assert "spoked.service" not in verified.stderr


def test_the_exposure_of_the_unit_is_at_most_1_5(unit):
    checked = run("systemd-analyze", "security", "--offline=true", "--no-pager", unit)
    exposure = re.search(r"Overall exposure level for \S+: ([\d.]+)", checked.stdout)
    assert exposure, checked.stdout + checked.stderr
    assert float(exposure.group(1)) <= 1.5, checked.stdout


def test_sysusers_makes_the_user_that_the_unit_runs_as(unit, tmp_path):
    (tmp_path / "etc").mkdir()
    shutil.copy("/etc/group", tmp_path / "etc/group")
    made = run("systemd-sysusers", f"--root={tmp_path}", UNITS / "spoke.sysusers")
    assert made.returncode == 0, made.stderr
    users = (tmp_path / "etc/passwd").read_text()
    assert re.search(r"^spoke:", users, re.M)
    assert re.search(r"^User=spoke$", unit.read_text(), re.M)


def test_tmpfiles_makes_the_folders_of_the_configuration(tmp_path):
    text = re.sub(r" spoke spoke ", " - - ", (UNITS / "spoke.tmpfiles").read_text())
    text = re.sub(r" root spoke ", " - - ", text)
    plain = tmp_path / "spoke.conf"
    plain.write_text(text)
    made = run("systemd-tmpfiles", f"--root={tmp_path}", "--create", plain)
    assert made.returncode == 0, made.stderr
    assert (tmp_path / "etc/spoke/conf.d").is_dir()


def test_devices_are_allowed_by_major_number_only(unit):
    # A name is looked up in /proc/devices when the unit starts: a driver that is loaded later would
    # be refused (systemd issues 14214 and 14322).
    allowed = re.findall(r"^DeviceAllow=(\S+)", unit.read_text(), re.M)
    assert allowed and all(re.fullmatch(r"char-\d+", device) for device in allowed)


def test_the_udev_rules_are_well_formed():
    for line in (UNITS / "60-spoke.rules").read_text().splitlines():
        if line and not line.startswith("#"):
            assert re.fullmatch(r'(\w+(\{[^}]+\})?(==|!=|=|\+=|:=)"[^"]*"(, ?|$))+', line), line

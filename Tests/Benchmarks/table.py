"""The table of Tests/bench, and what it was made on and with."""

import os
import re
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class Table:
    """Rows of: what, ours, the peer's, ratio, budget."""

    def __init__(self, command: str):
        self.command = command
        self.failed = []
        self.rows = []
        self.reasons = []
        print(f"{'what':<58} {'ours':>12} {'peer':>12} {'ratio':>6}  {'budget':>9}  peer is", flush=True)

    def row(self, what, ours, peer=None, peer_name="", budget=None, unit=""):
        ratio = f"{ours / peer:.2f}" if peer else ""
        over = budget is not None and ours > budget
        if over:
            self.failed.append(what)
        mark = " (over)" if over else ""
        self.rows.append((
            what, self.text(ours, unit), self.text(peer, unit), ratio, self.text(budget, "") + mark, peer_name,
        ))
        print(
            f"{what:<58} {self.text(ours, unit):>12} {self.text(peer, unit):>12} {ratio:>6}  "
            f"{self.text(budget, ''):>9}{'!' if over else ' '} {peer_name}", flush=True,
        )

    def explain(self, words, why):
        """Why rows whose names begin with these words may be over their budgets."""
        self.reasons.append((words, why))

    def excesses(self) -> list[str]:
        """What is over its budget, each reason once; a row for which there is none is named by itself."""
        known = {}
        for what in dict.fromkeys(self.failed):
            words, why = next(((words, why) for words, why in self.reasons if what.startswith(words)), (what, None))
            known[words] = why or "not explained yet"
        return [f"**{words}**: {why}" for words, why in known.items()]

    def write(self, path: Path):
        """The table for the repository, with what it was made on and with."""
        lines = [
            "# What Tests/bench measured", "",
            f"Written by `{self.command}` itself; it is not edited by hand.", "",
            *(f"- {line}" for line in circumstances()), "",
            "| what | ours | the peer's | ratio | budget | the peer |", "|---|---|---|---|---|---|",
            *(f"| {' | '.join(row)} |" for row in self.rows), "",
            "## What is over its budget, and why", "",
            *(f"- {excess}" for excess in self.excesses() or ["nothing"]), "",
        ]
        path.write_text("\n".join(lines))

    @staticmethod
    def text(value, unit):
        if value is None:
            return ""
        number = f"{value:,.0f}" if isinstance(value, int) or value >= 1000 else f"{value:.3g}"
        return f"{number} {unit}".rstrip()


def circumstances() -> list[str]:
    """The machine's kind and the versions of what took part."""

    def first_line(*command):
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        return done.stdout.strip().splitlines()[0] if done.stdout.strip() else f"{command[0]}: unknown"

    model = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.M)
    system = os.uname()
    return [
        f"date: {time.strftime('%Y-%m-%d', time.gmtime())}",
        f"processor: {model.group(1) if model else system.machine}, {os.cpu_count()} cores",
        f"system: {system.sysname} {system.release}, {system.machine}",
        "spoked: commit " + first_line("git", "-C", str(ROOT), "describe", "--always", "--dirty"),
        first_line("swift", "--version"),
        first_line("h2load", "--version"),
        first_line("valgrind", "--version"),
        first_line("mosquitto", "-h"),
    ]

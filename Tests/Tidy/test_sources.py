"""The rules of this code base that a compiler does not check. Each list of exceptions is exact: an
entry that is no longer needed fails too, so the lists only shrink."""

import re

import pytest
from swift_source import ROOT, code_only, functions, name, sources

C_MODULES = {"CLinux", "COpenSSL", "CMosquitto"}

# What each target may import; nothing imports upward, and only Platform and the programs touch the
# operating system.
ALLOWED_IMPORTS = {
    "Primitives": set(),
    "HPACK": {"Primitives"},
    "HTTP2": {"HPACK", "Primitives"},
    "Policy": {"Primitives"},
    "NetworkingCore": {"Policy", "GRPC", "HTTP2", "HPACK", "Primitives"},
    "Configuration": {"Ingest", "Primitives"},
    "Protobuf": {"Primitives"},
    "GRPC": {"Primitives"},
    "XDS": {"Policy", "GRPC", "HTTP2", "HPACK", "Protobuf", "Primitives"},
    "Ingest": {"Primitives"},
    "Spool": {"Primitives"},
    "Gateway": {
        "Configuration", "Ingest", "Spool", "NetworkingCore", "XDS", "Policy", "GRPC", "Protobuf", "HTTP2",
        "HPACK", "Primitives",
    },
    "Platform": C_MODULES | {"Primitives"},
    "spoked": {
        "Gateway", "Configuration", "Ingest", "Spool", "NetworkingCore", "XDS", "Policy", "HTTP2", "HPACK",
        "Platform", "Primitives",
    },
    "spokectl": {"Configuration", "Gateway", "Spool", "Platform", "Primitives"},
    "board-emulator": {"Ingest", "Platform", "Primitives"},
}

LONGEST_FILE = 400
LONGEST_FUNCTION = 70
# (file, function): its length in lines, which may only shrink.
LONG_FUNCTIONS: dict[tuple[str, str], int] = {}
# Public types and functions without a documentation comment, by target; may only shrink.
UNDOCUMENTED: dict[str, int] = {}

MOST_LINES_OF_C = 1275

TOP_LEVEL = {"Package.swift", "Sources", "Tests", "board", "systemd", "README.md"}
BANNED_WORDS = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
MACHINE_PATHS = re.compile(r"(?<![\w.}])(/work/|/tmp/wt\b|/root/\w)")


def lines_matching(pattern: re.Pattern, text: str) -> list[int]:
    return [number for number, line in enumerate(text.splitlines(), 1) if pattern.search(line)]


def offences(pattern: str, *folders: str) -> list[str]:
    """FILE:LINE of every match in code, comments and strings aside."""
    compiled = re.compile(pattern)
    return [
        f"{name(path)}:{code.count(chr(10), 0, match.start()) + 1}"
        for path in sources(*folders)
        for code in [code_only(path.read_text())]
        for match in compiled.finditer(code)
    ]


def tracked_files():
    skipped = {".git", ".venv", "__pycache__", ".pytest_cache"}
    for path in sorted(ROOT.rglob("*")):
        parts = path.relative_to(ROOT).parts
        if path.is_file() and not any(p in skipped or p.startswith(".build") for p in parts):
            yield path


def test_every_target_imports_only_what_the_architecture_allows():
    wrong = []
    targets = sorted(p.name for p in (ROOT / "Sources").iterdir())
    assert set(targets) == set(ALLOWED_IMPORTS) | C_MODULES, "a target without a rule, or a rule without one"
    for target, allowed in ALLOWED_IMPORTS.items():
        for path in sources(f"Sources/{target}"):
            code = code_only(path.read_text())
            for match in re.finditer(r"^[ \t]*(?:@\w+ +|public +|package +)*import +(?:(?:struct|enum|func|class) +)?(\w+)", code, re.M):
                if match.group(1) not in allowed:
                    wrong.append(f"{name(path)} imports {match.group(1)}")
    assert wrong == []


def test_no_file_is_longer_than_the_limit():
    long = {
        name(path): count
        for path in sources("Sources", "Tests")
        if (count := len(path.read_text().splitlines())) > LONGEST_FILE
    }
    assert long == {}


def test_no_function_is_longer_than_the_limit_except_those_that_are_shrinking():
    found = {
        (f.file, f.name): f.lines for f in all_functions() if f.lines > LONGEST_FUNCTION
    }
    assert found == LONG_FUNCTIONS


def all_functions():
    return [f for path in sources("Sources", "Tests") for f in functions(path)]


def test_the_reader_of_functions_finds_them():
    assert len(all_functions()) > 20


def test_sources_have_no_existential():
    assert offences(r"\bany\s+[A-Z(]", "Sources") == []


def test_sources_throw_typed_errors_only():
    assert offences(r"\bthrows\b(?!\s*\()|\brethrows\b", "Sources") == []


def test_no_error_is_swallowed():
    assert offences(r"\btry[?!]", "Sources") == []
    # A comment inside says why nothing is done.
    silent = [name(p) for p in sources("Sources", "Tests") if re.search(r"\bcatch\b[^{\n]*\{\s*\}", p.read_text())]
    assert silent == []


def test_sources_import_no_runtime_library():
    assert offences(r"\bimport\s+(Foundation\w*|Glibc|Musl|Dispatch|Synchronization|RegexBuilder)\b", "Sources") == []


def test_c_is_what_swift_cannot_call_and_no_more():
    """Two module maps over a library's headers, and the wrappers of CLinux, each of them short."""
    stray, lines = [], 0
    for target in C_MODULES:
        for path in (ROOT / "Sources" / target).rglob("*"):
            suffixes = {".c", ".h"} if target == "CLinux" else {".h", ".modulemap"}
            if path.is_file() and path.suffix not in suffixes | {".modulemap"}:
                stray.append(name(path))
            elif path.is_file():
                lines += len(path.read_text().splitlines())
    assert stray == []
    assert lines <= MOST_LINES_OF_C


def test_the_top_level_holds_what_the_design_names():
    entries = {p.name for p in ROOT.iterdir() if not p.name.startswith(".")}
    assert entries - {"Package.resolved"} == TOP_LEVEL


def test_documents_live_in_catalogues():
    elsewhere = {ROOT / "README.md", ROOT / "Tests" / "Benchmarks" / "RESULTS.md"}
    stray = [
        name(p) for p in tracked_files()
        if p.suffix == ".md" and p not in elsewhere
        and not any(part.endswith(".docc") for part in p.parts)
    ]
    assert stray == []


def test_no_banned_word_and_no_path_of_a_machine():
    wrong = []
    for path in tracked_files():
        if path == ROOT / "Tests/Tidy/test_sources.py":
            continue
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        for pattern in (BANNED_WORDS, MACHINE_PATHS):
            wrong += [f"{name(path)}:{line}" for line in lines_matching(pattern, text)]
    assert wrong == []


DECLARED_PUBLIC = re.compile(
    r"^\s*(?:@\w+(?:\([^)]*\))?\s+)*public\s+(?:(?:static|mutating|consuming|borrowing|nonisolated|final"
    r"|private\(set\)|internal\(set\)|package\(set\)|indirect|convenience)\s+)*"
    r"(?P<kind>func|struct|enum|class|actor|protocol|typealias)\b\s*(?P<name>[^\s(<:{]*)"
)
# What their protocol documents: operators, and the members that every conforming type has.
DOCUMENTED_ELSEWHERE = {"==", "<", "hash", "description", "RawValue", "rawValue"}


def undocumented(path) -> list[str]:
    wrong, lines = [], path.read_text().splitlines()
    for number, line in enumerate(lines):
        match = DECLARED_PUBLIC.match(line)
        if match is None or match.group("name") in DOCUMENTED_ELSEWHERE:
            continue
        above = number - 1
        while above >= 0 and lines[above].strip().startswith("@"):
            above -= 1
        if above < 0 or not lines[above].strip().startswith(("///", "*/")):
            wrong.append(f"{name(path)}:{number + 1}")
    return wrong


def test_public_types_and_functions_are_documented_except_a_number_that_shrinks():
    found, places = {}, []
    for path in sources("Sources"):
        wrong = undocumented(path)
        if wrong:
            target = path.relative_to(ROOT).parts[1]
            found[target] = found.get(target, 0) + len(wrong)
            places += wrong
    assert found == UNDOCUMENTED, "\n".join(places)


def test_every_file_of_tests_expects_something():
    empty = [
        name(p) for p in (ROOT / "Tests").rglob("*Tests.swift")
        if not re.search(r"#expect|#require|Issue\.record", p.read_text())
    ]
    empty += [
        name(p) for p in (ROOT / "Tests").rglob("test_*.py")
        if not re.search(r"\bassert\b|pytest\.raises|\.expect_", p.read_text())
    ]
    assert empty == []


def test_every_folder_of_swift_tests_is_a_test_target():
    package = (ROOT / "Package.swift").read_text()
    folders = sorted(p.name for p in (ROOT / "Tests").iterdir() if p.name.endswith("Tests"))
    assert [f for f in folders if f'"{f}"' not in package] == []
    assert folders


def test_decision_records_are_numbered_without_gaps():
    for folder in (ROOT / "Sources").rglob("Decisions"):
        numbers = sorted(int(p.name.split("-")[0]) for p in folder.glob("[0-9]*.md"))
        assert numbers == list(range(1, len(numbers) + 1)), name(folder)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ('let a = "any P" // any P', "let a ="),
        ('let a = "x \\(f("}")) any P"', "let a ="),
        ('let a = #"quote " \\( "#', "let a ="),
        ('let a = """\n  any " P\n  """', "let a ="),
        ("/* a /* b */ c */ code", "code"),
    ],
)
def test_comments_and_strings_are_not_code(text, left):
    assert code_only(text).strip() == left

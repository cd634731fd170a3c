"""Every numbered behaviour of an xDS client has a test whose name, sentence or docstring carries the number, as in
`item 17`, `test_items_45_to_48_…`, `func item21_…` or, among the tests of XDS, `@Test("31: …")`."""

import ast
import re
from pathlib import Path

import pytest
from swift_source import ROOT, sources

BEHAVIOURS = Path(__file__).parent / "behaviours.txt"
# `items 83, 86 and 87`, `item45 to item54`, `item_04_and_14`
NUMBERS = re.compile(r"\bitems? ?(\d+(?:(?: to |-|, and |, | and | )(?:items? ?)?\d+)*)")
STEP = re.compile(r"( to |-)?(?:, and |, | and | )?(?:items? ?)?(\d+)")
SWIFT_TEST = re.compile(r"@Test\b(?P<attributes>.*?)\bfunc (?P<name>\w+)", re.S)
SENTENCE = re.compile(r'"((?:[^"\\]|\\.)*)"')


def behaviours() -> dict[int, str]:
    found = {}
    for line in BEHAVIOURS.read_text().splitlines():
        if line and not line.startswith("#"):
            number, name = line.split(" ", 1)
            assert int(number) not in found, line
            found[int(number)] = name
    return found


def numbers(text: str) -> set[int]:
    """The numbers that a name or a sentence carries."""
    found: set[int] = set()
    words = re.sub(r"(item\d+)(?=[a-z])", r"\1 ", text.lower().replace("_", " "))
    for listed in NUMBERS.findall(re.sub(r"\btest (?=item)", "", words)):
        last = None
        for is_range, number in STEP.findall(listed):
            found |= set(range(last, int(number) + 1)) if is_range and last else {int(number)}
            last = int(number)
    return found


def swift_tests(text: str):
    """The name of each test, and the texts beside its `@Test`."""
    for test in SWIFT_TEST.finditer(text):
        yield " ; ".join([test["name"], *SENTENCE.findall(test["attributes"])])


def swift_tests_of_xds(text: str):
    """There a number at the start of a sentence is an item's, too."""
    return (re.sub(r"(?<= ; )(?=\d+(?:, \d+)*: )", "items ", test) for test in swift_tests(text))


def python_tests(text: str):
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            yield f"{node.name} ; {ast.get_docstring(node) or ''}"


def named() -> dict[int, list[str]]:
    """number → the tests that carry it."""
    found: dict[int, list[str]] = {}
    files = [(p, swift_tests_of_xds if p.parent.name == "XDSTests" else swift_tests) for p in sources("Tests")]
    files += [(path, python_tests) for path in sorted((ROOT / "Tests").rglob("test_*.py"))]
    for path, tests in files:
        for test in tests(path.read_text()):
            for number in numbers(test):
                found.setdefault(number, []).append(f"{path.relative_to(ROOT)}: {test[:80]}")
    return found


@pytest.mark.parametrize("text, expected", [
    ("test_item_01_the_node", {1}), ("test_items_45_to_48_the_three", {45, 46, 47, 48}), ("a sentence (item 44)", {44}),
    ("test_item_04_and_14_a_refusal_has_code_3", {4, 14}), ("test_items_83_86_and_87_weights", {83, 86, 87}),
    ("test_item45_to_item47_and_item108_requests", {45, 46, 47, 108}), ("item21_timeToLive", {21}),
    ("test_runtime_fraction_item51_and_item55", {51, 55}), ("items 59, 66: a word", {59, 66}), ("3 items", set()),
])
def test_numbers_are_found_in_names_and_sentences(text, expected):
    assert numbers(text) == expected


def test_sentences_of_swift_tests_are_found():
    text = '@Test("31, 32: a policy", arguments: [1])\n  func whole() {}\n@Test func item09_absence() {}'
    assert [numbers(test) for test in swift_tests_of_xds(text)] == [{31, 32}, {9}]


def test_every_numbered_behaviour_has_a_test_that_carries_its_number():
    listed, found = behaviours(), named()
    assert sorted(listed) == list(range(1, 78)), "the list is whole"
    missing = [f"{number} {name}" for number, name in listed.items() if number not in found]
    assert not missing, "without a test: " + "; ".join(missing)

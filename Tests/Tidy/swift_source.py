"""Just enough reading of Swift for the tidy rules: code without comments and strings, functions."""

import functools
import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def sources(*folders: str) -> list[Path]:
    return sorted(p for folder in folders for p in (ROOT / folder).rglob("*.swift"))


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


PLAIN = re.compile(r'[^/"#]+')


@functools.cache
def code_only(text: str) -> str:
    """The text with comments and the contents of string literals blanked; lines stay in place."""
    out, index, length = [], 0, len(text)

    def blank(until: int) -> None:
        nonlocal index
        out.append(re.sub(r"[^\n]", " ", text[index:until]))
        index = until

    while index < length:
        if text.startswith("//", index):
            end = text.find("\n", index)
            blank(length if end < 0 else end)
        elif text.startswith("/*", index):
            depth, at = 1, index + 2
            while at < length and depth:
                if text.startswith("/*", at):
                    depth, at = depth + 1, at + 2
                elif text.startswith("*/", at):
                    depth, at = depth - 1, at + 2
                else:
                    at += 1
            blank(at)
        elif (opening := re.compile(r'(#*)("""|")').match(text, index)) is not None:
            blank(end_of_string(text, opening.end(), opening.group(1), opening.group(2)))
        else:
            plain = PLAIN.match(text, index)
            end = plain.end() if plain else index + 1
            out.append(text[index:end])
            index = end
    return "".join(out)


def end_of_string(text: str, at: int, hashes: str, quote: str) -> int:
    """The index behind a string literal, whose interpolations may hold strings themselves."""
    while at < len(text):
        if text.startswith("\\" + hashes, at):
            at += 1 + len(hashes)
            if text.startswith("(", at):
                depth, at = 1, at + 1
                while at < len(text) and depth:
                    inner = re.compile(r'(#*)("""|")').match(text, at)
                    if inner is not None:
                        at = end_of_string(text, inner.end(), inner.group(1), inner.group(2))
                        continue
                    depth += {"(": 1, ")": -1}.get(text[at], 0)
                    at += 1
            else:
                at += 1
        elif text.startswith(quote + hashes, at):
            return at + len(quote) + len(hashes)
        elif quote == '"' and text[at] == "\n":
            return at
        else:
            at += 1
    return at


@dataclass(frozen=True)
class Function:
    file: str
    name: str
    first: int
    lines: int


DECLARATION = re.compile(r"\b(func\s+(?P<name>[^\s(<]+)|(?P<init>init)[?!]?\s*[(<]|(?P<deinit>deinit)\b)")


@functools.cache
def functions(path: Path) -> list[Function]:
    """Every function, initialiser and deinitialiser that has a body, with its length in lines."""
    text = code_only(path.read_text())
    found = []
    for match in DECLARATION.finditer(text):
        if match.group("init") and text[: match.start()].rstrip().endswith("."):
            continue
        body = body_of(text, match.end())
        if body is None:
            continue
        first = text.count("\n", 0, match.start()) + 1
        last = text.count("\n", 0, body) + 1
        title = match.group("name") or match.group("init") or "deinit"
        found.append(Function(name(path), title, first, last - first + 1))
    return found


NEXT = re.compile(r"\n\s*(func|var|let|init|case|static|mutating|@)\b")


def body_of(text: str, at: int) -> int | None:
    """The index of the brace that closes the body of the declaration before `at`, if it has one."""
    depth = 0
    if text[at - 1] in "(<":
        at -= 1
    while at < len(text):
        character = text[at]
        if character in "([":
            depth += 1
        elif character in ")]":
            depth -= 1
        elif character == "}" and depth <= 0:
            return None
        elif character == "{" and depth == 0:
            break
        elif character == "\n" and depth == 0 and NEXT.match(text, at):
            return None
        at += 1
    braces = 0
    while at < len(text):
        braces += {"{": 1, "}": -1}.get(text[at], 0)
        if braces == 0:
            return at
        at += 1
    return None

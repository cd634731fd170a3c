"""Our TOML parser against Python's tomllib: the same documents are valid, with the same values.

Where tomllib itself leaves TOML 1.0, the difference is named here:

- It reads integers of any size; TOML asks for 64 bits, and an error beyond them.
- It refuses the year 0000, which RFC 3339 has, because Python's datetime begins with the year 1.
- It keeps microseconds, we keep nanoseconds; both cut what is behind.
"""

import datetime
import itertools
import json
import math
import os
import random
import re
import struct
import subprocess
import tomllib
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
PROBE = Path(os.environ.get("SPOKE_BIN", REPO / ".build/release")) / "probe"


def ours(documents):
    """What the probe says of each document: its value, or None and the error."""
    stdin = b"".join(struct.pack(">I", len(d)) + d for d in documents)
    done = subprocess.run([PROBE, "toml-json"], input=stdin, capture_output=True, check=True)
    lines = done.stdout.decode("utf-8").split("\n")[:-1]
    assert len(lines) == len(documents)
    return [(None, line) if line.startswith("!") else (cut(json.loads(line)), None) for line in lines]


def cut(value):
    """Times to microseconds."""
    if isinstance(value, list):
        return [cut(v) for v in value]
    if is_scalar(value):
        if value["type"] in ("datetime", "datetime-local", "time-local"):
            return {**value, "value": re.sub(r"(\.\d{6})\d{3}", r"\1", value["value"])}
        return value
    return {k: cut(v) for k, v in value.items()}


def is_scalar(value):
    return set(value) == {"type", "value"} and isinstance(value["value"], str)


class TooLarge(Exception):
    """An integer beyond 64 bits."""


def tagged(value):
    """tomllib's value in the probe's form."""
    match value:
        case dict():
            return {k: tagged(v) for k, v in value.items()}
        case list():
            return [tagged(v) for v in value]
        case str():
            return {"type": "string", "value": value}
        case bool():
            return {"type": "bool", "value": "true" if value else "false"}
        case int():
            if not -(2**63) <= value < 2**63:
                raise TooLarge
            return {"type": "integer", "value": str(value)}
        case float():
            bits = "nan" if math.isnan(value) else struct.pack(">d", value).hex()
            return {"type": "float", "value": bits}
        case datetime.datetime():
            kind = "datetime-local" if value.tzinfo is None else "datetime"
            return {"type": kind, "value": value.isoformat(timespec="microseconds")}
        case datetime.date():
            return {"type": "date-local", "value": value.isoformat()}
        case datetime.time():
            return {"type": "time-local", "value": value.isoformat(timespec="microseconds")}
    raise AssertionError(type(value))


def theirs(document):
    """tomllib's reading: its value, or None and the error; the error is empty for a deviation."""
    try:
        return tagged(tomllib.loads(document.decode("utf-8"))), None
    except TooLarge:
        return None, "an integer beyond 64 bits"
    except UnicodeDecodeError as error:
        return None, str(error)
    except ValueError as error:
        year_zero = "Invalid date or datetime" in str(error) and re.search(rb"0000-\d\d-\d\d", document)
        return None, "" if year_zero else str(error)


def compare(documents):
    """Both agree on every document; answers how many of them are valid."""
    valid = 0
    for document, (mine, my_error) in zip(documents, ours(documents), strict=True):
        value, error = theirs(document)
        if error == "":
            continue
        assert (mine is None) == (value is None), f"{document!r}\nours: {my_error}\ntomllib: {error}"
        assert mine == value, f"{document!r}"
        valid += value is not None
    return valid


VALID = [
    "",
    "# only a comment",
    "\n\n\t \n",
    "a = 1 # c\r\nb = 2\r\n",
    'bare-key_1 = 1\n"quoted key" = 2\n\'literal "key"\' = 3\n"" = 4\n1234 = 5\n"\\u00e9" = 6',
    'a . b . "c.d" = 1\n3.14159 = "pi"\na.e=2',
    'x = "\\b\\t\\n\\f\\r\\"\\\\\\u00E9\\U0001F600"',
    "x = 'C:\\Users\\n'\ny = '''\n'a' ''b'''\n",
    'x = """\nRoses\r\nViolets"""\ny = """a \\\n   \n  b\\   \n"""\nz = """""a"""""\n',
    'x = """a""""\ny = """a"""""\nz = \'\'\'a\'\'\'\'\'',
    'x = """\\\n"""\ny = """\n\n"""',
    "a = +99\nb = 0\nc = -17\nd = 1_000\ne = 1_2_3\nf = -0\ng = +0",
    "a = 9223372036854775807\nb = -9223372036854775808",
    "a = 0xDEADBEEF\nb = 0xdead_beef\nc = 0o755\nd = 0b1101_0110\ne = 0x7fffffffffffffff\nf=0x00",
    "a = +1.0\nb = 3.1415\nc = -0.01\nd = 5e+22\ne = 1e06\nf = -2E-2\ng = 6.626e-34\nh = 224_617.445_991_228",
    "a = inf\nb = +inf\nc = -inf\nd = nan\ne = +nan\nf = -nan\ng = -0.0\nh = 0e0\ni=1e00",
    "a = 1979-05-27T07:32:00Z\nb = 1979-05-27T00:32:00-07:00\nc = 1979-05-27 00:32:00.999999-07:00",
    "a = 1979-05-27T07:32:00\nb = 1979-05-27t00:32:00.5z\nc = 1979-05-27\nd = 07:32:00\ne = 00:32:00.1234567890123",
    "a = 2000-02-29\nb = 2024-02-29T23:59:59+23:59\nc = 1979-05-27 # c\nd=[1979-05-27 ,1979-05-27 01:02:03]",
    "a = [ 1, 2, 3 ]\nb = [ [ 1, 2 ], ['a', \"b\"], ]\nc = [\n # c\n 1 # d\n , # e\n 2, ]\nd = []\ne=[\n]",
    "a = [1, 'x', {b = 1, c.d = 2}, [true], 1.5, 07:32:00]",
    "a = {}\nb = { }\nc = { x = 1, 'y z' = 2, p.q = 3, p.r = 4 }\nd = {e = {f = {g = 1}}}",
    "a = { x = [\n1,\n2\n], y = '''\n''' }",
    "[a]\n[a.b]\n[c.d.e]\n[c]\n[ g . h . 'i' ]\n",
    "[a.b.c]\nx = 1\n[a]\ny = 2\n[a.d]",
    "a.b = 1\na.c = 2\n[d]\ne.f = 1\ne.g = 2\n[d.e.h]",
    "[[a]]\nx = 1\n[[a]]\n[[a]]\nx = 3\n[a.b]\n[[a.c]]\n[[a.c]]\n[[a]]\n[a.b]",
    "[[a.b]]\n[a]\nc = 1",
    "[a]\n[[a.b]]\n[a.b.c]",
    "a = true\nb = false",
    "\u00e9 = 1".replace("\u00e9", '"\u00e9"') + "\n# \u4e16\u754c \U0001F600\nx = '\u4e16'",
    "x = 1.7976931348623157e308\ny = 5e-324\nz = 2.4703282292062327e-324\nw = 2.4703282292062328e-324\nv = 1e309\nu=1e-400",
    "x = 2.2250738585072011e-308\ny = 2.2250738585072014e-308\nz = 9007199254740993.0\nw = 0.1e-6",
    "x = 1.00000000000000011102230246251565404236316680908203125\n"
    "y = 1.00000000000000011102230246251565404236316680908203124\n"
    "z = 1.00000000000000011102230246251565404236316680908203126",
    "x = 0." + "0" * 400 + "123e400\ny = 1" + "0" * 900 + ".0e-890\nz = 1." + "0" * 1000 + "1",
]

INVALID = [
    "a",
    "a =",
    "= 1",
    "a = 1 b = 2",
    "a = 1\na = 2",
    "a. = 1",
    ".a = 1",
    "a..b = 1",
    "a b = 1",
    "\u00e9 = 1",
    "a = 1\ra = 2",
    "a = 1\r",
    "a = '\x00'",
    "a = \"\x1f\"",
    "# \x07",
    "# \x7f",
    "# a\rb",
    'a = "\n"',
    "a = 'x\n'",
    'a = "\\x41"',
    'a = "\\ud800"',
    'a = "\\U00110000"',
    'a = "\\u12"',
    'a = "\\ x"',
    'a = """\\ x"""',
    'a = """x',
    'a = """x""""""',
    "a = '''x''''''",
    'a = """\x0b"""',
    'a = """a\rb"""',
    '"""a""" = 1',
    "a = 01",
    "a = -01",
    "a = 1_",
    "a = _1",
    "a = 1__0",
    "a = 0x",
    "a = 0x_1",
    "a = 0x1_",
    "a = +0x1",
    "a = 0X1",
    "a = 0b2",
    "a = 0o8",
    "a = 0xg",
    "a = 1.",
    "a = .1",
    "a = 1._0",
    "a = 1_.0",
    "a = 1e",
    "a = 1e_1",
    "a = 1.e1",
    "a = 1e1.0",
    "a = 00.5",
    "a = Inf",
    "a = ++1",
    "a = 1 2",
    "a = True",
    "a = truex",
    "a = tru",
    "a = infinity",
    "a = 2021-02-29",
    "a = 1900-02-29",
    "a = 2021-13-01",
    "a = 2021-00-01",
    "a = 2021-04-31",
    "a = 2021-1-1",
    "a = 2021-01-01T24:00:00",
    "a = 2021-01-01T00:60:00",
    "a = 2021-01-01T00:00:61",
    "a = 2021-01-01T00:00",
    "a = 2021-01-01T00:00:00.",
    "a = 2021-01-01T00:00:00+24:00",
    "a = 2021-01-01T00:00:00+01",
    "a = 2021-01-01T",
    "a = 2021-01-01  00:00:00",
    "a = 07:32",
    "a = 7:32:00",
    "a = 07:32:00Z",
    "a = [1",
    "a = [1,,2]",
    "a = [,1]",
    "a = [1 2]",
    "a = [1] x",
    "a = {b = 1,}",
    "a = {b = 1",
    "a = {b = 1\n}",
    "a = {\nb = 1}",
    "a = {b = 1, b = 2}",
    "a = {b = {c = 1}, b.d = 2}",
    "a = {b.c = 1, b = 2}",
    "a = {b = 1 # c\n}",
    "a = {,}",
    "a = {b 1}",
    "a = {b = 1}\na.c = 2",
    "a = {b = 1}\n[a]",
    "a = {b = 1}\n[a.c]",
    "a = {b = {}}\n[a.b.c]",
    "a = []\n[[a]]",
    "a = [{}]\n[[a]]",
    "a = [{}]\n[a.b]",
    "[a]\n[a]",
    "[a]\nb = 1\n[a.b]",
    "[a]\nb = 1\n[a.b.c]",
    "a.b = 1\n[a]",
    "a = 1\n[a]",
    "a = 1\na.b = 2",
    "[a]\n[[a]]",
    "[[a]]\n[a]",
    "[[a.b]]\n[a.b]",
    "[a.b]\n[[a]]",
    "[[a.b]]\n[[a]]",
    "[a.b.c]\nz = 9\n[a]\nb.c.t = 1",
    "[a.b.c.d]\nz = 9\n[a]\nb.c.d.k.t = 1",
    "[a]\nb.c = 1\n[a.b]",
    "[a]\nb.c.d = 1\n[a.b.c]",
    "[[a]]\n[b]\n[[a.x]]\n[a.x]",
    "[a.b]\n[a]\nb.c = 1\n",
    "[[a.b]]\n[a]\nb.y = 2",
    "[",
    "[]",
    "[a",
    "[a.]",
    "[.a]",
    "[a] x",
    "[a]]",
    "[[a]",
    "[[a] ]",
    "[ [a]]",
    "[a\n]",
    "[a] b = 1",
    "\ufeffa = 1",
    "a = \ufeff1",
    "a = 1\u00a0",
    "a = \u201cx\u201d",
]


@pytest.mark.parametrize("text", VALID)
def test_a_valid_document_has_the_value_that_tomllib_reads(text):
    assert compare([text.encode()]) == 1


@pytest.mark.parametrize("text", INVALID)
def test_an_invalid_document_is_refused_by_both(text):
    assert compare([text.encode()]) == 0


@pytest.mark.parametrize(
    "bytes_", [b"\x80", b"\xc0\x80", b"\xc3", b"\xe0\x80\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xf8\x88\x80\x80\x80", b"\xff"]
)
@pytest.mark.parametrize("frame", [b"# %b", b"a = '%b'", b'a = """%b"""', b"%b = 1"])
def test_bytes_that_are_not_utf_8_are_refused_at_their_place(bytes_, frame):
    document = b"ok = 1\n" + frame % bytes_
    assert compare([document]) == 0
    column = frame.index(b"%") + 1
    assert ours([document])[0][1].startswith(f"! 2:{column}: invalid UTF-8")


def test_deviation_integers_beyond_64_bits_are_refused():
    for text in ("9223372036854775808", "-9223372036854775809", "0x8000000000000000", "1" + "0" * 40):
        assert isinstance(tomllib.loads("a = " + text)["a"], int)
        assert "does not fit in 64 bits" in ours([b"a = " + text.encode()])[0][1]


def test_deviation_the_year_0000_is_a_year():
    assert ours([b"a = 0000-01-01"])[0][0] == {"a": {"type": "date-local", "value": "0000-01-01"}}


def test_nanoseconds_are_kept_and_what_is_behind_them_is_cut():
    stdin = b"a = 01:02:03.1234567899"
    done = subprocess.run(
        [PROBE, "toml-json"], input=struct.pack(">I", len(stdin)) + stdin, capture_output=True, check=True
    )
    assert b'"01:02:03.123456789"' in done.stdout


# Every order of up to three statements that define, extend and redefine the same few tables.
STATEMENTS = [
    "[a]", "[a.b]", "[a.b.c]", "[[a]]", "[[a.b]]", "[[a.b.c]]", "[b]",
    "a = 1", "a.b = 1", "a.c = 1", "a.b.c = 1", "b = 1", "b.c = 1", "b.d = 1", "b.c.d = 1", "c = 1",
    "a = {}", "a = {b.c = 1}", "b = {}", "b = []", "a = [{}]",
]  # fmt: skip


@pytest.mark.parametrize("length", [1, 2, 3])
def test_every_order_of_definitions_is_judged_as_tomllib_does(length):
    documents = ["\n".join(s).encode() for s in itertools.product(STATEMENTS, repeat=length)]
    valid = compare(documents)
    assert 0 < valid <= len(documents)


@pytest.mark.parametrize("seed", range(4))
def test_longer_sequences_of_definitions_are_judged_as_tomllib_does(seed):
    rng = random.Random(seed)
    documents = []
    for _ in range(1500):
        statements = []
        for _ in range(rng.randint(4, 8)):
            statement = rng.choice(STATEMENTS)
            # Few documents of many statements are valid; keep what is valid so far.
            candidate = "\n".join([*statements, statement])
            if rng.random() < 0.2 or theirs(candidate.encode())[0] is not None:
                statements.append(statement)
        documents.append("\n".join(statements).encode())
    assert compare(documents) > 100


class Generator:
    """Documents of every construct in every notation."""

    def __init__(self, seed):
        self.rng = random.Random(seed)

    def pick(self, *choices):
        return self.rng.choice(choices)

    def blank(self):
        return self.pick("", "", "", " ", "\t", "  ")

    def newline(self):
        return self.pick("\n", "\n", "\n", "\r\n")

    def comment(self):
        return self.pick("", "", "", "# c", "#\t\u00e9 \U0001F600 [x] = 1", "#")

    def bare(self):
        return "".join(self.rng.choices("abcxyz019-_", k=self.rng.randint(1, 4)))

    def key_part(self):
        return self.pick(self.bare, self.bare, self.bare, self.basic, self.literal)()

    def key(self):
        parts = [self.key_part() for _ in range(self.pick(1, 1, 1, 2, 3))]
        return (self.blank() + "." + self.blank()).join(parts)

    def characters(self, alphabet):
        return "".join(self.rng.choices(alphabet, k=self.rng.randint(0, 8)))

    def basic(self):
        return '"' + self.characters(
            ["a", "B", " ", "'", "#", "\u00e9", "\u4e16", "\U0001F600", "\t", "\\n", '\\"', "\\\\", "\\u00e9", "\\U0001F600", "\\b"]
        ) + '"'  # fmt: skip

    def literal(self):
        return "'" + self.characters(["a", "B", " ", '"', "\\", "#", "\u00e9", "\t"]) + "'"

    def multiline_basic(self):
        body = self.characters(["a", " ", '"', "'", "\n", "\r\n", "\\\n  ", "\\  \n\n ", "\\t", "\\\\", "\u4e16", "]"])
        body = re.sub('"{3,}', '"', body)
        return '"""' + self.pick("", "\n", "\r\n") + body.rstrip('"') + self.pick("", '\\"') + '"""'

    def multiline_literal(self):
        body = re.sub("'{2,}", "'", self.characters(["a", " ", '"', "'", "\n", "\r\n", "\\", "\u4e16", "#"]))
        return "'''" + self.pick("", "\n") + body.rstrip("'") + self.pick("", "'", "''") + "'''"

    def digits(self, most=12):
        text = "".join(self.rng.choices("0123456789", k=self.rng.randint(1, most)))
        return self.pick(text, text, "_".join(text))

    def decimal(self):
        digits = self.digits()
        return self.pick("", "+", "-") + ("0" if digits[0] == "0" else digits)

    def integer(self):
        return self.pick(
            self.decimal(),
            str(self.rng.randint(-(2**63), 2**63 - 1)),
            self.pick(hex, oct, bin)(self.rng.randint(0, 2**63 - 1)),
            "0x" + "_".join(self.pick("aB", "09", "F") for _ in range(3)),
        )

    def float(self):
        fraction = "." + self.digits(24)
        exponent = self.pick("e", "E") + self.pick("", "+", "-") + str(self.rng.randint(0, 330))
        bits = struct.unpack(">d", self.rng.randbytes(8))[0]
        return self.pick(
            self.decimal() + fraction,
            self.decimal() + exponent,
            self.decimal() + fraction + exponent,
            repr(bits) if math.isfinite(bits) else self.pick("inf", "-inf", "nan"),
            self.halfway(),
        )

    def halfway(self):
        """A decimal exactly between two doubles, or a hair beside it."""
        exponent = self.rng.randint(-60, 60)
        mantissa = self.rng.getrandbits(52) | 1 << 52
        numerator = (2 * mantissa + 1) << max(exponent, 0)
        scale = max(-exponent, 0)
        digits = numerator * 5**scale
        text = f"{digits}{self.pick('', '', '0001')}"
        shift = len(text) - len(str(digits))
        return f"{text}e-{scale + shift}"

    def date(self):
        rng = self.rng
        return f"{rng.randint(1, 9999):04}-{rng.randint(1, 12):02}-{rng.randint(1, 29):02}"

    def time(self):
        rng = self.rng
        fraction = self.pick("", "", "." + "".join(rng.choices("0123456789", k=rng.randint(1, 10))))
        return f"{rng.randint(0, 23):02}:{rng.randint(0, 59):02}:{rng.randint(0, 59):02}{fraction}"

    def date_time(self):
        offset = self.pick("", "Z", "z", "+01:30", "-23:59", "+00:00")
        return self.pick(self.date(), self.time(), self.date() + self.pick("T", "t", " ") + self.time() + offset)

    def filler(self):
        return self.pick("", "", " ", self.newline(), self.comment() + self.newline())

    def array(self, depth):
        items = [self.filler() + self.value(depth + 1) + self.filler() for _ in range(self.rng.randint(0, 4))]
        tail = self.pick("", ",") if items else ""
        return "[" + ",".join(items) + tail + self.filler() + "]"

    def inline(self, depth):
        pairs = [
            self.blank() + self.key() + self.blank() + "=" + self.blank() + self.value(depth + 1) + self.blank()
            for _ in range(self.rng.randint(0, 3))
        ]
        return "{" + ",".join(pairs) + "}"

    def value(self, depth=0):
        kinds = [
            self.basic, self.literal, self.multiline_basic, self.multiline_literal, self.integer, self.integer,
            self.float, self.float, self.date_time, lambda: self.pick("true", "false", "inf", "-nan"),
        ]  # fmt: skip
        if depth < 3:
            kinds += [lambda: self.array(depth), lambda: self.inline(depth)]
        return self.rng.choice(kinds)()

    def statement(self):
        blank = self.blank
        header = self.key()
        return blank() + self.pick(
            "",
            f"[{blank()}{header}{blank()}]",
            f"[[{blank()}{header}{blank()}]]",
            *[self.key() + blank() + "=" + blank() + self.value() for _ in range(4)],
        ) + blank() + self.comment()  # fmt: skip

    def document(self):
        lines = [self.statement() for _ in range(self.rng.randint(1, 8))]
        return "".join(line + self.newline() for line in lines)

    def mutate(self, text):
        for _ in range(self.rng.randint(1, 3)):
            at = self.rng.randint(0, len(text))
            end = min(len(text), at + self.rng.randint(1, 4))
            token = self.pick(
                *'"\'=[]{},.#\\_-+:eE0x1aZT \t\n\r\x00\x7f', '"""', "'''", "[[", "]]", "\\u", "\u00e9", "\ufeff", "\u0085"
            )
            text = self.pick(
                text[:at] + token + text[at:],
                text[:at] + text[end:],
                text[:at] + text[at:end] * 2 + text[end:],
                text[:at] + token + text[end:],
                text[:at],
            )
        return text


@pytest.mark.parametrize("seed", range(8))
def test_generated_documents_have_the_values_that_tomllib_reads(seed):
    generator = Generator(seed)
    documents = [generator.document().encode() for _ in range(500)]
    assert compare(documents) > 200


@pytest.mark.parametrize("seed", range(8))
def test_mutated_documents_are_valid_for_both_or_for_none(seed):
    generator = Generator(1000 + seed)
    documents = [generator.mutate(generator.document()).encode() for _ in range(750)]
    valid = compare(documents)
    assert 20 < valid < len(documents) - 200


@pytest.mark.parametrize("seed", range(2))
def test_random_doubles_come_back_bit_for_bit(seed):
    generator = Generator(2000 + seed)
    documents = [f"a = {generator.float()}\nb = {generator.halfway()}".encode() for _ in range(2000)]
    assert compare(documents) > 1500

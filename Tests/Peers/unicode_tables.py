"""Writes Sources/Policy/Regex/UnicodeTables.swift: general categories and case folding, as google-re2 has
them, in the run-length text that UnicodeClass.swift and CaseFolding.swift read. Run it when RE2 moves to
another version of Unicode."""

import itertools
import textwrap
from pathlib import Path

import re2

# A letter for each category; the digits of lengths are hexadecimal.
CATEGORIES = "Cc Cf Co Cs Ll Lm Lo Lt Lu Mc Me Mn Nd Nl No Pc Pd Pe Pf Pi Po Ps Sc Sk Sm So Zl Zp Zs".split()
LETTERS = "GHIJKLMNOPQRSTUVWXYZghijklmno"
UNASSIGNED = "p"
TARGET = Path(__file__).resolve().parents[2] / "Sources/Policy/Regex/UnicodeTables.swift"


def options():
    options = re2.Options()
    options.log_errors = False
    options.max_mem = 64 << 20
    return options


def code_points():
    # Surrogates are no text; RE2 has them as Cs.
    return itertools.chain(range(0xD800), range(0xE000, 0x110000))


def categories():
    letters = [UNASSIGNED] * 0x110000
    for code in range(0xD800, 0xE000):
        letters[code] = LETTERS[CATEGORIES.index("Cs")]
    text = "".join(map(chr, code_points()))
    for category, letter in zip(CATEGORIES, LETTERS):
        for match in re2.compile(r"\p{" + category + "}", options()).finditer(text):
            letters[ord(match.group())] = letter
    return "".join(
        (f"{count:x}" if count > 1 else "") + letter
        for letter, run in itertools.groupby(letters)
        for count in [len(list(run))]
    )


def orbits():
    """Each code point that has others that differ from it in case alone, with these others."""
    cased = [
        chr(code) for code in code_points()
        if len({chr(code), chr(code).lower(), chr(code).upper(), chr(code).title(), chr(code).casefold()}) > 1
    ]
    text = "".join(cased)
    for char in cased:
        found = {m.group() for m in re2.compile(f"(?i)[{re2.escape(char)}]", options()).finditer(text)}
        for other in sorted(found - {char}):
            yield ord(char), ord(other) - ord(char)


def folding():
    """Runs of code points with one distance, one or two apart: `START COUNT STEP DISTANCE`, the start as
    the distance from that of the run before."""
    runs = []
    for distance, group in itertools.groupby(sorted(orbits(), key=lambda pair: (pair[1], pair[0])), key=lambda pair: pair[1]):
        codes = [code for code, _ in group]
        while codes:
            step = codes[1] - codes[0] if len(codes) > 1 and codes[1] - codes[0] <= 2 else 1
            count = 1
            while count < len(codes) and codes[count] == codes[0] + count * step:
                count += 1
            runs.append((codes[0], count, step, distance))
            codes = codes[count:]
    words, last = [], 0
    for start, count, step, distance in sorted(runs):
        sign = "-" if distance < 0 else "+"
        words.append(f"{start - last:x}{'.:'[step - 1]}{count:x}{sign}{abs(distance):x}")
        last = start
    return ";".join(words) + ";"


def literal(name: str, comment: str, text: str) -> str:
    lines = " \\\n".join("    " + line for line in textwrap.wrap(text, 92, break_on_hyphens=False))
    lines = lines.replace(" \\\n", "\\\n")
    return f'  /// {comment}\n  static let {name}: StaticString = """\n{lines}\n    """\n'


def main():
    TARGET.write_text(
        "// Written by Tests/Peers/unicode_tables.py. Each line goes on in the next one.\n\n"
        "/// What Unicode says of code points, as RE2 has it.\nenum UnicodeTables {\n"
        + literal("categories", "Runs of one general category, as `UnicodeClass` reads them.", categories())
        + "\n"
        + literal("folding", "Runs of letters with another case, as `CaseFolding` reads them.", folding())
        + "}\n"
    )


if __name__ == "__main__":
    main()

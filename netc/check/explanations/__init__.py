"""Every error code: what it is about, why it comes up and what to do. A Markdown file for each section.

    explain("S201") -> Explanation        section("S") -> Section        titles() -> {"S201": "a field that …"}

A file begins with `# Title` and a paragraph about the section. `## CODE: title` begins an explanation. Blocks fenced as
```` ```prototxt net.prototxt ```` are files of an example; the last is the one that `netc check` gives the code on. A
code is for ever: it is never given to another error. Tests hold that the codes here are those that the sources use, and
that each example gives its code.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from netc.errors import nearest

FOLDER = Path(__file__).parent
_FENCE = re.compile(r"^```prototxt (\S+)\n(.*?)^```\n?", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Explanation:
    """`title`: what the code is about, in a line. `text`: paragraphs, filled lines. `files`: name → text of the
    example, empty where there is none."""

    code: str
    title: str
    text: str
    files: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Section:
    letter: str
    title: str
    text: str
    codes: dict[str, Explanation]


def sections() -> str:
    """The letters of all sections, in the order of the stages."""
    there = {path.stem for path in FOLDER.glob("?.md")}
    return "".join(letter for letter in "PSUGLDRWFOXCA" if letter in there)


def section(letter: str) -> Section:
    """One section; KeyError where there is none of that letter."""
    if letter not in sections():
        raise KeyError(letter)
    head, *parts = re.split(r"^## ", (FOLDER / f"{letter}.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    title, _, text = head.removeprefix("# ").partition("\n")
    return Section(letter, title.strip(), text.strip(), {one.code: one for one in map(_explanation, parts)})


def _explanation(part: str) -> Explanation:
    heading, _, body = part.partition("\n")
    code, _, title = heading.partition(": ")
    files = {match[1]: match[2] for match in _FENCE.finditer(body)}
    return Explanation(code, title, _FENCE.sub("", body).strip(), files)


@cache
def titles() -> dict[str, str]:
    """Code → what it is about, of all codes."""
    return {code: one.title for letter in sections() for code, one in section(letter).codes.items()}


def explain(code: str) -> Explanation:
    """The explanation of a code; KeyError where there is none."""
    return section(code[:1]).codes[code]


def near_codes(word: str) -> list[str]:
    """Codes with the same digits (an O for a 0, no letter, another letter), then those of the letter with near
    numbers, then those spelt alike."""
    digits = word[0].replace("O", "0") + word[1:].replace("O", "0") if word else ""
    digits = digits if digits[:1].isdecimal() else digits[1:]
    number = "".join(letter for letter in digits if letter in "0123456789")[:6]
    codes = titles()
    same = [code for code in codes if code[1:] == number]
    mine = [code for code in codes if code[:1] == word[:1] and number]
    mine.sort(key=lambda code: abs(int(code[1:]) - int(number)))
    return list(dict.fromkeys([*same, *mine, *nearest(word, codes, 3)]))[:3]

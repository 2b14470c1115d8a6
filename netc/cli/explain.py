"""`netc explain`: what a code means, why it comes up, and what to do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from netc.cli._options import json_option, json_text
from netc.errors import NetcError, counted

if TYPE_CHECKING:
    from netc.check.explanations import Explanation, Section

CODE = re.compile(r"[A-Z][0-9]{3}")


@click.command("explain")
@click.argument("code", required=False, metavar="[CODE]")
@json_option
def command(code: str | None, as_json: bool) -> None:
    """Explain an error or warning: what it means, why it comes up, and what to do, with an example.

    CODE stands in brackets in the message, as in error[S201]. A letter alone lists the codes of its section; without an
    argument, the sections are listed.
    """
    text, found = _sections() if code is None else _answer(code.strip())
    click.echo(json_text(found, ascii=False) if as_json else "\n".join(text))


def _answer(word: str) -> tuple[list[str], Any]:
    from netc.check.explanations import explain, section, sections, titles

    letter = word.upper()
    if len(letter) == 1 and letter in sections():
        one = section(letter)
        return list(_section_lines(one)), {code: found.title for code, found in one.codes.items()}
    match = CODE.search(letter)
    if match is None or match[0] not in titles():
        raise _unknown(match[0] if match else word)
    return _code(explain(match[0]))


def _unknown(word: str) -> NetcError:
    from netc.check.explanations import near_codes, titles

    near = near_codes(word.upper())
    listed = ", ".join(f"{code} ({titles()[code]})" for code in near)
    hint = f"near it: {listed}" if near else "netc explain lists the sections"
    return NetcError("C151", f'there is no code "{word}"', None, hint)


# -- what is said ------------------------------------------------------------------------------------------------------


def _sections() -> tuple[list[str], Any]:
    from netc.check.explanations import section, sections

    all_of_them = [section(letter) for letter in sections()]
    lines = [f"  {one.letter}  {one.title:34} {counted(len(one.codes), 'code')}" for one in all_of_them]
    found = {one.letter: {"title": one.title, "codes": list(one.codes)} for one in all_of_them}
    foot = ["", "netc explain S lists the codes of a section, netc explain S201 explains one."]
    return ["The letter of a code is the stage that found it:", "", *lines, *foot], found


def _section_lines(one: Section) -> Iterator[str]:
    yield f"{one.letter}: {one.title}"
    yield from ("", one.text, "") if one.text else ("",)
    yield from (f"  {code}  {found.title}" for code, found in one.codes.items())


def _code(one: Explanation) -> tuple[list[str], Any]:
    from netc.check.explanations.provoke import provoke

    message = provoke(one)
    lines = [f"{one.code}: {one.title}", "", one.text]
    for name, text in one.files.items():
        lines += ["", f"For example, in {name}:" if len(one.files) == 1 else f"{name}:", ""]
        lines += [f"    {line}" for line in text.rstrip().split("\n")]
    if message:
        lines += ["", "gives:", "", *(f"    {line}" for line in message.split("\n"))]
    found = {"code": one.code, "title": one.title, "text": one.text, "example": one.files, "message": message}
    return lines, found

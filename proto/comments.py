"""Reads the comments out of a .proto file, for the documentation and `netc explain`.

Only what caffe.proto uses is understood: one declaration a line, and its comment in `//` lines right above it or
after it on the same line. A blank line cuts a comment off from what follows, so headings belong to nothing.
"""

from __future__ import annotations

import re

_OPENING = re.compile(r"(?:message|enum)\s+(\w+)\s*\{")
_FIELD = re.compile(r"(?:optional|required|repeated)\s+[\w.]+\s+(\w+)\s*=")
_VALUE = re.compile(r"(\w+)\s*=\s*-?\w+\s*[;\[]")
_TRAILING = re.compile(r"((?:[^\"/]|\"[^\"]*\"|/(?!/))*)//\s*(.*)$")


def read_comments(text: str) -> dict[str, str]:
    """Every declared name, as in "Message.field" or "Message.Enum.VALUE", with its comment on one line ("" if none)."""
    found: dict[str, str] = {}
    scope: list[str] = []
    above: list[str] = []
    for line in map(str.strip, text.splitlines()):
        if line.startswith("//"):
            above.append(line.lstrip("/").strip())
            continue
        code, after = _split(line)
        if name := _declared(code, inside=bool(scope)):
            found[".".join([*scope, name])] = " ".join([*above, *after])
            if _OPENING.match(code):
                scope.append(name)
        if code.endswith("}"):
            scope.pop()
        above = []
    return found


def _split(line: str) -> tuple[str, list[str]]:
    """A line's code, and its trailing comment if it has one; a `//` inside quotes is not a comment."""
    match = _TRAILING.match(line)
    return (match[1].strip(), [match[2]]) if match else (line, [])


def _declared(code: str, inside: bool) -> str | None:
    """The name that a line declares, if it declares one."""
    match = _OPENING.match(code) or (_FIELD.match(code) or _VALUE.match(code) if inside else None)
    return match[1] if match else None

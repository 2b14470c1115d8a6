"""The message that an explanation's example gives, worked out by checking it, so that it is the one that netc gives."""

from __future__ import annotations

import tempfile
from pathlib import Path

from netc.check.advice import Advice
from netc.check.examine import check
from netc.check.explanations import Explanation
from netc.errors import NetcError, printable


def provoke(one: Explanation) -> str | None:
    """The message that the example gives, worked out by checking it; None where there is no example."""
    if not one.files:
        return None
    with tempfile.TemporaryDirectory(prefix="netc-explain-") as folder:
        for name, text in one.files.items():
            (Path(folder) / name).write_text(text, encoding="utf-8")
        report = check(Path(folder) / list(one.files)[-1])
    remarks: list[NetcError | Advice] = [*report.errors, *report.advice]
    said = next((str(remark) for remark in remarks if remark.code == one.code), None)
    return _as_above(said, folder) if said else None


def _as_above(text: str, folder: str) -> str:
    """The message with the example's file named as it is above."""
    return "\n".join(printable(line) for line in text.replace(f"{folder}/", "").split("\n"))

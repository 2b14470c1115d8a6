"""What `netc reproduce` says: the paper's figures beside the measured ones, as JSON and as a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from netc.errors import counted, printable
from netc.errors.words import table
from netc.runtime.reproduce import findings
from netc.runtime.reproduce.deviations import MINIATURE, listed
from netc.solver.tables import Table

FORMAT, VERSION = "netc reproduction", 1

WORDS = {
    "top1_error": "top-1 error",
    "top5_error": "top-5 error",
    "top5_error_test": "top-5 error (test)",
    "box_error": "box error",
    "top5_box_error": "top-5 box error",
    "top5_box_error_test": "top-5 box error (test)",
    "mean_ap": "mean AP",
    "mean_recall": "mean recall",
}
"""Measure → what it is called, all of them in per cent."""


def document(
    measured: Sequence[tuple[Table, Mapping[str, Any]]], data: str | None, order: str, miniature: Sequence[str] = ()
) -> dict[str, Any]:
    """All that was found. miniature: what makes the results those of one, or nothing."""
    tables = [
        {
            "table": given.name,
            "title": given.title,
            "deviations": listed(given.deviations),
            **found,
        }
        for given, found in measured
    ]
    about = {"format": FORMAT, "version": VERSION, "miniature": list(miniature), "data": data, "order": order}
    whole = {**about, "tables": tables}
    return {**whole, "findings": findings.findings(whole)}


def of_miniature(data: str, iterations: int) -> list[str]:
    """What makes it one."""
    pictures = f"the photos of {data}" if data else "the demonstration's drawn pictures"
    return [*MINIATURE, f"pictures: {pictures}; {counted(iterations, 'iteration')} for a net's first training"]


def measured_rows(found: Mapping[str, Any]) -> int:
    """How many rows have a figure of our own."""
    rows = [row for each in found["tables"] for row in each["rows"]]
    return sum(any(one["measured"] is not None for one in row["figures"]) for row in rows)


def lines(found: Mapping[str, Any]) -> Iterator[str]:
    """The same for people."""
    if found["miniature"]:
        yield "MINIATURE: small nets; the paper's figures are of its own nets on ILSVRC-2012"
        yield from (f"  {printable(one)}" for one in found["miniature"])
        yield ""
    for each in found["tables"]:
        yield from _table(each)
        yield ""
    if found["findings"]:
        yield from findings.lines(found["findings"])


def _table(each: Mapping[str, Any]) -> Iterator[str]:
    yield printable(f"{each['table']}: {each['title']} (in per cent, with 95 % intervals)")
    measures = list(dict.fromkeys(one["measure"] for row in each["rows"] for one in row["figures"]))
    head = ["row"]
    for measure in measures:
        head += [WORDS[measure], "measured", "95 %"]
    rows = [
        [printable(row["name"]), *(cell for measure in measures for cell in _cells(row, measure))]
        for row in each["rows"]
    ]
    yield from (f"  {line}" for line in table(head, rows, range(1, len(head))))
    for row in each["rows"]:
        yield from (f"  {printable(line)}" for line in _notes(row))
    yield from (f"  {printable(one['number'])}: {one['text']}" for one in each["deviations"])


def _cells(row: Mapping[str, Any], measure: str) -> list[str]:
    one = next((one for one in row["figures"] if one["measure"] == measure), None)
    if one is None:
        return ["", "", ""]
    sign = "+" if row["above"] else ""
    paper = "" if one["paper"] is None else f"{one['paper']:{sign}.1f}"
    paper += f" ± {one['spread']:.1f}" if one["spread"] is not None else ""
    if one["measured"] is None:
        return [paper, "-", ""]
    return [paper, *measured_cells(one, sign)]


def measured_cells(one: Mapping[str, Any], sign: str = "") -> tuple[str, str]:
    """A measured figure, with the deviation of its splits, and its interval."""
    spread = "" if one.get("deviation") is None else f" ± {one['deviation']:.2f}"
    ends = one["interval"]
    interval = f"{ends[0]:{sign}.2f} to {ends[1]:{sign}.2f}" if ends else ""
    return f"{one['measured']:{sign}.2f}{spread}", interval


def not_measured(row: Mapping[str, Any]) -> list[str]:
    """Why a row is not measured, all reasons."""
    lacking = f"these weights are not there: {', '.join(row['missing'])}"
    return [*([lacking] if row["missing"] else []), *([row["why"]] if row["why"] else [])]


def _notes(row: Mapping[str, Any]) -> Iterator[str]:
    if reasons := not_measured(row):
        yield f"not measured: {row['name']}: {'; '.join(reasons)}"
    if row.get("note"):
        yield f"{row['name']}: {row['note']}"
    if row["above"]:
        tests = [one for one in row["figures"] if one["p"] is not None]
        more = "".join(f"; McNemar's p of the {WORDS[one['measure']]} {one['p']:.3g}" for one in tests)
        yield f'{row["name"]}: how much higher than "{row["above"]}", in points{more}'
    for note in dict.fromkeys(one["note"] for one in row["figures"] if one["note"]):
        which = ", ".join(WORDS[one["measure"]] for one in row["figures"] if one["note"] == note)
        yield f"{row['name']}: {which}: {note}"

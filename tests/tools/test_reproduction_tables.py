"""The Markdown of two miniatures side by side."""

from __future__ import annotations

from tests.runtime.reproduce.test_findings import whole
from tools.reproduction_tables import findings, tables


def result(wrong: int):
    """Table 5 with so many pictures of 1,000 wrong by each row, the first ones."""
    found = whole({("table5", "E, dense"): list(range(wrong))}, ("table5",))
    for row in found["tables"][0]["rows"]:
        for one in row["figures"]:
            count = len(row["wrong"][one["measure"]])
            one |= {"measured": count / 10, "interval": [count / 10 - 0.5, count / 10 + 0.5]}
    return found


def test_tables_and_findings_of_two_runs() -> None:
    runs = {"drawn": result(20), "photos": result(0)}
    lines = list(tables(runs))
    rows = [line.split(" | ") for line in lines if line.startswith("|")]
    assert len({len(row) for row in rows}) == 1
    (dense,) = [row for row in rows if row[0] == "| E, dense"]
    assert dense[1:4] == ["24.8", "2.0 (1.5 to 2.5)", "0.0 (-0.5 to 0.5)"]
    assert lines[0].startswith("**Table 5**")
    said = list(findings(runs))
    (crops,) = [line for line in said if "E: crops are better than dense" in line]
    assert crops.count("| seen |") == crops.count("| cannot tell |") == 1
    assert "-2.0 (" in crops
    assert said[-2:] == ["* drawn: 2 seen, 4 cannot tell.", "* photos: 6 cannot tell."]

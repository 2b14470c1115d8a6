"""What the paper found: the claims against the paper's own figures, and verdicts on pictures that are known."""

from __future__ import annotations

import json

import pytest

from netc.files.shipped import FOLDER
from netc.graph.read import open_file
from netc.runtime.reproduce.findings import CLAIMS, NO_FEWER, lines
from netc.runtime.reproduce.result import document
from netc.solver.tables import read_table

TABLES = ("table3", "table4", "table5", "table6", "table8", "table9")


def measured(table, wrong=None):
    """The rows of a table as if they were measured: `wrong` has the pictures (of 1,000) of a row that is not all
    right."""
    rows = []
    for row in table.rows:
        figures = [{"measure": one.measure, "paper": one.value} for one in row.paper] or [
            {"measure": "top1_error", "paper": None}
        ]
        own = {one["measure"]: (wrong or {}).get((table.name, row.name), []) for one in figures}
        rows.append({"name": row.name, "figures": figures, "above": row.above or None, "images": 1000, "wrong": own})
        rows[-1] |= {"left_out": []}
    return table, {"rows": rows}


def whole(wrong=None, names=TABLES):
    tables = [read_table(open_file(FOLDER / "paper" / f"{name}.prototxt")) for name in names]
    return document([measured(one, wrong) for one in tables], "photos", "scores")


def test_the_claims_are_true_of_the_papers_figures() -> None:
    found = whole()["findings"]
    assert len(found) == len(CLAIMS) == len({(one.first, one.second) for one in CLAIMS})
    for one in found:
        assert one["paper"] is not None, one["says"]
        assert (one["paper"] < 0) == (one["expects"] != NO_FEWER), one
    assert {one["says"]: one["paper"] for one in found}["B is better than a shallow net of 5×5 layers"] == -7
    about = ["normalisation", "depth", "5×5", "jitter in training", "scales in testing", "crops", "fusion", "boxes"]
    assert list(dict.fromkeys(one["about"] for one in found)) == about


A, LRN, E = ("table3", "A, S = 256"), ("table3", "A-LRN, S = 256"), ("table3", "E, S = 256")


@pytest.mark.parametrize(
    "first, second, verdict",
    [
        (range(100), range(10, 130), "seen"),  # 10 against 30
        (range(10, 130), range(100), "contradicted"),
        (range(100), range(10, 115), "cannot tell"),  # 10 against 15: p = 0.42
        (range(5), (), "cannot tell"),
        (range(6), (), "contradicted"),  # 2 / 2 ** 6 < 0.05
        ((), (), "cannot tell"),
    ],
)
def test_a_gain(first, second, verdict: str) -> None:
    found = {one["says"]: one for one in whole({E: list(first), A: list(second)})["findings"]}
    one = found["E (19 layers) is better than A (11)"]
    assert one["verdict"] == verdict
    assert one["measured"] == pytest.approx((len(first) - len(second)) / 10)
    assert one["interval"][0] <= one["measured"] <= one["interval"][1]
    assert one["paper"] == pytest.approx(27.3 - 29.6)


@pytest.mark.parametrize(
    "first, second, verdict",
    [
        (range(100), range(100), "seen"),  # equal on 1,000 pictures: no gain of a point
        (range(30), range(20), "seen"),  # significantly worse
        (range(20), range(30), "contradicted"),
        (range(100), range(50, 150), "cannot tell"),  # 50 against 50 leaves room for two points
    ],
)
def test_no_gain(first, second, verdict: str) -> None:
    found = whole({LRN: list(first), A: list(second)})["findings"]
    assert found[0]["says"] == "A-LRN is no better than A"
    assert found[0]["verdict"] == verdict


def test_rows_of_other_pictures_are_not_compared() -> None:
    given, rows = measured(read_table(open_file(FOLDER / "paper" / "table5.prototxt")))
    rows["rows"][0]["left_out"] = [3]  # D, dense
    rows["rows"][4]["wrong"] = {}  # E, multi-crop
    del rows["rows"][5]["wrong"]  # E, both
    found = document([(given, rows)], "photos", "scores")["findings"]
    compared = {one["first"] + " < " + one["second"] for one in found if one["verdict"] != "not measured"}
    assert len(found) == 6
    assert compared == {"table5, D, multi-crop & dense < table5, D, multi-crop"}
    assert all(one["measured"] is None for one in found if one["verdict"] == "not measured")


def test_only_what_the_tables_have_is_said() -> None:
    assert [one["about"] for one in whole(names=("table8",))["findings"]] == ["boxes"] * 2
    text = "\n".join(lines(whole()["findings"]))
    assert "LRN" in text
    assert "one in twenty" in text
    json.dumps(whole())

"""The paper's tables as files: every figure is that of the paper's text, and every row names what there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import netc
from netc.errors import NetcError
from netc.files.shipped import tables
from netc.graph.read import open_file
from netc.prototxt import Source
from netc.prototxt.rewrite import formatted
from netc.solver.tables import read_table, steps_of
from tests.models.nets import FOLDER

TABLES = ["table3", "table4", "table5", "table6", "table8", "table9", "table11", "table12"]


def table(name):
    return read_table(open_file(FOLDER / "paper" / f"{name}.prototxt"))


def figures(name):
    return [[(one.value, one.spread) for one in row.paper] for row in table(name).rows]


@pytest.fixture(scope="module")
def paper(shared: Path) -> str:
    return (shared / "paper.txt").read_text(encoding="utf-8")


def after(text: str, start: str, end: str) -> str:
    assert text.count(start) == 1, start
    return text.partition(start)[2].partition(end)[0]


def columns(part: str, pattern: str) -> list[list[float]]:
    """The numbers that a pattern finds in each line that it fits; "-" stands for none."""
    lines = [match.groups() for match in re.finditer(pattern, part, re.MULTILINE)]
    return [[float(number) for number in found if number != "-"] for found in lines]


def plain(name: str) -> list[list[float]]:
    return [[value for value, _ in row] for row in figures(name)]


def test_the_files_are_those_of_the_paper() -> None:
    assert tables() == TABLES
    assert [table(name).name for name in TABLES] == TABLES


@pytest.mark.parametrize("name", TABLES)
def test_check_and_fmt_read_them(name: str) -> None:
    report = netc.check(name)
    assert (report.kind, report.errors, len(report.rows)) == ("table", [], len(table(name).rows))
    source = Source.read(FOLDER / "paper" / f"{name}.prototxt")
    assert formatted(source) == source.text


def test_table_3(paper: str) -> None:
    """The text is a scan, its cells in any order, and E/256's top-5 error lost its point ("90"): all of its figures,
    and of some rows which are theirs (shared/paper.md, 18)."""
    head = "ConvNet config. (Table 1) smallest image side top-1 val. error (%) top-5 val. error (%) train"
    printed = sorted(float(number) for number in re.findall(r"\d+\.\d|\b90\b", after(paper, head, "Table 3:")))
    rows = plain("table3")
    assert rows[9] == [27.3, 9.0]
    rows[9] = [27.3, 90.0]
    assert sorted(value for pair in rows[:12] for value in pair) == printed
    by_name = {row.name: [one.value for one in row.paper] for row in table("table3").rows}
    assert by_name["A, S = 256"] == [29.6, 10.4]
    assert by_name["C, S = 384"] == [28.1, 9.3]
    assert by_name["D, S = [256; 512]"] == [25.6, 8.1]
    assert "The top-1 error of the shallow net was measured to be 7% higher than that of B (on a center crop)" in paper
    shallow = table("table3").rows[-1]
    assert (rows[-2:], shallow.above, shallow.view) == ([[], [7.0]], "B, centre crop", "centre")


def test_tables_4_and_5(paper: str) -> None:
    part = after(paper, "Table 4: ConvNet performance at multiple test scales.", "4.3 MULTI-CROP")
    found = re.findall(r"^\S*\t(\d+|\[\d+; \d+\])\t([\d,]+)\t([\d.]+)\t([\d.]+)$", part, re.MULTILINE)
    rows = table("table4").rows
    assert [[float(top1), float(top5)] for _, _, top1, top5 in found] == [pair[:2] for pair in plain("table4")]
    assert [q for _, q, _, _ in found] == [",".join(map(str, row.members[0].test_sides)) for row in rows]
    sides = [tuple(map(int, re.findall(r"\d+", s))) for s, *_ in found]
    assert sides == [row.members[0].train_sides for row in rows]
    assert "On the test set, the configuration E achieves 7.3% top-5 error" in paper
    assert [row[2:] for row in plain("table4")] == [[]] * 9 + [[7.3]]
    part = after(paper, "Table 5: ConvNet evaluation techniques comparison.", "4.4 CONVNET FUSION")
    assert plain("table5") == columns(part, r"\t([\d.]+)\t([\d.]+)$")
    assert [row.view for row in table("table5").rows] == ["dense", "crops", "both"] * 2


def test_table_6(paper: str) -> None:
    part = after(paper, "Table 6: Multiple ConvNet fusion results.", "7.3% test error using")
    assert plain("table6") == columns(part, r"\t(\d\d\.\d)\t(\d\.\d)\t(\d\.\d|-)\t?$")
    named = re.findall(r"\(([CDE])/([^/]+)/([\d,]+)\)", part)
    rows = table("table6").rows
    members = [str(member) for row in rows for member in row.members]
    assert sorted(members) == sorted("/".join(one) for one in named)
    assert [member.trained.step for member in rows[0].members][2] == "D_jitter_fc"


def test_tables_8_and_9(paper: str) -> None:
    part = after(paper, "regression type\tGT class localisation error", "Fully-fledged")
    assert plain("table8") == columns(part, r"\t(\d\d\.\d)$")
    assert [row.name[:3] for row in table("table8").rows] == re.findall(r"\t(SCR|PCR)\t", part)
    part = after(paper, "train(S)\ttest(Q)\tval.\ttest.", "Comparison with")
    assert plain("table9") == columns(part, r"\t(\d\d\.\d)\t(\d\d\.\d|-)$")[: len(plain("table9"))]
    assert len(plain("table9")) == 4


def test_tables_11_and_12(paper: str) -> None:
    part = after(paper, "Table 11: Comparison", "Image Classification on VOC-2007 and")
    rows = re.findall(r"^VGG Net-[DE](?: & Net-E| \(\d\d layers\))\t(.*)$", part, re.MULTILINE)
    printed = [[float(number) for number in re.findall(r"\d+\.\d", cell)] for row in rows for cell in row.split("\t")]
    ours = [[number for number in pair if number is not None] for (pair,) in figures("table11")]
    assert ours == printed
    part = after(paper, "Table 12: Comparison", "served in semantic")
    assert plain("table12") == columns(part, r"^VGG .*\t([\d.]+)$")


def sides_of(trained):
    """S of the solver that trains a net: what it sets for the data, else 256."""
    blocks = steps_of(trained.net)[trained.step].param.override_param
    for given in [block.rescale_param for block in blocks if block.HasField("rescale_param")]:
        return (given.short_side,) if given.short_side else (given.min_short_side, given.max_short_side)
    return (256,)


def test_every_row_names_weights_of_its_own_s() -> None:
    for name in TABLES:
        for row in table(name).rows:
            for member in (*row.members, *row.naming):
                assert member.train_sides == sides_of(member.trained), row.name
                assert member.trained.prefix.startswith(member.trained.net)


NET = "net { net: 'vgg_D' step: 'D' train_side: 256 test_side: 256 }"


@pytest.mark.parametrize(
    "text, code",
    [
        ("row { name: 'a' }", "S220"),
        ("title: 'x'\nrow { net { net: 'vgg_D' step: 'D' test_side: 256 } }", "S220"),
        ("row { net { net: 'vgg_D' step: 'D' train_side: [1, 2, 3] test_side: 256 } }", "S220"),
        ("row { net { net: 'vgg_Q' step: 'D' train_side: 256 test_side: 256 } }", "S222"),
        ("row { net { net: 'vgg_D' step: 'E' train_side: 256 test_side: 256 } }", "S222"),
        (f"row {{ {NET} above: 'b' }}", "S221"),
        (f"row {{ {NET} }}\nrow {{ {NET} }}", "S221"),
        (f"row {{ {NET} paper {{ measure: MEAN_AP value: 3 }} }}", "S223"),
        (f"row {{ {NET} task {{ name: 'voc2008' }} }}", "S222"),
    ],
)
def test_what_is_no_table(text: str, code: str, tmp_path: Path) -> None:
    path = tmp_path / "table.prototxt"
    path.write_text(text)
    with pytest.raises(NetcError) as caught:
        read_table(open_file(path))
    assert {one.code for one in caught.value.errors} == {code}
    assert caught.value.errors[0].place.line


def test_a_table_knows_the_data_sets_of_netc_features() -> None:
    from netc.cli.features import SETS
    from netc.solver.tables import TASKS

    assert TASKS == SETS

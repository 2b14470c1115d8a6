"""What is said of sources that are read side by side, and when nothing is."""

from __future__ import annotations

import pytest

import netc
from netc.check.advice import DataFacts, advise, look
from netc.check.examine import Request, examine

NET = """
layer {{ name: "image" type: "Data" top: "x" transform_param {{ crop_size: 8 {0} }}
  data_param {{ source: "a" batch_size: 2 {1} }} }}
layer {{ name: "truth" type: "Data" top: "y" transform_param {{ crop_size: 8 {2} }}
  data_param {{ source: "b" batch_size: 2 {3} }} }}
layer {{ name: "loss" type: "EuclideanLoss" bottom: "x" bottom: "y" top: "loss" }}
"""
SHUFFLE = "sampling_param { shuffle: true }"


def remarks(one="", a="", other="", b="", phase="TRAIN", sizes=()):
    graph = netc.compile_net(NET.format(one, a, other, b), phase)
    known = {node.layer.key: DataFacts("a", size) for node, size in zip(graph.nodes, sizes, strict=False)}
    return [remark for remark in look(graph, known) if remark.code in ("A816", "A817", "A826")]


@pytest.mark.parametrize(
    ("one", "a", "other", "b", "codes"),
    [
        ("", SHUFFLE, "", "", ["A816", "A817"]),
        ("", SHUFFLE, "", SHUFFLE, ["A817"]),
        ("", "", "", "", ["A817"]),  # crops at random in TRAIN
        ('random_group: "p"', "", 'random_group: "p"', "", []),
        ('random_group: "p"', "", 'random_group: "q"', "", ["A817"]),
        ('random_group: "p" mirror: true', SHUFFLE, 'random_group: "p" mirror: true', SHUFFLE, []),
        ('random_group: "p" mirror: true', "", 'random_group: "p"', "", ["A817"]),
    ],
)
def test_what_is_tied(one, a, other, b, codes):
    assert [remark.code for remark in remarks(one, a, other, b)] == codes


def test_in_test_only_mirrors_are_drawn():
    assert remarks(phase="TEST") == []
    (found,) = remarks("mirror: true", phase="TEST")
    assert '"image" is mirrored at random, "truth" is not changed' in found.message
    assert "random_group" in found.hint


def test_sources_of_other_sizes_do_not_belong_together():
    assert remarks("", SHUFFLE, sizes=(8, 9)) == []
    assert [remark.code for remark in remarks("", SHUFFLE, sizes=(8, 8))] == ["A816", "A817"]


def test_records_without_pixels_side_by_side_are_not_pictures():
    """A database of vectors as labels: its crop would be no crop."""
    text = NET.format("mirror: true", "", "", "").replace('type: "Data" top: "y"', 'type: "HDF5Data" top: "y"')
    text = text.replace('top: "y" transform_param { crop_size: 8  }', 'top: "y"').replace(
        'data_param { source: "b" batch_size: 2  }', 'hdf5_data_param { source: "b" batch_size: 2 }'
    )
    graph = netc.compile_net(
        text, "TRAIN", probe=lambda param, phase: [(2, 3, 8, 8) if param.name == "image" else (2, 192)]
    )
    assert [remark.code for remark in look(graph, {}) if remark.code in ("A816", "A817")] == []


def test_advice_to_shuffle_names_the_layer_beside(tmp_path):
    text = """layer {{ name: "{0}" type: "ImageData" top: "{0}" top: "{0}_" transform_param {{ crop_size: 8 }}
      image_data_param {{ source: "{0}" batch_size: 2 }} }}"""
    graph = netc.compile_net(text.format("one") + text.format("other"), "TRAIN")
    hints = [remark.hint for remark in advise(graph) if remark.code == "A826"]
    assert hints == [
        'add shuffle: true, also to "other" beside it: then both stay in one order',
        'add shuffle: true, also to "one" beside it: then both stay in one order',
    ]


def test_shuffled_sources_of_other_sizes_part():
    (found,) = remarks("", SHUFFLE, "", SHUFFLE, sizes=(8, 9))
    assert (found.code, found.place.line) == ("A816", 5)
    assert '"image" and "truth" take their records in random order, and have 8 and 9' in found.message


@pytest.mark.parametrize("sizes", [(8, 1), (2, 20), (8, None), (None, None)])
def test_a_few_constants_or_unknown_numbers_do_not_part(sizes):
    assert [remark.code for remark in remarks("", SHUFFLE, "", SHUFFLE, sizes=sizes)] in ([], ["A817"])


def test_one_pair_is_told_once_for_both_phases(tmp_path):
    """In TRAIN crops and mirrors are drawn, in TEST mirrors alone."""
    text = NET.format("mirror: true", SHUFFLE, "mirror: true", SHUFFLE)
    (tmp_path / "net.prototxt").write_text(text)
    report = examine(str(tmp_path / "net.prototxt"), Request((0, 1)))
    (found,) = [remark for remark in report.advice if remark.code == "A817"]
    assert len(report.nets) == 2
    assert "are cropped and mirrored at random" in found.message


def test_two_pairs_at_one_place_are_told_both(tmp_path):
    third = NET.format("", "", "", "").strip().split("\n")
    (tmp_path / "net.prototxt").write_text(
        "\n".join([*third[:2], *third[:2], *third[2:]]).replace(
            '"image" type: "Data" top: "x"', '"left" type: "Data" top: "z"', 1
        )
    )
    report = examine(str(tmp_path / "net.prototxt"), Request((0,)))
    assert len([remark for remark in report.advice if remark.code == "A817"]) == 3

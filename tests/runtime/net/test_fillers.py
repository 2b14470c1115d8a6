"""Fillers against the statistics of real Caffe's draws (goldens/data/fillers.json) and against their formulas."""

import json

import pytest
import torch

from netc import proto
from netc.errors import NetcError
from netc.prototxt import Source, parse
from netc.prototxt.bind import bind
from netc.runtime.net.fillers import fill


def make(text, shape, key=11):
    source = Source(text + "\n")
    tensor = torch.empty(shape)
    fill(tensor, bind(parse(source), proto.FillerParameter, source), key)
    return tensor


def test_statistics_of_caffe(shared):
    cases = json.loads((shared / "goldens/data/fillers.json").read_text())
    for name, case in cases.items():
        ours = make(case["filler"], case["shape"]).double()
        spread = max(case["std"], 1e-12)
        error = 5 / ours.numel() ** 0.5  # five standard errors of a mean
        assert abs(ours.mean() - case["mean"]) < 2 * error * spread + 1e-9, name
        assert abs(ours.std() - case["std"]) < 3 * error * spread + 1e-6, name
        assert abs((ours == 0).double().mean() - case["frac_zero"]) < error, name
        bounded = "gaussian" not in case["filler"] and "msra" not in case["filler"]
        if bounded:
            slack = (0.1 if "unitball" in case["filler"] else 0.01) * spread  # its bounds are themselves random sums
            assert ours.min() == pytest.approx(case["min"], abs=slack), name
            assert ours.max() == pytest.approx(case["max"], abs=slack), name


def test_positive_unitball_rows_sum_to_one():
    assert torch.allclose(make('type: "positive_unitball"', (3, 5, 2)).sum(dim=(1, 2)), torch.ones(3))


@pytest.mark.parametrize(("size", "row"), [(4, [0.25, 0.75, 0.75, 0.25]), (3, [0.5, 1.0, 0.5])])
def test_bilinear(size, row):
    line = torch.tensor(row)
    kernel = make('type: "bilinear"', (2, 1, size, size))
    assert torch.equal(kernel, torch.outer(line, line).expand(2, 1, size, size))


def test_same_key_same_numbers():
    text = 'type: "gaussian" std: 0.01'
    assert torch.equal(make(text, (6, 7), 3), make(text, (6, 7), 3))
    assert not torch.equal(make(text, (6, 7), 3), make(text, (6, 7), 4))


@pytest.mark.parametrize(
    ("text", "code"),
    [('type: "he"', "L320"), ('type: "bilinear"', "L321"), ('type: "gaussian" sparse: 9', "L321")],
)
def test_errors(text, code):
    with pytest.raises(NetcError) as caught:
        make(text, (2, 3))
    assert caught.value.code == code

"""The picture of the curves: what is read from the records, where points land, and a valid file."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from netc.runtime.report.curves import Curve, Panel, apart, draw, format_value, nice_step, panels_of, save

RECORDS = [
    {"kind": "train", "iter": 0, "loss": 2.5, "lr": 0.1},
    {"kind": "train", "iter": 10, "loss": None, "lr": 0.1},
    {"kind": "test", "iter": 10, "net": 0, "outputs": {"accuracy": 0.25, "loss": 2.0, "per_class": [1, 0]}},
    {"kind": "train", "iter": 20, "loss": 1.5, "lr": 0.01},
    {"kind": "snapshot", "iter": 20},
]


def test_panels_of_records():
    (loss, score), marks = panels_of(RECORDS)
    assert loss.curves == (
        Curve("training", ((0, 2.5), (20, 1.5))),
        Curve("validation", ((10, 2.0),), dots=True),
    )
    assert score.curves == (Curve("accuracy", ((10, 0.25),), dots=True),)
    assert score.bounds == (0, 1)
    assert marks == [(20, "rate 0.01")]


def test_two_test_nets_keep_apart():
    records = [{"kind": "test", "iter": 5, "net": net, "outputs": {"accuracy": 0.5}} for net in (0, 1)]
    panels, _ = panels_of(records)
    assert [curve.name for curve in panels[1].curves] == ["accuracy #0", "accuracy #1"]


@pytest.mark.parametrize("rough, step", [(0.9, 1), (1, 1), (1.1, 2), (0.23, 0.5), (700, 1000), (5.0, 5), (3e-7, 5e-7)])
def test_round_steps(rough, step):
    assert nice_step(rough) == pytest.approx(step)


@pytest.mark.parametrize("value, text", [(0, "0"), (0.30000000000000004, "0.3"), (1200, "1200"), (2.34567, "2.346")])
def test_numbers_are_short(value, text):
    assert format_value(value) == text


def test_a_curve_runs_from_corner_to_corner():
    """A line from (0, 0) to (100, 1) in a panel with bounds 0 to 1 starts at the origin and ends top right."""
    picture = np.asarray(draw([Panel("accuracy", (Curve("a", ((0, 0), (100, 1))),), (0, 1))], "t")).astype(int)
    blue = (picture[..., 2] - picture[..., 0] > 90)[:, :770]
    ys, xs = np.nonzero(blue)
    assert (xs.min(), xs.max()) == (pytest.approx(70, abs=2), pytest.approx(769, abs=2))
    assert ys[xs.argmin()] > ys[xs.argmax()]
    assert np.ptp(ys) == pytest.approx(300 - 34 - 44, abs=3)


def losses(*values):
    return [{"kind": "train", "iter": at, "loss": value, "lr": 0.1} for at, value in enumerate(values)]


ODD = [
    losses(0, 5e-324),
    losses(1e300, -1e300),
    losses(1e20, 1e20),
    losses(1e29, 1),
    losses(1, 1 + 1e-16),
    losses(-0.0),
]


@pytest.mark.parametrize("records", [RECORDS, [], [RECORDS[0]], *ODD])
def test_a_valid_file_from_any_run(tmp_path, records):
    panels, marks = panels_of(records)
    save(draw(panels, "a run", marks), tmp_path / "curves.png")
    with Image.open(tmp_path / "curves.png") as image:
        image.load()
        assert (image.format, image.size) == ("PNG", (900, 54 + 300 * len(panels)))
    assert [path.name for path in tmp_path.iterdir()] == ["curves.png"]


@pytest.mark.parametrize(
    "heights, moved",
    [([], []), ([5], [5]), ([90, 95, 99], [70, 85, 100]), ([10, 12, 60], [10, 25, 60]), ([120], [100])],
)
def test_names_do_not_overlap_nor_reach_below_the_axis(heights, moved):
    assert apart(heights, 15, 100) == moved

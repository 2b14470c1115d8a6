"""Random splits of a folder with a sub-folder a class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from netc.errors import NetcError
from netc.runtime.transfer.folders import folders

COUNTS = {"BACKGROUND_Google": 9, "anchor": 5, "yin_yang": 12}


@pytest.fixture
def caltech(tmp_path: Path) -> Path:
    for name, count in COUNTS.items():
        (tmp_path / "101_ObjectCategories" / name).mkdir(parents=True)
        for index in range(count):
            (tmp_path / "101_ObjectCategories" / name / f"image_{index:04d}.jpg").touch()
    (tmp_path / "101_ObjectCategories" / "anchor" / "notes.txt").touch()
    return tmp_path


def test_splits(caltech: Path) -> None:
    task = folders(caltech, train=4, test=6, splits=3, seed=1)
    assert (list(task.classes), task.measure) == (sorted(COUNTS), "mean class recall")
    assert len(task.items) == sum(COUNTS.values())
    truth = np.repeat(np.arange(3), [COUNTS[name] for name in sorted(COUNTS)])
    assert np.array_equal(task.labels.argmax(1), truth)
    assert ((task.labels == 1).sum(1) == 1).all()
    for split in task.splits:
        assert not set(split.train) & set(split.test)
        assert np.bincount(truth[split.train]).tolist() == [4, 4, 4]
        assert np.bincount(truth[split.test]).tolist() == [5, 1, 6]  # the rest, at most 6
    assert len({tuple(split.train) for split in task.splits}) == 3
    again, other = (folders(caltech, 4, 6, 3, seed) for seed in (1, 2))
    assert np.array_equal(again.splits[2].train, task.splits[2].train)
    assert not np.array_equal(other.splits[2].train, task.splits[2].train)


def test_all_the_rest_is_tested(caltech: Path) -> None:
    (split,) = folders(caltech / "101_ObjectCategories", 4, None, 1, 0).splits
    assert len(split.test) == sum(COUNTS.values()) - 12


def test_a_class_that_is_too_small(caltech: Path) -> None:
    with pytest.raises(NetcError, match='"anchor" has 5 pictures: 5 to train') as caught:
        folders(caltech, 5, 6, 3, 0)
    assert caught.value.code == "D590"


def test_a_folder_without_classes(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(NetcError) as caught:
            folders(folder, 5, 6, 3, 0)
        assert caught.value.code == "D590"

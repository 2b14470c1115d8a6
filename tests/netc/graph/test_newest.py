"""A `*` in a path means the newest snapshot."""

from __future__ import annotations

import pytest

from netc.errors import NetcError
from netc.files.paths import resolve


def test_star_is_the_highest_number(tmp_path):
    for name in (
        "a_iter_900.caffemodel",
        "a_iter_3000.caffemodel",
        "a_LRN_iter_9000.caffemodel",
        "a_iter_5000.solverstate",
    ):
        (tmp_path / name).touch()
    found = resolve("a_iter_*.caffemodel", str(tmp_path / "solver.prototxt"))
    assert found == str(tmp_path / "a_iter_3000.caffemodel")


def test_star_that_nothing_fits(tmp_path):
    (tmp_path / "a_iter_1.caffemodel").touch()
    with pytest.raises(NetcError) as caught:
        resolve("b_iter_*.caffemodel", str(tmp_path / "solver.prototxt"))
    assert caught.value.code == "F120"

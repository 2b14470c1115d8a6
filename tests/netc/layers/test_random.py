"""The conformance rules and an independent computation, on random legal cases of every type."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from netc.layers import registry
from netc.layers.base import count
from netc.runtime.net.conformance import (
    TRAIN,
    Case,
    Run,
    check_compiled,
    check_gradient,
    check_other_shapes,
    check_shapes,
    is_differentiable,
    make,
    params,
    values,
)
from tests.netc.layers.random_cases import draw
from tests.netc.layers.reference import REFERENCES

KINDS = sorted(kind for kind, cls in registry().items() if not cls.is_source and cls.plugin is None)
SEEDS = range(8)
MOST = 500
"""Values of a case's bottoms that finite differences are taken of; more would take minutes."""
WITHOUT_REFERENCE = {"HDF5Output", "Parameter", "Python", "Silence"}
"""Types that compute nothing."""


def test_every_type_of_bvlc_has_a_reference() -> None:
    bvlc = {kind for kind in KINDS if registry()[kind].fork is None}
    assert sorted(bvlc - set(REFERENCES) - WITHOUT_REFERENCE) == []


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", KINDS)
def test_random_case(kind: str, seed: int) -> None:
    case = draw(kind, seed)
    note = f"{case.text} {case.shapes} phase {case.phase}"
    try:
        check_shapes(kind, case)
        if case.shapes:
            check_other_shapes(kind, case)
        if kind in REFERENCES:
            compare(kind, case)
        if seed < 4 and is_differentiable(kind, case) and sum(map(count, case.shapes)) <= MOST:
            check_gradient(kind, case)
        if seed < 1 and not case.data_dependent:
            check_compiled(kind, case)
    except AssertionError as error:
        raise AssertionError(f"{note}: {error}") from error


def compare(kind: str, case: Case) -> None:
    """What the layer makes in double precision is what the reference makes."""
    layer, _ = make(kind, case)
    bottoms = values(case, case.shapes, torch.float64)
    own = params(layer, torch.float64)
    arrays, blobs = [b.numpy().copy() for b in bottoms], [p.numpy().copy() for p in own]
    expected = REFERENCES[kind](layer, arrays, blobs)
    with torch.no_grad():
        tops = layer.forward(Run(case.phase == TRAIN), bottoms, own)
    assert len(tops) == len(expected)
    for top, array in zip(tops, expected, strict=True):
        assert tuple(top.shape) == np.shape(array)
        np.testing.assert_allclose(top.double(), array, rtol=1e-6, atol=1e-7)

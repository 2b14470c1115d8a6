"""Nets Caffe aborts on are refused, at a place in the file; nets it accepts are built."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from netc import NetcError, compile_net

OLD_FORMAT = {"net_input_and_layers_ok"}
NEEDS_DATA = {"hdf5_missing", "imagedata_missing"}
"""Refused before the data is looked for, because the shape of its images is not known."""


def test_every_net() -> None:
    folder = Path(__file__).parents[1] / "goldens/errors"
    cases = json.loads((folder / "errors.json").read_text())
    nets = {name.removeprefix("net/"): case for name, case in cases.items() if name.startswith("net/")}
    assert len(nets) >= 79
    for name, case in nets.items():
        file = folder / f"{name}.prototxt"
        if case["ok"] and name not in OLD_FORMAT:
            compile_net(file, case["phase"])
            continue
        with pytest.raises(NetcError) as caught:
            compile_net(file, case["phase"])
        error = caught.value
        assert error.line, f"{name}: {error} has no place"
        assert (error.code == "U102") == (name in OLD_FORMAT), f"{name}: {error}"
        assert (error.code == "L304") == (name in NEEDS_DATA), f"{name}: {error}"

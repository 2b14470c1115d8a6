"""HDF5Output: Caffe's own file, more passes than one, and what is there when something goes wrong."""

from __future__ import annotations

import os
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

import netc
from netc import NetcError
from netc.runtime.data import hdf5_output
from tests.runtime.data.made import GOLDENS

TEXT = """layer { name: "i" type: "Input" top: "x" top: "y" input_param { shape { dim: 2 dim: 3 } shape { dim: 2 } } }
layer { name: "o" type: "HDF5Output" bottom: "x" bottom: "y" hdf5_output_param { file_name: "out.h5" } }"""


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def read(path: str = "out.h5") -> dict[str, np.ndarray]:
    with h5py.File(path) as file:
        return {name: file[name][...] for name in file}


def rows(k: int, n: int = 2) -> dict[str, torch.Tensor]:
    return {"x": torch.arange(3.0 * n).view(n, 3) + 10 * k, "y": torch.full((n,), float(k))}


def test_the_file_is_caffes() -> None:
    net = netc.load_net(GOLDENS / "hdf5_output.prototxt")
    assert os.listdir() == []  # nothing is made before a batch has passed
    net()
    with h5py.File("hdf5_output.h5") as mine, h5py.File(GOLDENS / "hdf5_output.h5") as caffes:
        assert set(mine) == set(caffes)
        for name in caffes:
            assert (mine[name].dtype, mine[name].shape) == (caffes[name].dtype, caffes[name].shape)
            np.testing.assert_array_equal(mine[name][...], caffes[name][...])


def test_further_passes_add_their_rows_and_a_new_net_starts_afresh() -> None:
    net = netc.load_net(TEXT)
    for k in range(3):
        net(rows(k))
    assert read()["data"].shape == (6, 3, 1, 1)
    assert read()["label"].ravel().tolist() == [0, 0, 1, 1, 2, 2]
    net(rows(3, n=1))
    np.testing.assert_array_equal(read()["data"][-1].ravel(), rows(3, 1)["x"].ravel())
    netc.load_net(TEXT)(rows(7), blobs=[])
    assert read()["label"].ravel().tolist() == [7, 7]


def test_large_files_are_not_written_at_every_pass_and_the_last_rows_come_when_the_net_goes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hdf5_output, "SMALL", 0)
    net = netc.load_net(TEXT)
    lengths = []
    for k in range(40):
        net(rows(k))
        lengths.append(len(read()["label"]))
    assert all(2 * (k + 1) - length <= length / 8 for k, length in enumerate(lengths))
    assert len(set(lengths)) < 30
    del net
    assert read()["label"].ravel().tolist() == [k for k in range(40) for _ in "ab"]
    assert os.listdir() == ["out.h5"]


def test_rows_of_another_shape_are_refused_and_the_file_stays() -> None:
    net = netc.load_net(TEXT)
    net(rows(0))
    with pytest.raises(NetcError, match=r"rows of 4×1×1 do not fit .* which has 3×1×1") as caught:
        net(x=torch.ones(2, 4), y=torch.ones(2))
    assert caught.value.code == "D550"
    assert caught.value.line == 2
    assert read()["data"].shape == (2, 3, 1, 1)


def test_a_folder_that_is_not_there_is_named() -> None:
    net = netc.load_net(TEXT.replace("out.h5", "no/such/out.h5"))
    with pytest.raises(NetcError, match=r"no/such/out\.h5 cannot be written") as caught:
        net(rows(0))
    assert caught.value.exit_status == 73


def test_settings_are_checked() -> None:
    with pytest.raises(NetcError, match="names no file"):
        netc.compile_net(TEXT.replace('file_name: "out.h5"', ""))
    with pytest.raises(NetcError, match="differ in batch size: 2×3 and 4"):
        netc.compile_net(TEXT.replace("shape { dim: 2 } }", "shape { dim: 4 } }"))

"""A loss that is not finite because of the data: which file and row, and not a word on learning rates."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from netc.errors import NetcError
from netc.runtime.solver.solver import load_solver
from tests.runtime.data.made import photo, write_lmdb

NET = """
net_param {{ {0}
  layer {{ name: "fc" type: "InnerProduct" bottom: "x" top: "fc" inner_product_param {{ num_output: {1}
    weight_filler {{ type: "xavier" }} }} }}
  layer {{ name: "loss" type: "{2}" bottom: "fc" bottom: "y" top: "loss" }}
}}
base_lr: 0 lr_policy: "fixed" max_iter: 9 {3}
"""
HDF5 = 'layer { name: "d" type: "HDF5Data" top: "x" top: "y" hdf5_data_param { source: "list" batch_size: 2 %s } }'


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def fails(source, outputs=1, loss="EuclideanLoss", more="", feed=None):
    run = load_solver(NET.format(source, outputs, loss, more))
    with pytest.raises(NetcError) as caught:
        run.step(9, feed)
    run.close()
    return caught.value


def hdf5(x, y):
    h5py = pytest.importorskip("h5py")
    for name, rows in (("a.h5", slice(0, 4)), ("b.h5", slice(4, None))):
        with h5py.File(name, "w") as file:
            file["x"], file["y"] = np.asarray(x, "f4")[rows], np.asarray(y, "f4")[rows]
    with open("list", "w") as file:
        file.write("a.h5\nb.h5\n")


@pytest.mark.parametrize("options", ["", "shuffle: true"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", ["x", "y"])
def test_rows_of_hdf5_files(where, value, options):
    data = {"x": np.ones((8, 3)), "y": np.ones((8, 1))}
    data[where][6, -1] = value
    hdf5(**data)
    error = fails(HDF5 % options)
    assert error.code == "R630"
    assert f'row 2 of b.h5 (from 0) has a value that is not finite, in "{where}" of layer "d"' in error.message
    assert "data are at fault" in error.hint
    assert "base_lr" not in error.hint


def test_labels_that_are_not_numbers():
    """Where classes are asked for, before anything is computed."""
    labels = np.zeros(8)
    labels[5] = np.nan
    hdf5(np.ones((8, 3)), labels)
    error = fails(HDF5 % "", 2, "SoftmaxWithLoss")
    assert error.code == "R621"
    assert "label nan does not exist" in error.message
    assert "row 1 of b.h5" in error.message


def test_records_of_a_database():
    from netc import proto

    records = {b"%04d" % i: proto.Datum(channels=1, height=1, width=2, float_data=[i, 1], label=i) for i in range(6)}
    records[b"0003"].float_data[0] = float("nan")
    write_lmdb("db", records)
    source = 'layer { name: "d" type: "Data" top: "x" top: "y" data_param { source: "db" batch_size: 2 } }'
    error = fails(source)
    assert 'the record "0003" of db has a value that is not finite' in error.message


def test_a_label_that_is_not_a_class_names_its_line():
    from PIL import Image

    Image.fromarray(photo(4, 5)).save("a.png")
    with open("list", "w") as file:
        file.write("a.png 0\n\na.png 7\n")
    source = 'layer { name: "d" type: "ImageData" top: "x" top: "y" image_data_param { source: "list" batch_size: 2 } }'
    error = fails(source, 3, "SoftmaxWithLoss")
    assert error.code == "R621"
    assert '"a.png", line 3 of list' in error.message


def test_what_a_program_gives():
    source = """layer { name: "d" type: "MemoryData" top: "x" top: "y"
      memory_data_param { batch_size: 2 channels: 3 height: 1 width: 1 } }"""
    calls = []

    def feed(k):
        calls.append(k)
        x = torch.ones(2, 3, 1, 1)
        x[1] = float("nan") if k == 4 else 1
        return {"x": x, "y": torch.ones(2)}

    error = fails(source, feed=feed)
    assert 'row 1 of what the program gave for pass 4 has a value that is not finite, in "x"' in error.message
    assert calls == [0, 1, 2, 3, 4, 4]


def test_a_rate_that_is_too_high_is_still_advised_against():
    hdf5(np.full((8, 3), 1e3), np.ones((8, 1)))
    run = load_solver(NET.format(HDF5 % "", 1, "EuclideanLoss", "").replace("base_lr: 0 ", "base_lr: 1e9 "))
    with pytest.raises(NetcError) as caught:
        run.step(60)
    assert caught.value.code == "R630"
    assert "lower base_lr" in caught.value.hint

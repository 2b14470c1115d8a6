"""A small database and a net on it, for runs of a second or two."""

from __future__ import annotations

from pathlib import Path

import lmdb
import numpy as np
import pytest

from netc import proto

TRAIN, TEST = 26, 11  # neither a multiple of its batch: epochs end within a batch, and a whole-set test in a short one

NET = """
name: "tiny"
layer {{ name: "in" type: "Data" top: "data" top: "label" include {{ phase: TRAIN }}
  transform_param {{ mirror: true crop_size: 8 scale: 0.0078125 mean_value: 128 }}
  data_param {{ source: "train_lmdb" batch_size: 5 backend: LMDB sampling_param {{ shuffle: true }} }} }}
layer {{ name: "in" type: "Data" top: "data" top: "label" include {{ phase: TEST }}
  transform_param {{ crop_size: 8 scale: 0.0078125 mean_value: 128 }}
  data_param {{ source: "test_lmdb" batch_size: 4 backend: LMDB }} }}
layer {{ name: "conv" type: "Convolution" bottom: "data" top: "conv"
  param {{ lr_mult: 1 }} param {{ lr_mult: 2 decay_mult: 0 }}
  convolution_param {{ num_output: 6 kernel_size: 3 weight_filler {{ type: "xavier" }} }} }}
layer {{ name: "relu" type: "ReLU" bottom: "conv" top: "conv" }}
layer {{ name: "drop" type: "Dropout" bottom: "conv" top: "conv" dropout_param {{ dropout_ratio: 0.4 }} }}
layer {{ name: "fc" type: "InnerProduct" bottom: "conv" top: "fc"
  inner_product_param {{ num_output: {classes} weight_filler {{ type: "xavier" }} }} }}
layer {{ name: "accuracy" type: "Accuracy" bottom: "fc" bottom: "label" top: "accuracy" include {{ phase: TEST }} }}
layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" top: "loss" }}
"""

SOLVER = """
net: "net.prototxt"
base_lr: 0.02
momentum: 0.9
weight_decay: 0.0005
lr_policy: "plateau"
gamma: 0.5
plateau_param { output: "loss" goal: MINIMIZE patience: 1 max_drops: 9 min_delta: 0.02 }
iter_size: 2
average_loss: 3
display: 1
test_interval: 2
max_iter: 12
snapshot: 4
snapshot_prefix: "tiny"
random_seed: 3
"""


def write_database(path: Path, count: int, seed: int) -> None:
    """Noisy pictures whose class, one of three, is their brightest channel."""
    rng = np.random.default_rng(seed)
    with lmdb.open(str(path), map_size=1 << 24) as env, env.begin(write=True) as txn:
        for n in range(count):
            pixels = rng.integers(0, 150, (3, 10, 11), np.uint8)
            pixels[n % 3] += 90
            datum = proto.Datum(channels=3, height=10, width=11, data=pixels.tobytes(), label=n % 3)
            txn.put(f"{n:08d}".encode(), datum.SerializeToString())


def write_run(folder: Path, classes: int = 3) -> None:
    write_database(folder / "train_lmdb", TRAIN, 1)
    write_database(folder / "test_lmdb", TEST, 2)
    (folder / "net.prototxt").write_text(NET.format(classes=classes))
    (folder / "solver.prototxt").write_text(SOLVER)


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with solver.prototxt, net.prototxt and two databases of pictures in three classes."""
    write_run(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path

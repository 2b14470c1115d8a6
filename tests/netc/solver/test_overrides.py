"""override_param: what a solver sets for layers of its nets, and what it is refused for."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import netc
from netc.errors import NetcError

NET = """
layer { name: "in" type: "DummyData" top: "x" top: "y" dummy_data_param {
  shape { dim: 4 dim: 3 } shape { dim: 4 } data_filler { type: "gaussian" std: 1 } data_filler { type: "constant" } } }
layer { name: "fc1" type: "InnerProduct" bottom: "x" top: "fc1" param { lr_mult: 1 decay_mult: 1 } param { lr_mult: 2 }
  inner_product_param { num_output: 5 weight_filler { type: "constant" value: 1 } } }
layer { name: "prelu" type: "PReLU" bottom: "fc1" top: "fc1" param { lr_mult: 1 } }
layer { name: "fc2" type: "InnerProduct" bottom: "fc1" top: "fc2"
  inner_product_param { num_output: 4 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc2" bottom: "y" top: "loss" }
"""


def solver(tmp_path: Path, more: str) -> str:
    (tmp_path / "net.prototxt").write_text(NET)
    path = tmp_path / "solver.prototxt"
    path.write_text(f'net: "net.prototxt" base_lr: 0.5 lr_policy: "fixed" weight_decay: 0.1 max_iter: 9\n{more}')
    return str(path)


def test_layers_that_are_left_as_they_are(tmp_path: Path) -> None:
    """Neither the gradient nor the decay moves them; the others learn, and the file is as it was."""
    run = netc.load_solver(solver(tmp_path, 'override_param { layer: "fc1" layer: "pre*" lr_mult: 0 }'))
    before = {name: [blob.detach().clone() for blob in blobs] for name, blobs in run.net.params.items()}
    run.step(2)
    same = {name: all(map(torch.equal, before[name], blobs)) for name, blobs in run.net.params.items()}
    assert same == {"fc1": True, "prelu": True, "fc2": False}
    assert netc.read_net(str(tmp_path / "net.prototxt")).layer[1].param[1].lr_mult == 2


def test_other_fillers_of_the_weights(tmp_path: Path) -> None:
    """The blocks hold in their order, for the layers that have weights to fill."""
    text = 'override_param { layer: "*" weight_filler { type: "constant" value: 3 } }'
    text += 'override_param { layer: "fc2" weight_filler { type: "constant" value: 4 } }'
    params = netc.load_solver(solver(tmp_path, text)).net.params
    assert [float(params[name][0].detach().unique()) for name in ("fc1", "fc2")] == [3, 4]
    assert float(params["prelu"][0].detach().unique()) == 0.25


REFUSED = {
    'override_param { layer: "fc3" lr_mult: 0 }': ("R710", 'no layer "fc3"; did you mean "fc2"', 2),
    'override_param { layer: "conv*" lr_mult: 0 }': ("R710", 'no layer "conv\\*"', 2),
    'override_param { layer: "prelu" weight_filler { type: "xavier" } }': ("R710", "none of these layers has", 2),
    'override_param { layer: "fc*" rescale_param { short_side: 9 } }': ("R710", "none of these layers has", 2),
    'override_param { layer: "fc2" }': ("R710", "sets nothing", 2),
    "override_param { lr_mult: 0 }": ("R710", "names no layer", 2),
    'override_param { layer: "fc2" lr_mult: 0 }': ("R710", "none of these layers has a lr_mult", 2),
    'override_param { layer: "fc*" lr_mult: 0 }': ("R711", "2 parameters, but 0 param blocks", 2),
}


@pytest.mark.parametrize("text", REFUSED)
def test_what_fits_no_layer_is_refused(text: str, tmp_path: Path) -> None:
    code, message, line = REFUSED[text]
    path = solver(tmp_path, text)
    with pytest.raises(NetcError, match=message) as caught:
        netc.load_solver(path)
    assert (caught.value.code, caught.value.line) == (code, line)
    assert [error.code for error in netc.check(path).errors] == [code]


def test_a_test_net_without_such_a_layer_is_as_it_was(tmp_path: Path) -> None:
    """A test net of its own may lack the layers that training sets something for."""
    test_net = NET.replace('"in"', '"other"')
    (tmp_path / "test.prototxt").write_text(test_net)
    text = 'override_param { layer: "fc1" lr_mult: 0 } test_iter: 1 test_interval: 5'
    path = solver(tmp_path, text)
    own = Path(path).read_text().replace('net: "net.prototxt"', 'train_net: "net.prototxt" test_net: "test.prototxt"')
    Path(path).write_text(own.replace('layer: "fc1"', 'layer: "in" layer: "fc1"'))
    assert netc.load_solver(path).test()[0]["loss"] > 0

"""No memory of torch.empty survives the building of a net: every parameter is filled, copied or shared."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import netc
from netc.errors import NetcError
from netc.runtime.net import module
from netc.runtime.net.module import Net
from netc.runtime.solver.solver import load_solver

BRANCH = """
layer {{ name: "d" type: "DummyData" top: "d" top: "t" dummy_data_param {{
  shape {{ dim: 4 dim: 3 dim: 6 dim: 6 }} shape {{ dim: 4 dim: 2 dim: 4 dim: 4 }}
  data_filler {{ type: "gaussian" }} data_filler {{ type: "gaussian" }} }} }}
{layers}
layer {{ name: "loss" type: "EuclideanLoss" bottom: "c" bottom: "t" top: "loss" }}
layer {{ name: "diff" type: "EuclideanLoss" bottom: "c" bottom: "cp" top: "diff" include {{ phase: TEST }} }}
"""

CONV = """layer {{ name: "{name}" type: "Convolution" bottom: "d" top: "{top}" {rule}
  param {{ name: "w" }} param {{ name: "b" }}
  convolution_param {{ num_output: 2 kernel_size: 3
    weight_filler {{ type: "xavier" }} bias_filler {{ value: 3 }} }} }}"""


def conv(name: str, top: str, rule: str = "") -> str:
    return CONV.format(name=name, top=top, rule=rule)


TRAINED = conv("conv11", "c")
TESTED = conv("conv11_p", "cp", "include { phase: TEST }")
SOLVER = """base_lr: 0.1 lr_policy: "fixed" max_iter: 2 test_interval: 1 test_iter: 1 random_seed: 1
snapshot_after_train: false snapshot_prefix: "s" net_param {{ {} }}"""


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Memory that nothing has written holds NaN."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    monkeypatch.setattr(torch.utils.deterministic, "fill_uninitialized_memory", True)
    assert torch.empty(3).isnan().all()
    yield
    torch.use_deterministic_algorithms(before)


def unwritten(net: Net) -> list[str]:
    return [name for name, tensor in net.state_dict().items() if tensor.isnan().any()]


@pytest.mark.parametrize("layers", [(TRAINED, TESTED), (TESTED, TRAINED)], ids=["owner first", "owner last"])
def test_a_test_net_shares_by_name_what_was_trained(layers: tuple[str, ...]) -> None:
    """BVLC/caffe#4585: a branch of the test net alone, with the trained layer's arrays."""
    run = load_solver(SOLVER.format(BRANCH.format(layers="\n".join(layers))))
    (test,) = run.test_nets
    assert not unwritten(test)
    for _ in range(2):
        assert run.test()[0]["diff"] == 0
        run.step(1)
    for mine, trained in zip(test.params["conv11_p"], run.net.params["conv11"], strict=True):
        assert mine is trained


def test_a_test_net_shares_in_another_shape() -> None:
    def product(name: str, outputs: int, rule: str = "") -> str:
        return f"""layer {{ name: "{name}" type: "InnerProduct" bottom: "{"x" if outputs == 6 else "y"}" top: "{name}"
          param {{ name: "w" share_mode: PERMISSIVE }} {rule} inner_product_param {{ num_output: {outputs}
          bias_term: false weight_filler {{ type: "gaussian" }} }} }}"""

    data = """layer { name: "i" type: "DummyData" top: "x" top: "y" dummy_data_param {
      shape { dim: 2 dim: 4 } shape { dim: 2 dim: 8 } } }"""
    loss = 'layer { name: "loss" type: "Reduction" bottom: "a" top: "loss" loss_weight: 1 }'
    run = load_solver(SOLVER.format(data + product("a", 6) + product("b", 3, "include { phase: TEST }") + loss))
    (mine,), (trained,) = run.test_nets[0].params["b"], run.net.params["a"]
    assert (tuple(mine.shape), tuple(trained.shape)) == ((3, 8), (6, 4))
    assert mine.data_ptr() == trained.data_ptr()
    assert not unwritten(run.test_nets[0])


def test_a_layer_of_the_test_net_alone_is_filled() -> None:
    alone = TESTED.replace('name: "w"', "").replace('name: "b"', "")
    run = load_solver(SOLVER.format(BRANCH.format(layers=TRAINED + alone)))
    assert not unwritten(run.test_nets[0])
    assert (run.test_nets[0].params["conv11_p"][1] == 3).all()


def test_layers_that_the_weights_lack_are_filled(recwarn: Any) -> None:
    """Of load_net, a solver and a snapshot; the one that shares all it has is not missing."""
    given = {"conv11": [torch.ones(2, 3, 3, 3).numpy(), torch.zeros(2).numpy()]}
    ip = 'layer { name: "ip" type: "InnerProduct" bottom: "d" top: "ip" inner_product_param { num_output: 2 } }'
    net = netc.load_net(BRANCH.format(layers=TRAINED + TESTED + ip), weights=given)
    assert not unwritten(net)
    assert (net.params["conv11_p"][0] == 1).all()
    assert [str(w.message) for w in recwarn.list] == [
        "1 of 3 layers with parameters has no weights in those given: ip; it keeps what its fillers gave"
    ]


# -- other people's ----------------------------------------------------------------------------------------------------


def probe(layer: Any, phase: int) -> list[tuple[int, ...]]:
    return [(2, 3, 224, 224), *[(2,)] * (len(layer.top) - 1)]


def built(path: Path) -> Iterator[Net]:
    """The net of a file in each phase for which it compiles."""
    for phase in ("TRAIN", "TEST"):
        try:
            yield Net(netc.compile_net(path, phase, probe=probe))
        except NetcError:
            continue


def check(paths: list[Path], monkeypatch: pytest.MonkeyPatch) -> int:
    """Fillers are tested for themselves; here they need not draw a hundred million numbers."""
    monkeypatch.setattr(module, "fill_blob", lambda tensor, *rest: tensor.zero_())
    count = 0
    for path in paths:
        for net in built(path):
            assert not unwritten(net), path
            count += 1
    return count


def nets(shared: Path) -> list[Path]:
    found = [*shared.glob("zoo/prototxt/*.prototxt"), *shared.glob("goldens/*/*.prototxt")]
    return sorted(path for path in found if "solver" not in path.name)


def test_a_sample_of_the_shared_nets(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert check(nets(shared)[::50], monkeypatch) > 20


@pytest.mark.slow
def test_all_shared_nets(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert check(nets(shared), monkeypatch) > 1000


def test_the_shared_solvers(shared: Path) -> None:
    count = 0
    for path in sorted(shared.glob("goldens/solvers/*.solver.prototxt")):
        try:
            run = load_solver(str(path))
        except NetcError:  # its net is not shared
            continue
        assert not [name for net in (run.net, *run.test_nets) for name in unwritten(net)], path
        count += 1
    assert count > 10

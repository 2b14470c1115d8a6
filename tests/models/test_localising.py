"""The nets of appendix A: net D with four outputs, or four for each class, and how they are trained."""

from __future__ import annotations

import re

import pytest

import netc
from netc.check.analyse import analyse
from netc.graph.read import open_file
from netc.solver.schedule import read_schedule
from tests.models.nets import FOLDER, LOCALISING
from tests.models.test_files import trunk
from tests.models.test_numbers import net as analysed

PARAMETERS = {
    "vgg_D_SCR": 134_276_932,
    "vgg_D_PCR": 150_648_544,
    "mini_vgg_D_SCR": 2_505_946 - 10 * 1025 + 4 * 1025,
    "mini_vgg_D_PCR": 2_505_946 - 10 * 1025 + 40 * 1025,
}
"""The paper's nets by shared paper.md 2.1; the small ones by hand: 1025 for each output instead of mini_vgg_D's ten."""


def net(name, file="train_val"):
    return netc.read_net(f"models/{name}/{file}.prototxt")


def base_of(name):
    return name.rpartition("_")[0]


def classes_of(name):
    return 10 if name.startswith("mini") else 1000


@pytest.mark.parametrize("name", LOCALISING)
@pytest.mark.parametrize("file, phase", [("deploy", "TEST"), ("train_val", "TRAIN")])
def test_parameters(name, file, phase):
    found = analysed(name, file, phase)
    assert found.params == PARAMETERS[name]
    assert found.graph.outputs == (("fc8_box",) if file == "deploy" else ("loss",))


@pytest.mark.parametrize("name", LOCALISING)
def test_all_but_the_last_layer_is_net_d(name):
    body = list(net(name).layer)[2:]
    same = trunk(net(base_of(name)))[:-1]
    assert body[: len(same)] == same
    last, *rest = body[len(same) :]
    per_class = name.endswith("PCR")
    outputs = 4 * classes_of(name) if per_class else 4
    assert (last.name, last.type, last.inner_product_param.num_output) == ("fc8_box", "InnerProduct", outputs)
    kinds = ["LabelSlice", "EuclideanLoss"] if per_class else ["EuclideanLoss", "Silence"]
    assert [layer.type for layer in rest] == kinds
    deployed = trunk_of_deploy(name)
    assert [layer.name for layer in deployed] == [layer.name for layer in [*same, last]]


def trunk_of_deploy(name):
    return list(net(name, "deploy").layer)[1:]


@pytest.mark.parametrize("name", LOCALISING)
def test_data(name):
    """As the classifier's, with the box as third top, and without scale jitter (A.1)."""
    for own, base in zip(net(name).layer[:2], net(base_of(name)).layer[:2], strict=True):
        assert list(own.top) == ["data", "label", "box"]
        fixed = 96 if name.startswith("mini") else 256
        assert own.transform_param.rescale_param.short_side == fixed
        assert not own.transform_param.rescale_param.max_short_side
        own.top.remove("box")
        own.transform_param.rescale_param.CopyFrom(base.transform_param.rescale_param)
        own.data_param.source = base.data_param.source
        assert own == base


@pytest.mark.parametrize("name", LOCALISING)
@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("larger", [False, True])
def test_solvers(name, frozen, larger):
    """The classifier's, from 10^-3 on, steered by the loss; all but the last layer comes from the classifier."""
    base = netc.read_solver(f"models/{base_of(name)}/solver.prototxt")
    layers = [layer.name for layer in trunk(net(base_of(name))) if layer.type in ("Convolution", "InnerProduct")]
    scale, start = (128, 110) if name.startswith("mini") else (384, 384)
    suffix = f"_S{scale}" * larger + "_fc" * frozen
    solver = netc.read_solver(f"models/{name}/solver{suffix}.prototxt")
    assert solver.base_lr == pytest.approx(1e-3)
    assert (solver.plateau_param.output, solver.plateau_param.goal) == ("loss", solver.plateau_param.MINIMIZE)
    (plan,) = solver.transplant_param
    assert plan.weights == f"{base_of(name)}{f'_S{start}' * larger}_iter_*.caffemodel"
    assert [copy.layer for copy in plan.copy] == layers[:-1]
    assert solver.snapshot_prefix == name + suffix
    changes = [
        (list(one.layer), one.HasField("lr_mult"), one.rescale_param.short_side) for one in solver.override_param
    ]
    assert changes == [(["data"], False, scale)] * larger + [(["conv*"], True, 0)] * frozen
    assert all(one.lr_mult == 0 for one in solver.override_param)
    for field in ("base_lr", "plateau_param", "transplant_param", "snapshot_prefix", "override_param"):
        solver.ClearField(field)
        base.ClearField(field)
    assert solver == base


@pytest.mark.parametrize("name", LOCALISING)
def test_schedules(name):
    """The classifiers of both scales first, from which the steps with boxes start; Table 8's are alternatives."""
    steps = read_schedule(open_file(f"models/{name}/schedule.prototxt"))
    kind, (scale, first) = name.rpartition("_")[2], (128, 110) if name.startswith("mini") else (384, 384)
    found = {step.name: (step.weights_from, step.alternative, step.prefix.name) for step in steps}
    own = {
        kind: ("D", False, name),
        f"{kind}_S{scale}": (f"D_S{first}", False, f"{name}_S{scale}"),
        f"{kind}_fc": ("D", True, f"{name}_fc"),
        f"{kind}_S{scale}_fc": (f"D_S{first}", True, f"{name}_S{scale}_fc"),
    }
    base = base_of(name)
    start = {"A": ("", False, f"{base[:-1]}A"), "D": ("A", False, base)}
    assert found == {**start, f"D_S{first}": ("D", False, f"{base}_S{first}"), **own}


def test_the_page_has_their_sizes():
    page = (FOLDER / "README.md").read_text(encoding="utf-8")
    for name in LOCALISING:
        found = analyse(netc.compile_net(f"models/{name}/deploy.prototxt", phase="TEST"))
        assert re.search(rf"\| {name} \| {found.params:,} \| {found.params_of('Convolution'):,} \|", page), name

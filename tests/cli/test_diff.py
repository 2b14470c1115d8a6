"""`netc diff`: what makes a difference in meaning, and what makes none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from netc import read_net, read_solver
from netc.cli._main import run

NET = """name: "n"
layer { name: "data" type: "Input" top: "data" top: "label"
  input_param { shape { dim: 5 dim: 3 dim: 31 dim: 40 } shape { dim: 5 } } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param { num_output: 4 kernel_size: 3 pad: 1 weight_filler { type: "xavier" } } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1" pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "ip" type: "InnerProduct" bottom: "pool1" top: "ip"
  inner_product_param { num_output: 7 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""


@pytest.fixture
def diff(tmp_path, monkeypatch, capsys):
    """diff(a, b, *options): exit status and parsed JSON."""
    monkeypatch.chdir(tmp_path)

    def compared(a, b, *options, names=("a.prototxt", "b.prototxt")):
        for name, content in zip(names, (a, b), strict=True):
            Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())
        status = run(["diff", *names, "--json", *options])
        return status, json.loads(capsys.readouterr().out)

    return compared


def changes(found, number=0):
    return [(layer["kind"], layer["name"], layer["new_name"]) for layer in found["nets"][number]["layers"]]


def fields(found, number=0):
    """{layer.field: (old, new)} of one net."""
    return {
        f"{layer['name']}.{change['field']}": (change["old"]["value"], change["new"]["value"])
        for layer in found["nets"][number]["layers"]
        for change in layer["fields"]
    }


# -- the same ----------------------------------------------------------------------------------------------------------

SAME = {
    "layout and comments": (NET, "# a comment\n" + NET.replace("\n", " ").replace("layer {", "\nlayer {\n")),
    "another name of the net": ('name: "n"', 'name: "other"'),
    "defaults written out": ("kernel_size: 3 pad: 1", "kernel_size: 3 pad: 1 stride: 1 group: 1 bias_term: true"),
    "a square kernel by its sides": ("kernel_size: 3 pad: 1", "kernel_h: 3 kernel_w: 3 pad_h: 1 pad_w: 1"),
    "a filler that is the default": ("num_output: 4", 'num_output: 4 bias_filler { type: "constant" value: 0 }'),
    "numbers a filler does not read": ('type: "xavier"', 'type: "xavier" std: 5'),
    "param blocks with the defaults": ('top: "ip"', 'top: "ip" param { lr_mult: 1 decay_mult: 1 } param { }'),
    "a loss weight of 1": ('top: "loss"', 'top: "loss" loss_weight: 1'),
    "an engine": ("kernel_size: 3", "kernel_size: 3 engine: CUDNN"),
    "not in place": (
        'top: "conv1" }\nlayer { name: "pool1" type: "Pooling" bottom: "conv1"',
        'top: "r" }\nlayer { name: "pool1" type: "Pooling" bottom: "r"',
    ),
    "another name of a blob within": ('"pool1" pooling', '"p" pooling'),
}


@pytest.mark.parametrize("what", SAME)
def test_spellings_of_one_meaning(diff, what):
    old, new = SAME[what]
    other = new if old == NET else NET.replace(old, new)
    if "within" in what:
        other = other.replace('bottom: "pool1"', 'bottom: "p"')
    assert other != NET
    status, found = diff(NET, other)
    assert fields(found) == {}
    assert (status, found["same"], changes(found)) == (0, True, [])


# Fields whose presence means something, though they are written out with the value that they have anyway.
PRESENT = {
    "normalize": ("SoftmaxWithLoss", "loss_param { normalize: false }"),
    "ignore_label": ("SoftmaxWithLoss", "loss_param { ignore_label: 0 }"),
    "axis of ArgMax": ("ArgMax", "argmax_param { axis: 0 }"),
    "statistics of PSPNet's BN": ("BN", "bn_param { moving_average: false }"),
    "the scale of NVIDIA's BatchNorm": ("BatchNorm", "batch_norm_param { scale_filler { } }"),
}


@pytest.mark.parametrize("what", PRESENT)
def test_fields_that_mean_something_by_being_there(diff, what):
    kind, settings = PRESENT[what]
    bottoms = 'bottom: "ip" bottom: "label"' if kind.endswith("Loss") else 'bottom: "ip"'
    texts = [NET + f'layer {{ name: "x" type: "{kind}" {bottoms} top: "x" {more} }}' for more in ("", settings)]
    status, found = diff(*texts)
    assert (status, changes(found)) == (1, [("changed", "x", "x")])


def test_which_layer_of_one_name_is_meant(diff):
    texts = [NET + f'layer {{ name: "x" type: "BN" bottom: "ip" top: "x" {more} }}' for more in ("", PRESENT_BN)]
    assert fields(diff(*texts)[1]) == {"x.variant": ("SegNet", "PSPNet")}
    texts[1] = texts[1].replace("moving_average: false", "scale_filler { } bn_mode: LEARN")
    assert diff(*texts)[1]["same"]


PRESENT_BN = PRESENT["statistics of PSPNet's BN"][1]


def test_the_phase_of_a_layer_of_its_own(diff):
    texts = [
        NET + f'layer {{ name: "x" type: "Dropout" bottom: "ip" top: "x" {more} }}' for more in ("", "phase: TRAIN")
    ]
    status, found = diff(*texts)
    assert (status, [changes(found, 0), changes(found, 1)]) == (1, [[], [("changed", "x", "x")]])


def test_the_order_of_independent_layers_is_no_difference(diff):
    lines = (
        'layer { name: "%s" type: "InnerProduct" bottom: "pool1" top: "%s" inner_product_param { num_output: 3 } }\n'
    )
    one, two = lines % ("s1", "s1"), lines % ("s2", "s2")
    status, found = diff(NET + one + two, NET + two + one)
    assert (status, changes(found)) == (0, [])
    assert found["nets"][0]["reordered"]


def test_a_net_in_an_older_format_and_its_upgrade(diff):
    old = NET.replace("layer {", "layers {").replace('"SoftmaxWithLoss"', "SOFTMAX_LOSS").replace('"ReLU"', "RELU")
    old = old.replace('"Convolution"', "CONVOLUTION").replace('"Pooling"', "POOLING")
    old = old.replace('"InnerProduct"', "INNER_PRODUCT").replace('layers { name: "data"', 'layers { name: "data"')
    head = 'input: "data" input_dim: 5 input_dim: 3 input_dim: 31 input_dim: 40\n'
    head += 'input: "label" input_dim: 5 input_dim: 1 input_dim: 1 input_dim: 1\n'
    start = old.index('layers { name: "conv1"')
    new = NET.replace("shape { dim: 5 } }", "shape { dim: 5 dim: 1 dim: 1 dim: 1 } }")
    status, found = diff(head + old[start:], new)
    assert changes(found) == [("renamed", "input", "data")]
    assert status == 1
    assert diff(head + old[start:], new.replace('name: "data"', 'name: "input"'))[0] == 0


def test_text_and_binary(diff):
    binary = read_net(NET).SerializeToString()
    assert diff(NET, binary, names=("a.prototxt", "b.binaryproto"))[0] == 0


# -- different ---------------------------------------------------------------------------------------------------------


def test_a_setting_with_both_values_and_places(diff):
    status, found = diff(NET, NET.replace("kernel_size: 3 pad: 1", "\n pad_h: 2 pad_w: 0\n kernel_size: 3"))
    assert status == 1
    (change,) = found["nets"][0]["layers"][0]["fields"]
    assert change["field"] == "convolution_param.pad"
    assert (change["old"]["value"], change["new"]["value"]) == (1, "2×0")
    assert (change["old"]["path"], change["old"]["line"]) == ("a.prototxt", 5)
    assert (change["new"]["path"], change["new"]["line"]) == ("b.prototxt", 6)


def test_a_default_is_named(diff):
    _, found = diff(NET, NET.replace("num_output: 7", "num_output: 7 axis: 2 bias_term: false"))
    assert fields(found) == {
        "ip.inner_product_param.axis": (1, 2),
        "ip.inner_product_param.bias_term": (True, False),
    }


def test_consequences_for_shapes_and_parameters(diff):
    _, found = diff(NET, NET.replace("num_output: 4", "num_output: 6"))
    before = 4 * 27 + 4, 4 * 16 * 20 * 7 + 7
    after = 6 * 27 + 6, 6 * 16 * 20 * 7 + 7
    effects = {effect["layer"]: effect for effect in found["nets"][0]["effects"]}
    assert effects["conv1"]["shape"] == [[5, 4, 31, 40], [5, 6, 31, 40]]
    assert effects["conv1"]["parameters"] == [before[0], after[0]]
    assert effects["ip"]["parameters"] == [before[1], after[1]]
    assert set(effects) == {"conv1", "relu1", "pool1", "ip"}
    assert found["nets"][0]["parameters"] == [sum(before), sum(after)]
    assert found["nets"][0]["weights"] == {"fitting": 0, "unfit": ["conv1", "ip"], "layers": [2, 2]}


def test_a_layer_put_in_between(diff):
    extra = 'layer { name: "norm" type: "LRN" bottom: "pool1" top: "norm" }\n'
    other = NET.replace('layer { name: "ip"', extra + 'layer { name: "ip"').replace(
        'bottom: "pool1" top: "ip"', 'bottom: "norm" top: "ip"'
    )
    _, found = diff(NET, other)
    assert changes(found) == [("added", "norm", "norm"), ("changed", "ip", "ip")]
    assert fields(found) == {"ip.bottom[0]": ("pool1", "norm")}
    assert changes(diff(other, NET)[1])[0] == ("removed", "norm", "norm")


def test_renamed_layers_are_found_by_what_they_do(diff):
    other = NET.replace('name: "conv1"', 'name: "c"').replace('name: "relu1"', 'name: "r"')
    _, found = diff(NET, other)
    assert changes(found) == [("renamed", "conv1", "c"), ("renamed", "relu1", "r")]
    assert fields(found) == {}


def test_renamed_and_changed(diff):
    other = NET.replace('name: "conv1"', 'name: "c"').replace("num_output: 4", "num_output: 5")
    _, found = diff(NET, other)
    assert changes(found) == [("renamed", "conv1", "c")]
    assert fields(found) == {"conv1.convolution_param.num_output": (4, 5)}


def test_names_that_others_use_count(diff):
    _, found = diff(
        NET,
        NET.replace('top: "loss"', 'top: "cost"')
        .replace('top: "label"', 'top: "y"')
        .replace('bottom: "label"', 'bottom: "y"'),
    )
    assert fields(found) == {"data.top[1]": ("label", "y"), "loss.top[0]": ("loss", "cost")}


def test_explicit_is_not_always_the_default(diff):
    """use_global_stats says something even where it is false, and so do an ignore_label of 0 and Scale's filler."""
    bn = 'layer { name: "bn" type: "BatchNorm" bottom: "ip" top: "bn" %s }\n'
    _, found = diff(NET + bn % "", NET + bn % "batch_norm_param { use_global_stats: false }")
    assert fields(found) == {"bn.batch_norm_param.use_global_stats": (None, False)}
    _, found = diff(NET, NET.replace('top: "loss"', 'top: "loss" loss_param { ignore_label: 0 }'))
    assert fields(found) == {"loss.loss_param.ignore_label": (None, 0)}
    scale = 'layer { name: "s" type: "Scale" bottom: "ip" top: "s" %s }\n'
    _, found = diff(NET + scale % "", NET + scale % 'scale_param { filler { type: "constant" value: 1 } }')
    assert found["same"]
    _, found = diff(NET + scale % "", NET + scale % 'scale_param { filler { type: "constant" } }')
    assert list(fields(found).values()) == [(None, "constant 0")]


# -- phases ------------------------------------------------------------------------------------------------------------


def test_each_phase_is_compared(diff):
    test = 'layer { name: "acc" type: "Accuracy" bottom: "ip" bottom: "label" top: "acc" include { phase: TEST } }\n'
    _, found = diff(NET, NET + test)
    assert [(net["phase"], net["same"]) for net in found["nets"]] == [("TRAIN", True), ("TEST", False)]
    assert diff(NET, NET + test, "--phase", "train")[0] == 0


def test_what_only_training_reads_is_no_difference_in_test(diff):
    _, found = diff(NET, NET.replace('type: "xavier"', 'type: "msra"'))
    assert [(net["phase"], net["same"]) for net in found["nets"]] == [("TRAIN", False), ("TEST", True)]


def test_train_val_and_deploy_of_a_model(capsys):
    """The short answer: what stands in place of data and loss, and that the weights fit."""
    folder = Path(__file__).resolve().parents[2] / "models/vgg_A"
    assert run(["diff", str(folder / "train_val.prototxt"), str(folder / "deploy.prototxt")]) == 1
    out = capsys.readouterr().out.replace(f"{folder}/", "")
    assert out.splitlines() == [
        "train_val.prototxt and deploy.prototxt differ in 5 layers",
        "  note: only train_val.prototxt is for training: compared in the TEST phase",
        "TEST:",
        "  - loss (SoftmaxWithLoss)  (line 286)",
        "  - accuracy (Accuracy)  (line 288)",
        "  - accuracy_top5 (Accuracy)  (line 297)",
        "  ~ data (Input)  (line 37 → 7)",
        "      type: Data → Input  (line 39 → 9)",
        "      top[1]: label → (not set)  (line 41 → 7)",
        "  + prob (Softmax)  (line 178)",
        "  parameters: 132,863,336 in both",
        "  weights of one fit the other: all 11 layers with weights have the same shapes",
    ]


def test_data_that_are_not_here_hide_no_difference(diff):
    data = 'layer { name: "data" type: "Data" top: "data" top: "label" data_param { source: "no" batch_size: 2 } }\n'
    net = data + NET[NET.index('layer { name: "conv1"') :]
    _, found = diff(net, net.replace("num_output: 4", "num_output: 6"))
    assert fields(found) == {"conv1.convolution_param.num_output": (4, 6)}
    assert found["notes"][0].startswith("shapes and parameters are not compared:")
    assert found["nets"][0]["parameters"] is None


# -- solvers -----------------------------------------------------------------------------------------------------------

SOLVER = 'net: "%s" base_lr: 0.1 lr_policy: "step" gamma: 0.1 stepsize: 30 max_iter: 90 %s'


def test_solvers(diff):
    a, b = SOLVER % ("a", "momentum: 0.9"), SOLVER.replace("30", "20") % ("a", 'type: "SGD" iter_size: 1')
    status, found = diff(a, b)
    assert (status, found["kind"]) == (1, "solver")
    assert {change["field"]: (change["old"]["value"], change["new"]["value"]) for change in found["fields"]} == {
        "momentum": (pytest.approx(0.9), 0.0),
        "stepsize": (30, 20),
    }


def test_an_old_solver_type_is_no_difference(diff):
    assert diff(SOLVER % ("a", "solver_type: ADAM momentum: 0.9"), SOLVER % ("a", 'type: "Adam" momentum: 0.9'))[0] == 0


def test_solvers_in_binary(diff):
    text = SOLVER % ("a", "")
    assert diff(text, read_solver(text).SerializeToString(), names=("a.prototxt", "b.binaryproto"))[0] == 0


def test_solvers_with_their_nets(diff):
    Path("one.prototxt").write_text(NET)
    Path("two.prototxt").write_text(NET.replace("num_output: 7", "num_output: 8"))
    a, b = SOLVER % ("one.prototxt", ""), SOLVER % ("two.prototxt", "")
    assert [change["field"] for change in diff(a, b)[1]["fields"]] == ["net"]
    status, found = diff(a, b, "--nets")
    assert (status, found["fields"]) == (1, [])
    assert fields(found) == {"ip.inner_product_param.num_output": (7, 8)}
    assert found["nets"][0]["paths"] == ["one.prototxt", "two.prototxt"]
    Path("two.prototxt").write_text("# the same\n" + NET)
    assert diff(a, b, "--nets")[0] == 0


def test_a_net_and_a_solver(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("a.prototxt").write_text(NET)
    Path("b.prototxt").write_text(SOLVER % ("a.prototxt", ""))
    assert run(["diff", "a.prototxt", "b.prototxt"]) == 2
    assert "error[C150]" in capsys.readouterr().err


# -- other people's nets -----------------------------------------------------------------------------------------------


def test_a_net_means_the_same_as_itself_whatever_it_is(shared, capsys):
    """Every 20th net of the zoo that can be read, with itself, in the phases it has."""
    files = sorted((shared / "zoo/prototxt").glob("*train*.prototxt"))[::20]
    if not files:
        pytest.skip("the zoo is not here")
    statuses = [run(["diff", str(file), str(file), "--json"]) for file in files]
    capsys.readouterr()
    assert set(statuses) <= {0, 65}
    assert statuses.count(0) > len(files) // 3

"""What `netc check` remarks on, and above all what it does not (each remark's own example: test_explanations.py)."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path

import lmdb
import numpy as np
import pytest
import torch

import netc
from netc import compile_net, proto, read_solver
from netc.check.advice import advise, compare, solver_remarks
from netc.cli._main import run

HEAD = """
layer { name: "in" type: "Input" top: "x" top: "y" input_param { shape { dim: 5 dim: 3 } shape { dim: 5 } } }
"""


def fc(name, bottom, outputs, filler='weight_filler { type: "xavier" }', extra=""):
    return (
        f'layer {{ name: "{name}" type: "InnerProduct" bottom: "{bottom}" top: "{name}" {extra} '
        f"inner_product_param {{ num_output: {outputs} {filler} }} }}\n"
    )


def loss(bottom):
    return f'layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "{bottom}" bottom: "y" top: "loss" }}\n'


def codes(text, phase="TRAIN", **options):
    return [remark.code for remark in advise(compile_net(text, phase), **options)]


def remarks(text, phase="TRAIN"):
    return {remark.code: remark for remark in advise(compile_net(text, phase))}


def pair(text):
    found = compare(compile_net(text, "TRAIN"), compile_net(text, "TEST"))
    return {remark.code: remark for remark in found}


# -- nothing to say ----------------------------------------------------------------------------------------------------


def test_a_plain_net_gives_no_remark():
    assert codes(HEAD + fc("fc1", "x", 7) + fc("fc2", "fc1", 4) + loss("fc2")) == []


SILENT = ' layer { name: "s" type: "Silence" bottom: "r" }'
NEAR_MISSES = {
    "a leaky ReLU": 'layer { name: "r" type: "ReLU" bottom: "fc" top: "r" relu_param { negative_slope: 0.1 } }',
    "a ReLU beside the loss": 'layer { name: "r" type: "ReLU" bottom: "x" top: "r" }' + SILENT,
    "a Softmax beside the loss": 'layer { name: "r" type: "Softmax" bottom: "fc" top: "r" }' + SILENT,
    "top 3 of 4": 'layer { name: "a" type: "Accuracy" bottom: "fc" bottom: "y" top: "a" accuracy_param { top_k: 3 } }',
    "one name without weights": 'layer { name: "s" type: "Power" bottom: "x" top: "r" }' + SILENT,
}


@pytest.mark.parametrize("what", NEAR_MISSES)
def test_near_misses_are_left_alone(what):
    scores = "r" if what.startswith("a leaky") else "fc"
    assert codes(HEAD + fc("fc", "x", 4) + NEAR_MISSES[what] + loss(scores)) == []


SOURCES = {
    "AnnotatedData": "annotated_data_param { } data_param { batch_size: 3 } transform_param { crop_size: 5 }",
    "VideoData": "video_data_param { } data_param { batch_size: 3 } transform_param { crop_size: 5 }",
    "DenseImageData": "dense_image_data_param { batch_size: 3 } transform_param { crop_size: 5 }",
    "ImageData": "image_data_param { batch_size: 3 } transform_param { crop_size: 5 }",
}


@pytest.mark.parametrize("kind", SOURCES)
def test_blocks_that_a_source_reads_beside_its_own_are_left_alone(kind):
    text = f'layer {{ name: "d" type: "{kind}" top: "x" top: "y" {SOURCES[kind]} }}'
    assert "A821" not in codes(text)
    assert "A821" in codes(text.replace("transform_param", "pooling_param { } transform_param"))


@pytest.mark.parametrize("where", ["save_output_param", "visualize"])
def test_settings_of_forks_that_have_no_effect(where):
    shapes = "shape { dim: 2 dim: 12 } shape { dim: 2 dim: 6 } shape { dim: 1 dim: 2 dim: 12 }"
    tops = " ".join(f'{{}}: "{name}"' for name in "abc")
    value = "save_output_param { }" if where == "save_output_param" else "visualize: true"
    text = f'layer {{ name: "i" type: "Input" {tops.replace("{}", "top")} input_param {{ {shapes} }} }}\n' + (
        f'layer {{ name: "o" type: "DetectionOutput" {tops.replace("{}", "bottom")} top: "o" '
        f"detection_output_param {{ num_classes: 2 {value} }} }}"
    )
    remark = remarks(text, "TEST")["A828"]
    assert (remark.message, remark.place.line) == (f'layer "o": detection_output_param.{where} has no effect', 2)
    assert "A828" not in codes(text.replace(value, ""), "TEST")


def test_quantised_layers_are_computed_in_floating_point():
    text = HEAD + fc("fc1", "x", 7) + fc("fc2", "fc1", 4, extra="quantization_param { }") + loss("fc2")
    assert codes(text) == ["A828"]


def test_a_layer_kept_on_purpose_is_left_alone():
    kept = "param { lr_mult: 0 } param { lr_mult: 0 }"
    assert codes(HEAD + fc("fc1", "x", 7, extra=kept) + fc("fc2", "fc1", 4) + loss("fc2")) == []


def test_splits_do_not_hide_a_soft_max():
    text = HEAD + fc("fc", "x", 4) + 'layer { name: "p" type: "Softmax" bottom: "fc" top: "p" }'
    text += 'layer { name: "a" type: "Accuracy" bottom: "p" bottom: "y" top: "a" }' + loss("p")
    assert codes(text) == ["A805"]


def test_a_loss_that_takes_the_soft_max_itself():
    """An infogain matrix as third bottom; R-FCN's loss has the probabilities as second top."""
    text = HEAD + fc("fc", "x", 4) + 'layer { name: "p" type: "Softmax" bottom: "fc" top: "p" }'
    infogain = loss("p").replace('"y" top', '"y" bottom: "h" top').replace("SoftmaxWith", "Infogain")
    matrix = 'layer { name: "h" type: "Input" top: "h" input_param { shape { dim: 4 dim: 4 } } }'
    assert codes(text + matrix + infogain) == ["A805"]
    assert codes(text + loss("p").replace("SoftmaxWithLoss", "SoftmaxWithLossOHEM")) == ["A805"]


ABOVE = 'layer { name: "a" type: "%s" bottom: "fc" top: "a" } layer { name: "b" type: "%s" bottom: "a" top: "a" %s }\n'


@pytest.mark.parametrize(
    "above, layer, settings, wanted",
    [
        ("Sigmoid", "ReLU", "", []),
        ("Sigmoid", "PReLU", "", []),
        ("TanH", "PReLU", "", ["A827"]),
        ("Sigmoid", "Softmax", "", ["A827"]),
        ("TanH", "Exp", "", ["A827"]),
        ("TanH", "Power", "power_param { scale: 2 }", ["A827"]),
        ("TanH", "Gather", "", []),
        ("AbsVal", "Power", "", []),
    ],
)
def test_what_is_overwritten_before_caffe_reads_it(above, layer, settings, wanted):
    """PReLU and ReLU leave the values of a Sigmoid as they are, and Gather all values."""
    text = HEAD + fc("fc", "x", 4) + ABOVE % (above, layer, settings) + fc("fc2", "a", 4) + loss("fc2")
    assert codes(text) == wanted


def test_scores_that_are_cut_off():
    text = HEAD + fc("fc", "x", 4) + 'layer { name: "a" type: "ReLU6" bottom: "fc" top: "a" }\n'
    remark = remarks(text + loss("a"))["A807"]
    assert remark.message == 'layer "a" (ReLU6) cuts the scores of the loss "loss" off at 0'


def test_a_kernel_of_one_with_a_stride_and_a_large_pad_are_meant():
    image = 'layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 dim: 9 dim: 8 } } }'
    conv = 'layer { name: "c" type: "Convolution" bottom: "x" top: "c" convolution_param { num_output: 4 %s } }'
    assert codes(image + conv % "kernel_size: 1 stride: 2", "TEST") == []
    assert codes(image + conv % "kernel_size: 3 pad: 100", "TEST") == []
    assert codes(image + conv % "kernel_size: 3 pad: 3", "TEST") == ["A832"]
    assert codes(image + conv % "kernel_size: 3 pad: 3 dilation: 2", "TEST") == []
    assert codes(image + conv % "kernel_size: 2 stride: 3", "TEST") == ["A831"]


# -- places ------------------------------------------------------------------------------------------------------------


def test_a_remark_points_at_the_setting():
    text = HEAD + fc("fc", "x", 4) + 'layer { name: "a" type: "Accuracy" bottom: "fc" bottom: "y" top: "a"\n'
    remark = remarks(text + "  accuracy_param { top_k: 4 } }" + loss("fc"))["A808"]
    assert (remark.place.line, remark.place.column) == (5, 27)
    first, line, caret, *_ = str(remark).splitlines()
    assert first.startswith(f"{remark.place.path}:5:27: warning[A808]: ")
    assert line[caret.index("^")] == "4"


# -- weights that stay 0 -----------------------------------------------------------------------------------------------


class Chain(torch.nn.Module):
    """Three linear layers; those in `zero` start at 0 (biases always do)."""

    def __init__(self, zero, act):
        super().__init__()
        self.layers = torch.nn.ModuleList(torch.nn.Linear(a, b) for a, b in ((3, 7), (7, 5), (5, 4)))
        self.act = act
        for layer, is_zero in zip(self.layers, zero, strict=True):
            torch.nn.init.zeros_(layer.bias)
            torch.nn.init.zeros_(layer.weight) if is_zero else torch.nn.init.xavier_uniform_(layer.weight)

    def forward(self, x):
        for layer in self.layers[:-1]:
            x = self.act(layer(x))
        return self.layers[-1](x)


ACTS = {
    "": torch.nn.Identity(),
    "ReLU": torch.nn.ReLU(),
    "TanH": torch.nn.Tanh(),
    "ReLU6": torch.nn.ReLU6(),
    "ELU": torch.nn.ELU(),
    "SeLu": torch.nn.SELU(),
    "Leaky": torch.nn.LeakyReLU(0.1),
}


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("zero", list(product([False, True], repeat=3)))
def test_weights_that_stay_zero_are_those_that_torch_leaves_there(zero, act):
    """Trained by torch's own layers: after 12 steps, what is still exactly 0 is what is remarked on."""
    torch.manual_seed(4)
    net = Chain(zero, ACTS[act])
    x, y = torch.randn(11, 3), torch.arange(11) % 4
    rule = torch.optim.SGD(net.parameters(), 0.5)
    for _ in range(12):
        rule.zero_grad()
        torch.nn.functional.cross_entropy(net(x), y).backward()
        rule.step()
    stay = [f"fc{i}" for i, layer in enumerate(net.layers) if not layer.weight.detach().any()]

    text, bottom = HEAD, "x"
    for i, (is_zero, outputs) in enumerate(zip(zero, (7, 5, 4), strict=True)):
        text += fc(f"fc{i}", bottom, outputs, "" if is_zero else 'weight_filler { type: "xavier" }')
        bottom = f"fc{i}"
        if act and i < 2:
            slope = "relu_param { negative_slope: 0.1 }" if act == "Leaky" else ""
            kind = "ReLU" if act == "Leaky" else act
            text += f'layer {{ name: "a{i}" type: "{kind}" bottom: "{bottom}" top: "{bottom}" {slope} }}\n'
    found = remarks(text + loss(bottom)).get("A811")
    assert (found is not None) == bool(stay)
    if found is not None:
        assert f"({', '.join(stay)})" in found.message


DETECTIONS = """
layer { name: "c" type: "Convolution" bottom: "x" top: "c" convolution_param { num_output: 2 kernel_size: 3 } }
layer { name: "out" type: "Softmax" bottom: "c" top: "out" include { phase: TEST } }
"""


@pytest.mark.parametrize(
    "source", ["", 'type: "Data" data_param { source: "a" batch_size: 1 } transform_param { crop_size: 8 }']
)
@pytest.mark.parametrize(("rule", "phases"), [("", ["TEST"]), ("include { phase: TRAIN }", ["TRAIN"])])
def test_a_net_without_a_loss_is_asked_for_one_where_a_source_is_for_training(tmp_path, source, rule, phases):
    """SSD's deploy nets have a DetectionOutput of the TEST phase, and are not for training."""
    file = tmp_path / "net.prototxt"
    own = source or 'type: "Input" input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } }'
    file.write_text(f'layer {{ name: "in" top: "x" {own} {rule} }}' + DETECTIONS)
    report = netc.check(file)
    assert [net.label for net in report.nets] == phases
    assert [remark.code for remark in report.advice] == (["A801"] if rule else [])


def test_weights_that_come_from_elsewhere_need_no_filler():
    text = HEAD + fc("fc1", "x", 7, "") + fc("fc2", "fc1", 4, "") + loss("fc2")
    assert codes(text) == ["A811"]
    assert codes(text, initialised=True) == []


# -- the size of the signal --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "filler, factor",
    [
        ('type: "gaussian" std: 9', 9 * 48**0.5),
        ('type: "uniform" min: -20 max: 20', 20 * (48 / 3) ** 0.5),
        ('type: "xavier"', 1),
        ('type: "msra"', 2**0.5),
        ('type: "xavier" variance_norm: FAN_OUT', (48 / 11) ** 0.5),
    ],
)
def test_the_signal_is_followed_through_every_filler(filler, factor):
    """Two layers after 60, the size of pixels; each is remarked on if it ends beyond 1000."""
    shapes = "shape { dim: 2 dim: 3 dim: 4 dim: 4 } shape { dim: 2 }"
    image = f'layer {{ name: "in" type: "Input" top: "x" top: "y" input_param {{ {shapes} }} }}'
    text = image + fc("fc1", "x", 11, f"weight_filler {{ {filler} }}")
    text += fc("fc2", "fc1", 5, 'weight_filler { type: "xavier" }') + loss("fc2")
    found = remarks(text).get("A810")
    assert (found is not None) == (60 * factor > 1000)
    if found:
        assert float(found.message.split("about ")[1].split()[0]) == pytest.approx(60 * factor, rel=0.5)


PHOTOS = """layer {{ name: "data" type: "{type}" top: "x" top: "y" transform_param {{ crop_size: 8 {transform} }}
  {field} {{ source: "photos" batch_size: 2 }} }}
"""


def conv(name, bottom, filler, extra=""):
    return (
        f'layer {{ name: "{name}" type: "Convolution" bottom: "{bottom}" top: "{name}" convolution_param {{ '
        f"num_output: 8 kernel_size: 3 pad: 1 weight_filler {{ {filler} }} }} }} {extra}\n"
        f'layer {{ name: "r{name}" type: "ReLU" bottom: "{name}" top: "{name}" }}\n'
    )


def on_photos(transform="", filler='type: "msra"', last='type: "xavier"', layers=3, type="Data", norm=""):
    field = {"Data": "data_param", "ImageData": "image_data_param"}[type]
    text = PHOTOS.format(type=type, transform=transform, field=field)
    for number in range(layers):
        extra = f'layer {{ name: "n{number}" type: "{norm}" bottom: "c{number}" top: "c{number}" }}' if norm else ""
        text += conv(f"c{number}", "x" if not number else f"c{number - 1}", filler, extra)
    return text + fc("fc", f"c{layers - 1}", 10, f"weight_filler {{ {last} }}") + loss("fc")


MEAN = "mean_value: [104, 117, 124]"


@pytest.mark.parametrize(
    "net, size",
    [
        (on_photos(MEAN), 60),
        (on_photos(MEAN, layers=5), 60),
        (on_photos('mean_file: "mean.binaryproto"', type="ImageData"), 60),
        (on_photos(), 130),
        (on_photos(MEAN, filler='type: "xavier"', layers=2), 30),
        (on_photos(f"{MEAN} scale: 0.5"), 30),
        (on_photos(f"{MEAN} scale: 0.0156"), None),
        (on_photos("scale: 0.00390625"), None),
        (on_photos(MEAN, filler='type: "gaussian" std: 0.01'), None),
        (on_photos(MEAN, norm="BatchNorm"), None),
        (on_photos(MEAN, last='type: "gaussian" std: 0.001'), None),
    ],
)
def test_the_scale_of_pixels_is_held_against_the_fillers(net, size):
    found = remarks(net).get("A819")
    assert (found is not None) == (size is not None)
    if found is not None:
        assert f"about ±{size}," in found.message
        told = float(found.hint.split()[1])
        now = 0.5 if "0.5 }" in net else 1
        assert 0.5 <= size * told / now <= 2  # the scores are then about ±1
        assert found.place.text.strip().startswith('layer { name: "data"')


def test_the_scale_that_is_advised_is_taken():
    told = remarks(on_photos(MEAN))["A819"].hint.split()[1]
    assert "A819" not in remarks(on_photos(f"{MEAN} scale: {told}"))


def test_of_inputs_that_are_not_pixels_no_scale_is_said():
    """An Input layer holds what the caller gives, and a database of many channels holds no pixels."""
    shapes = "shape { dim: 2 dim: 3 dim: 8 dim: 8 } shape { dim: 2 }"
    text = f'layer {{ name: "in" type: "Input" top: "x" top: "y" input_param {{ {shapes} }} }}'
    text += conv("c", "x", 'type: "msra"') + fc("fc", "c", 10) + loss("fc")
    assert "A819" not in remarks(text)


# -- TRAIN and TEST ----------------------------------------------------------------------------------------------------

TWO = """
layer { name: "d" type: "Data" top: "x" include { phase: TRAIN }
  transform_param { crop_size: 8 %s } data_param { source: "a" batch_size: 2 backend: LMDB } }
layer { name: "d" type: "Data" top: "x" include { phase: TEST }
  transform_param { crop_size: 8 %s } data_param { source: "b" batch_size: 3 backend: LMDB } }
layer { name: "fc" type: "InnerProduct" bottom: "x" top: "fc" inner_product_param { num_output: 4 } }
"""


@pytest.mark.parametrize(
    "train, test, said",
    [
        ("mirror: true scale: 0.5", "scale: 0.5", None),
        ("scale: 0.5", "", "scale 1 instead of 0.5"),
        ("mean_value: 3", "mean_value: 3", None),
        ("mean_value: 3", "mean_value: 4", "mean 4 instead of 3"),
        ("mean_value: 3", 'mean_file: "m"', None),
        ("mean_value: 3", "", "only one of the two subtracts a mean"),
    ],
)
def test_images_prepared_alike(train, test, said):
    found = pair(TWO % (train, test)).get("A841")
    assert (found.message.rpartition(": ")[2] if found else None) == said


# -- solvers -----------------------------------------------------------------------------------------------------------

SOLVER = (
    'net: "n" base_lr: 0.01 momentum: 0.9 weight_decay: 0.0005 lr_policy: "step" gamma: 0.1 stepsize: 30 max_iter: 90'
)


def test_a_plain_solver_gives_no_remark():
    assert solver_remarks(read_solver(SOLVER)) == []


@pytest.mark.parametrize(
    "old, new, code",
    [
        ("base_lr: 0.01", "", "A850"),
        ("gamma: 0.1", "", "A851"),
        ("gamma: 0.1", "gamma: 2", "A852"),
        ("stepsize: 30", "stepsize: 90", "A854"),
        ("stepsize: 30", "stepsize: 359", "A854"),
        ("max_iter: 90", "max_iter: 90 test_interval: 359", "A858"),
        ("momentum: 0.9", "momentum: 9", "A857"),
        ("momentum: 0.9", "momentum: 0.09", "A857"),
        ("weight_decay: 0.0005", "weight_decay: 5", "A856"),
        ("weight_decay: 0.0005", "weight_decay: -0.0005", "A856"),
        ("max_iter: 90", "max_iter: 90 test_interval: 91", "A858"),
        ("max_iter: 90", "max_iter: 90 power: 2", "A855"),
        ("max_iter: 90", "max_iter: 90 iter_size: 0", "A860"),
        ("max_iter: 90", "max_iter: 90 test_iter: 0 test_interval: 9", "A858"),
        ("base_lr: 0.01", "base_lr: -0.01", "A856"),
    ],
)
def test_one_slip_in_a_solver_gives_one_remark(old, new, code):
    assert old in SOLVER
    assert [remark.code for remark in solver_remarks(read_solver(SOLVER.replace(old, new)))] == [code]


@pytest.mark.parametrize(
    "text",
    [
        'base_lr: 1 lr_policy: "fixed" max_iter: 9 type: "AdaDelta" momentum: 0.95',
        'base_lr: 0.1 lr_policy: "step" gamma: 1.0 stepsize: 10000000 max_iter: 40000 momentum: 0.9',  # SegNet's
        'base_lr: 0.1 lr_policy: "step" gamma: 1 stepsize: 5000 max_iter: 60000',  # Caffe's, with BatchNorm
        'base_lr: 0.1 lr_policy: "step" gamma: 0.1 stepsize: 10000000 max_iter: 30001 test_interval: 1000000',  # HED's
        'base_lr: 0.001 lr_policy: "fixed" max_iter: 9 type: "Adam" momentum: 0.9 test_interval: 999999999',
        'base_lr: 0.1 lr_policy: "multistep" gamma: 0.1 stepvalue: [3, 6] max_iter: 9',
        'base_lr: 0.1 lr_policy: "poly" power: 0.5 max_iter: 9',
    ],
)
def test_usual_solvers_give_no_remark(text):
    assert solver_remarks(read_solver(f'net: "n" {text}')) == []


# -- data --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def database(tmp_path, monkeypatch):
    """database(labels): an LMDB of 3×6×5 images in the working directory, called "db"."""
    monkeypatch.chdir(tmp_path)

    def made(labels, name="db"):
        pixels = np.zeros((3, 6, 5), np.uint8).tobytes()
        with lmdb.open(name, map_size=1 << 24) as env, env.begin(write=True) as write:
            for i, label in enumerate(labels):
                record = proto.Datum(channels=3, height=6, width=5, data=pixels, label=label)
                write.put(b"%08d" % i, record.SerializeToString())

    return made


FED = """
layer { name: "d" type: "Data" top: "x" top: "y" transform_param { mean_value: 9 scale: 0.0156 }
  data_param { source: "db" batch_size: 4 backend: LMDB %s } }
layer { name: "fc" type: "InnerProduct" bottom: "x" top: "fc"
  inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "y" top: "loss" %s }
"""


def checked(capsys, text, name="n.prototxt"):
    Path(name).write_text(text)
    status = run(["check", name, "--json"])
    found = json.loads(capsys.readouterr().out)["files"][0]
    return status, found["warnings"], found


@pytest.mark.parametrize(
    "labels, extra, wanted",
    [
        ([0, 2, 1] * 20, "", []),
        ([0, 3, 1] * 20, "", ["A812"]),
        ([1, 3, 2] * 20, "", ["A812"]),
        ([0, 255, 1] * 20, "loss_param { ignore_label: 255 }", ["A813"]),
        ([0, 1] * 30, "", ["A813"]),
        ([0] * 25 + [1] * 25 + [2] * 25, "", ["A814"]),
        ([0] * 2500 + [1] * 2500 + [2] * 2500, "", ["A814"]),
    ],
    ids=["fine", "too large", "from 1", "ignored", "too few", "sorted", "sorted and long"],
)
def test_labels(database, capsys, labels, extra, wanted):
    database(labels)
    status, warnings, found = checked(capsys, FED % ("", extra))
    assert status == 0
    assert [warning["code"] for warning in warnings] == wanted
    assert found["nets"][0]["data"][0]["records"] == len(labels)
    if labels[:2] == [1, 3]:
        assert "start at 1" in warnings[0]["hint"]


def test_shuffling_mends_sorted_records(database, capsys):
    database([0] * 25 + [1] * 25 + [2] * 25)
    assert checked(capsys, FED % ("sampling_param { shuffle: true }", ""))[1] == []
    assert checked(capsys, FED % ("shuffle: true", ""))[1] == []


@pytest.mark.parametrize(
    "size, test_iter, wanted", [(12, 3, []), (10, 3, []), (12, 2, ["A815"]), (12, 4, ["A815"]), (13, 3, ["A815"])]
)
def test_coverage(database, capsys, size, test_iter, wanted):
    """Batches of 4. A last batch that wraps round cannot be helped, and is left alone."""
    database([i % 3 for i in range(size)])
    Path("net.prototxt").write_text(FED % ("", ""))
    text = f'net: "net.prototxt" base_lr: 0.1 lr_policy: "fixed" max_iter: 9 test_interval: 3 test_iter: {test_iter}'
    _, warnings, _ = checked(capsys, text, "solver.prototxt")
    assert [warning["code"] for warning in warnings if warning["code"] != "A842"] == wanted


def test_a_damaged_database_is_reported_once_and_by_the_probe(database, capsys):
    database([0, 1, 2])
    Path("db/data.mdb").write_bytes(b"no database")
    status, warnings, found = checked(capsys, FED % ("", ""))
    assert status == 65
    assert [error["code"] for error in found["errors"]] == ["D510"]
    assert warnings == []


# -- other people's nets -----------------------------------------------------------------------------------------------

CAFFES_OWN = {
    "models__bvlc_alexnet__train_val": [],
    "models__bvlc_reference_caffenet__train_val": [],
    "models__bvlc_googlenet__train_val": ["A830"],
    "models__finetune_flickr_style__train_val": ["A826"],
    "examples__cifar10__cifar10_full_train_test": ["A830"],
    "examples__hdf5_classification__nonlinear_train_val": [],
}


@pytest.mark.parametrize("name", CAFFES_OWN)
def test_caffes_own_nets(shared, name):
    """Of these nets nothing is said but what is so: poolings that round up, and a list that is not shuffled."""
    path = shared / f"zoo/prototxt/BVLC__caffe__{name}.prototxt"
    if not path.is_file():
        pytest.skip("the zoo is not here")

    def probe(layer, phase):
        if layer.type == "HDF5Data":
            return [(layer.hdf5_data_param.batch_size, 4), (layer.hdf5_data_param.batch_size,)]
        size = layer.transform_param.crop_size or 32
        batch = layer.data_param.batch_size or layer.image_data_param.batch_size
        return [(batch, 3, size, size), (batch,)]

    train, test = (compile_net(path, phase, probe=probe) for phase in ("TRAIN", "TEST"))
    found = {remark.code for remark in (*advise(train), *advise(test), *compare(train, test))}
    assert sorted(found) == CAFFES_OWN[name]


def test_a_loss_without_a_bottom_has_no_signal() -> None:
    text = 'layer { name: "p" type: "Parameter" top: "p" loss_weight: 1 parameter_param { shape { dim: 3 } } }'
    assert [remark.code for remark in advise(netc.compile_net(text)) if remark.code == "A810"] == []

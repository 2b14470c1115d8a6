"""The net that training wrote, made ready to be run: what stays shows in the flow of its data."""

from __future__ import annotations

import numpy as np
import pytest

from netc import compile_net
from netc.graph.compile import compile_layers
from netc.graph.read import draft_net
from netc.passes.deploy import deployed, state_layers

HDF5 = 'layer { name: "data" type: "HDF5Data" %s hdf5_data_param { source: "no" batch_size: 6 } }\n'
IP = 'layer { name: "%s" type: "InnerProduct" bottom: "%s" top: "%s" inner_product_param { num_output: 4 } }\n'
LOSS = 'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "%s" bottom: "label" top: "loss" }\n'
IMAGES = """layer { name: "mnist" type: "Data" top: "data" top: "label" data_param { batch_size: 8 }
  transform_param { crop_size: 6 } }
"""


def tops(*names):
    return HDF5 % " ".join(f'top: "{name}"' for name in names)


def layer(name, kind, bottoms, made, rest=""):
    listed = " ".join(f'bottom: "{blob}"' for blob in bottoms) + " " + " ".join(f'top: "{blob}"' for blob in made)
    return f'layer {{ name: "{name}" type: "{kind}" {listed} {rest} }}\n'


def cut(text, learned, shapes=None, phase=1, stages=()):
    """What is left of a net: the result, its inputs, and the outputs of the compiled net."""
    sizes = {"": (6, 3)} | (shapes or {})

    def shapes_of(node):
        return [sizes.get(top, sizes[""]) for top in node.param.top]

    found = deployed(state_layers(draft_net(text), phase, stages=stages), learned, shapes_of)
    return found, found.fed, compile_layers(found.layers).outputs if found.layers.params else ()


def test_a_training_net_with_its_splits() -> None:
    """The convolutions read the data through a Split; the scores keep one reader of three."""
    text = IMAGES + (
        layer("c1", "Convolution", ["data"], ["c1"], "convolution_param { num_output: 2 kernel_size: 3 }")
        + layer("c2", "Convolution", ["data"], ["c2"], "convolution_param { num_output: 2 kernel_size: 3 }")
        + layer("e", "Eltwise", ["c1", "c2"], ["e"])
        + IP % ("f", "e", "f")
        + LOSS % "f"
        + layer("acc", "Accuracy", ["f", "label"], ["acc"], "include { phase: TRAIN }")
        + layer("p", "Softmax", ["f"], ["p"])
    )
    written = compile_net(text, "TRAIN", probe=lambda layer, phase: [(8, 1, 6, 6), (8,)]).param
    assert [layer.name for layer in written.layer if layer.type == "Split"] == [
        *("data_mnist_0_split", "label_mnist_1_split", "f_f_0_split"),
    ]
    before = written.SerializeToString(deterministic=True)
    layers = state_layers(draft_net(written), 1)
    found = deployed(layers, {"c1", "c2", "f"}, lambda node: [(8, 1, 6, 6), None], own_phases=False)
    assert written.SerializeToString(deterministic=True) == before
    assert [(layer.name, list(layer.bottom), list(layer.top)) for layer in found.layers.params] == [
        ("data", [], ["data"]),
        ("c1", ["data"], ["c1"]),
        ("c2", ["data"], ["c2"]),
        ("e", ["c1", "c2"], ["e"]),
        ("f", ["e"], ["f"]),
        ("p", ["f"], ["p"]),
    ]
    assert (found.dropped, found.unread) == ([("loss", "SoftmaxWithLoss")], ["label"])
    graph = compile_layers(found.layers)
    assert [node.name for node in graph.nodes][:2] == ["data", "data_data_0_split"]
    assert (graph.shapes["data"], graph.outputs) == ((8, 1, 6, 6), ("p",))


TWO = IP % ("fi", "img", "fi") + IP % ("fa", "attr", "fa") + layer("cat", "Concat", ["fi", "fa"], ["cat"])

FLOWS = {
    "two streams": (tops("img", "attr", "label") + TWO + IP % ("f8", "cat", "f8") + LOSS % "f8", ["img", "attr"], "f8"),
    "the label first": (tops("label", "img") + IP % ("f", "img", "f") + LOSS % "f", ["img"], "f"),
    "the label used by the trunk": (
        tops("img", "label")
        + IP % ("f1", "img", "f1")
        + layer("cat", "Concat", ["f1", "label"], ["cat"])
        + IP % ("f2", "cat", "f2")
        + LOSS.replace("SoftmaxWithLoss", "EuclideanLoss") % "f2",
        ["img", "label"],
        "f2",
    ),
    "labels cut apart": (
        tops("img", "label2")
        + layer("cut", "Slice", ["label2"], ["label", "other"])
        + layer("flat", "Flatten", ["other"], ["flat"])
        + IP % ("f", "img", "f")
        + IP % ("g", "img", "g")
        + LOSS % "f"
        + layer("loss2", "EuclideanLoss", ["g", "flat"], ["loss2"]),
        ["img"],
        "f g",
    ),
    "labels that are computed with": (
        tops("img", "label")
        + layer("half", "Power", ["label"], ["y"], "power_param { scale: 0.5 }")
        + IP % ("f", "img", "f")
        + layer("loss", "EuclideanLoss", ["y", "f"], ["loss"]),
        ["img"],
        "f",
    ),
    "a loss in the middle": (
        tops("img", "label")
        + IP % ("f1", "img", "f1")
        + IP % ("aux", "f1", "aux")
        + LOSS.replace('name: "loss"', 'name: "loss1"').replace('top: "loss"', 'top: "loss1" loss_weight: 0.3') % "aux"
        + IP % ("f2", "f1", "f2")
        + LOSS % "f2",
        ["img"],
        "aux f2",
    ),
    "an autoencoder": (
        tops("data")
        + layer("flat", "Flatten", ["data"], ["flat"])
        + IP % ("code", "flat", "code")
        + IP % ("back", "code", "back")
        + layer("loss", "SigmoidCrossEntropyLoss", ["back", "flat"], ["loss"])
        + layer("sum", "EuclideanLoss", ["back", "flat"], ["sum"]),
        ["data"],
        "back",
    ),
    "a siamese net": (
        tops("pair", "same")
        + layer("cut", "Slice", ["pair"], ["a", "b"], "slice_param { axis: 2 }")
        + IP % ("fa", "a", "fa")
        + IP % ("fb", "b", "fb")
        + layer("loss", "ContrastiveLoss", ["fa", "fb", "same"], ["loss"]),
        ["pair"],
        "fa fb",
    ),
    "what is silenced": (
        tops("img", "label", "more") + IP % ("f", "img", "f") + layer("hush", "Silence", ["label", "more"], []),
        ["img"],
        "f",
    ),
    "scores that a silenced branch reads too": (
        tops("img", "label")
        + IP % ("f", "img", "f")
        + IP % ("aux", "f", "aux")
        + layer("r", "ReLU", ["aux"], ["r"])
        + LOSS % "f"
        + layer("hush", "Silence", ["r", "f"], []),
        ["img"],
        "f",
    ),
    "a label's silenced branch": (
        tops("img", "label")
        + IP % ("f", "img", "f")
        + layer("half", "Power", ["label"], ["y"], "power_param { scale: 0.5 }")
        + LOSS % "f"
        + layer("hush", "Silence", ["y"], []),
        ["img"],
        "f",
    ),
    "one top silenced": (
        tops("img", "label")
        + IP % ("f1", "img", "f1")
        + layer("cut", "Slice", ["f1"], ["a", "b"])
        + IP % ("f", "a", "f")
        + LOSS % "f"
        + layer("hush", "Silence", ["label", "b", "f1"], []),
        ["img"],
        "f",
    ),
    "nothing but what is silenced": (
        tops("img", "label")
        + IP % ("f1", "img", "f1")
        + IP % ("f2", "f1", "f2")
        + layer("hush", "Silence", ["f2", "label"], []),
        ["img"],
        "f2",
    ),
    "weights of samples": (
        tops("img", "target", "inside", "outside")
        + IP % ("f", "img", "f")
        + layer("loss", "SmoothL1Loss", ["f", "target", "inside", "outside"], ["loss"]),
        ["img"],
        "f",
    ),
    "a mask that the scores need": (
        tops("img", "mask", "label")
        + IP % ("f", "img", "f")
        + layer("keep", "Eltwise", ["f", "mask"], ["kept"], "eltwise_param { operation: PROD }")
        + LOSS % "kept",
        ["img", "mask"],
        "kept",
    ),
    "no parameters": (
        tops("img", "label") + layer("p", "Power", ["img"], ["p"], "power_param { scale: 2 }") + LOSS % "p",
        ["img"],
        "p",
    ),
    "a label that nobody reads in this phase": (tops("img", "label") + IP % ("f", "img", "f"), ["img"], "f"),
    "an output that only passes on": (
        tops("img", "label") + IP % ("f", "img", "f") + layer("r", "Flatten", ["img"], ["r"]) + LOSS % "f",
        ["img"],
        "f r",
    ),
    "an output beside the losses": (
        tops("img", "label")
        + IP % ("f", "img", "f")
        + LOSS % "f"
        + layer("p", "Power", ["img"], ["p"], "power_param { shift: 1 }"),
        ["img"],
        "f p",
    ),
    "what reads a loss": (
        tops("img", "label")
        + IP % ("f", "img", "f")
        + LOSS % "f"
        + layer("twice", "Power", ["loss"], ["twice"], "power_param { scale: 2 }"),
        ["img"],
        "f",
    ),
    "a loss of one's own": (
        tops("img", "label")
        + IP % ("f", "img", "f")
        + layer("l1", "Reduction", ["f"], ["l1"], "loss_weight: 0.1 reduction_param { operation: ASUM }")
        + LOSS % "f",
        ["img"],
        "f",
    ),
    "a file that is written": (
        tops("img", "label")
        + IP % ("f", "img", "f")
        + layer("out", "HDF5Output", ["f", "label"], [], 'hdf5_output_param { file_name: "x.h5" }'),
        ["img"],
        "f",
    ),
}


@pytest.mark.parametrize("flow", FLOWS)
def test_what_the_outputs_need_stays(flow) -> None:
    text, inputs, outputs = FLOWS[flow]
    learned = {
        name for name in ("fi", "fa", "f", "g", "f1", "f2", "f8", "aux", "code", "back", "fb") if f'"{name}"' in text
    }
    sizes = {"mask": (6, 4), "target": (6, 4), "inside": (6, 4), "outside": (6, 4), "label2": (6, 2)}
    sizes |= {"pair": (6, 1, 2)}
    found, fed, made = cut(text, learned, sizes)
    assert (fed, list(made)) == (inputs, outputs.split())
    assert all(compile_layers(found.layers).shapes[name][0] == 6 for name in inputs)


def test_a_net_that_only_compares_has_nothing_left() -> None:
    text = tops("scores", "label") + layer("acc", "Accuracy", ["scores", "label"], ["acc"])
    found, fed, _ = cut(text, set())
    assert (fed, found.layers.params, found.dropped) == ([], [], [("acc", "Accuracy")])


def test_a_net_with_inputs_stays() -> None:
    text = 'layer { name: "x" type: "Input" top: "x" } layer { name: "s" type: "Split" bottom: "x" top: "a" top: "b" }'
    found, _, made = cut(text, set())
    assert [layer.type for layer in found.layers.params] == ["Input", "Split"]
    assert made == ("a", "b")
    text = 'input: "x" input_shape { dim: 2 dim: 3 } input: "label" input_shape { dim: 2 } ' + LOSS % "x"
    assert cut(text, set())[2] == ("loss",)


def test_losses_of_a_net_with_inputs_go_when_asked() -> None:
    """And of an Input layer the tops that only they read."""
    text = """
    layer { name: "in" type: "Input" top: "x" top: "label" input_param { shape { dim: 2 dim: 3 } shape { dim: 2 } } }
    """
    text += IP % ("f", "x", "f") + LOSS % "f" + layer("p", "Softmax", ["f"], ["p"])
    found = deployed(state_layers(draft_net(text), 1), {"f"}, lambda node: [None] * len(node.param.top), judged=False)
    made = compile_layers(found.layers)
    assert ([layer.name for layer in found.layers.params], made.inputs, made.outputs) == (
        ["x", "f", "p"],
        ("x",),
        ("p",),
    )
    assert made.shapes["x"] == (2, 3)


MADE = """
layer { name: "ref" type: "DummyData" top: "ref" dummy_data_param { shape { dim: 1 dim: 3 } %s } }
layer { name: "sum" type: "Eltwise" bottom: "x" bottom: "ref" top: "sum" }
"""
X = 'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 3 } } }'


def test_dummy_data_are_made_or_given() -> None:
    """Constants stay; random values, and those of a net that has nothing else, are inputs."""
    constant, gaussian = "data_filler { value: 2.5 }", 'data_filler { type: "gaussian" }'
    assert cut(X + MADE % constant, set())[1] == []
    assert cut(X + MADE % gaussian, set(), {"": (1, 3)})[1] == ["ref"]
    alone = layer("d", "DummyData", [], ["x", "label"], "dummy_data_param { shape { dim: 6 dim: 3 } }")
    found, fed, made = cut(alone + IP % ("f", "x", "f") + LOSS % "f", {"f"})
    assert (fed, made, found.unread) == (["x"], ("f",), ["label"])


def test_the_data_layer_of_the_other_phase_stands_in() -> None:
    """A file that training wrote has the data layer of training alone."""
    data = IMAGES.replace("data_param", "include { phase: TRAIN } data_param")
    text = data + layer("c", "Convolution", ["data"], ["c"], "convolution_param { num_output: 2 kernel_size: 3 }")
    assert cut(text, {"c"}, {"data": (8, 3, 6, 6)})[1:] == (["data"], ("c",))
    both = (
        IMAGES.replace("batch_size: 8", "batch_size: 3").replace("data_param", "include { phase: TEST } data_param")
        + text
    )
    assert [layer.name for layer in state_layers(draft_net(both), 1).params] == ["mnist", "c"]


def test_nothing_given_is_changed() -> None:
    text, _, _ = FLOWS["two streams"]
    draft = draft_net(text)
    before = draft.param.SerializeToString(deterministic=True)
    deployed(state_layers(draft, 1), {"fi"}, lambda node: [(6, 3)] * len(node.param.top))
    assert draft.param.SerializeToString(deterministic=True) == before
    assert np.array_equal(len(draft.origins), len(draft.param.layer))

"""What a conversion takes a net for: its inputs, its outputs, its state, what an input means; the cases of issue 13.

What was made is compared with netc's walk of the net and with onnxruntime's run of the file, each on inputs of its own.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

import netc
from netc import weights
from netc.cli._main import run
from netc.errors import NetcError
from netc.runtime.export.convert import Options, convert


def model(path, param, shapes, seed=3):
    """A .caffemodel of a net with random arrays of these shapes, as training would have written it."""
    random = np.random.default_rng(seed)
    arrays = {
        name: [random.standard_normal(shape).astype("<f4") for shape in listed] for name, listed in shapes.items()
    }
    weights.write_caffemodel(path, param, arrays)
    return str(path), arrays


def onnx_run(path, inputs):
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_outputs()]
    assert [value.name for value in session.get_inputs()] == list(inputs)
    return dict(zip(names, session.run(names, inputs), strict=True))


TWO = """
layer { name: "data" type: "HDF5Data" top: "img" top: "attr" top: "label"
  hdf5_data_param { source: "nothere.txt" batch_size: 4 } }
layer { name: "fc_img" type: "InnerProduct" bottom: "img" top: "fi" inner_product_param { num_output: 5 } }
layer { name: "fc_attr" type: "InnerProduct" bottom: "attr" top: "fa" inner_product_param { num_output: 5 } }
layer { name: "cat" type: "Concat" bottom: "fi" bottom: "fa" top: "cat" }
layer { name: "fc8" type: "InnerProduct" bottom: "cat" top: "fc8" inner_product_param { num_output: 3 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc8" bottom: "label" top: "loss" }
"""
TWO_TOLD = {"img": (7,), "attr": (2,)}
TWO_SHAPES = {"fc_img": [(5, 7), (5,)], "fc_attr": [(5, 2), (5,)], "fc8": [(3, 10), (3,)]}


def test_several_streams(tmp_path):
    path, arrays = model(tmp_path / "two.caffemodel", netc.read_net(TWO), TWO_SHAPES)
    made = convert(path, str(tmp_path / "two.onnx"), Options(shapes={"img": (7,), "attr": (2,), "cont": (3,)}))
    assert (
        made.remarks[:2]
        == [
            'left out, no output needs them: "loss" (SoftmaxWithLoss)',
            '--shape was not needed for what is not an input: "cont"',
        ][::-1]
    )
    random = np.random.default_rng(0)
    img, attr = random.standard_normal((9, 7)).astype("f4"), random.standard_normal((9, 2)).astype("f4")
    by_hand = np.concatenate(
        [x @ arrays[name][0].T + arrays[name][1] for name, x in (("fc_img", img), ("fc_attr", attr))], 1
    )
    by_hand = by_hand @ arrays["fc8"][0].T + arrays["fc8"][1]
    found = onnx_run(tmp_path / "two.onnx", {"img": img, "attr": attr})
    assert list(found) == ["fc8"]
    assert np.allclose(found["fc8"], by_hand, atol=1e-5)


@pytest.mark.parametrize("to", ["onnx", "pt2"])
def test_scores_that_a_silenced_branch_reads_too(tmp_path, to):
    text = """
layer { name: "d" type: "HDF5Data" top: "x" top: "y" hdf5_data_param { source: "no.txt" batch_size: 4 } }
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip" inner_product_param { num_output: 2 } }
layer { name: "l" type: "EuclideanLoss" bottom: "ip" bottom: "y" top: "l" }
layer { name: "aux" type: "InnerProduct" bottom: "ip" top: "aux" inner_product_param { num_output: 3 } }
layer { name: "hush" type: "Silence" bottom: "aux" }
"""
    shapes = {"ip": [(2, 3), (2,)], "aux": [(3, 2), (3,)]}
    path, _ = model(tmp_path / "m.caffemodel", netc.read_net(text), shapes)
    made = convert(path, str(tmp_path / f"m.{to}"), Options(shapes={"x": (3,)}))
    assert [run.name for run in made.parity.runs] == ["ip"]
    left = 'left out, no output needs them: "l" (EuclideanLoss), "aux" (InnerProduct), "hush" (Silence)'
    assert left in made.remarks


def test_a_net_without_a_name_or_an_output(tmp_path):
    text = DEPLOY % "" + 'layer { name: "hush" type: "Silence" bottom: "c" }'
    path, _ = model(tmp_path / "m.caffemodel", netc.read_net(text), {"c": [(2, 3, 3, 3), (2,)]})
    with pytest.raises(NetcError, match="the net has no output"):
        convert(path, str(tmp_path / "m.pt2"))


@pytest.mark.parametrize("net", [None, TWO])
@pytest.mark.parametrize("to", ["safetensors", "npz", "hdf5", "caffemodel"])
def test_formats_of_weights_alone_need_no_shapes(tmp_path, net, to):
    path, arrays = model(tmp_path / "two.caffemodel", netc.read_net(TWO), TWO_SHAPES)
    made = convert(path, str(tmp_path / "made"), Options(net=net, to=to))
    assert len(made.parity.arrays) == 6
    found = weights.read(made.out)
    assert {name: len(blobs) for name, blobs in found.items() if blobs} == dict.fromkeys(arrays, 2)
    if to in ("safetensors", "caffemodel"):  # the net came along
        again = convert(str(made.out), str(tmp_path / "two.npz"), Options(shapes=TWO_TOLD, run=True))
        assert {one.name for one in again.parity.runs} >= {"fi", "fa", "cat", "fc8"}


def test_weights_that_a_net_of_unknown_shape_lacks(tmp_path):
    shapes = {name: shape for name, shape in TWO_SHAPES.items() if name != "fc_attr"}
    path, _ = model(tmp_path / "two.caffemodel", netc.read_net(TWO), shapes)
    with pytest.raises(NetcError, match="fc_attr") as caught:
        convert(path, str(tmp_path / "x.npz"), Options(net=TWO))
    assert caught.value.code == "W764"


def test_what_is_not_said_is_asked_for(tmp_path):
    path, _ = model(tmp_path / "two.caffemodel", netc.read_net(TWO), TWO_SHAPES)
    with pytest.raises(NetcError) as caught:
        convert(path, str(tmp_path / "x.pt2"), Options(net=TWO, shapes={"img": (7,)}))
    assert (caught.value.code, caught.value.hint) == ("W763", "say how large their records are: --shape attr=…")
    with pytest.raises(NetcError) as caught:
        convert(path, str(tmp_path / "x.pt2"), Options(net=TWO, shapes={"img": (9,), "attr": (2,)}))
    assert caught.value.code == "W721"
    assert list(tmp_path.iterdir()) == [tmp_path / "two.caffemodel"]


def test_the_batch_is_the_files(tmp_path):
    """Six rows that a Slice parts: a batch of 1 would not do."""
    text = """
    layer { name: "data" type: "MemoryData" top: "data" top: "label"
      memory_data_param { batch_size: 6 channels: 1 height: 2 width: 3 } }
    layer { name: "cut" type: "Slice" bottom: "data" top: "a" top: "b" slice_param { axis: 0 slice_point: 2 } }
    layer { name: "f" type: "InnerProduct" bottom: "a" top: "f" inner_product_param { num_output: 4 } }
    layer { name: "g" type: "InnerProduct" bottom: "b" top: "g" inner_product_param { num_output: 4 } }
    """
    path, arrays = model(tmp_path / "n.caffemodel", netc.read_net(text), {n: [(4, 6), (4,)] for n in "fg"})
    convert(path, str(tmp_path / "n.onnx"))
    x = np.random.default_rng(0).standard_normal((6, 1, 2, 3)).astype("f4")
    found = onnx_run(tmp_path / "n.onnx", {"data": x})
    assert np.allclose(found["g"], x[2:].reshape(4, 6) @ arrays["g"][0].T + arrays["g"][1], atol=1e-5)


def test_a_shape_of_one_top_leaves_the_others_to_the_file(tmp_path, monkeypatch):
    """Whichever top it is, `--shape` decides for it and the file for the rest."""
    h5py = pytest.importorskip("h5py")
    monkeypatch.chdir(tmp_path)
    with h5py.File("a.h5", "w") as file:
        for name, shape in {"img": (8, 7), "attr": (8, 2), "label": (8,)}.items():
            file[name] = np.zeros(shape, "f4")
    (tmp_path / "a.txt").write_text("a.h5\n")
    (tmp_path / "net.prototxt").write_text(TWO.replace("nothere.txt", "a.txt"))
    path, _ = model(tmp_path / "two.caffemodel", netc.read_net(TWO), TWO_SHAPES)
    for told in ({"img": (7,)}, {"attr": (2,)}):
        convert(path, "two.pt2", Options(net="net.prototxt", shapes=told))
    for told in ({"img": (9,)}, {"attr": (3,)}):
        with pytest.raises(NetcError) as caught:
            convert(path, "no.pt2", Options(net="net.prototxt", shapes=told))
        assert caught.value.code == "W721"


@pytest.mark.parametrize("shapes", [{}, {"": (3, 9, 9)}])
def test_one_side_of_a_new_size_is_refused_here_too(tmp_path, shapes):
    text = """
    layer { name: "data" type: "ImageData" top: "data" top: "label" transform_param { crop_size: 8 }
      image_data_param { source: "nothere.txt" batch_size: 2 new_height: 9 } }
    layer { name: "f" type: "InnerProduct" bottom: "data" top: "f" inner_product_param { num_output: 2 } }
    """
    path, _ = model(tmp_path / "n.caffemodel", netc.read_net(text), {"f": [(2, 192), (2,)]})
    with pytest.raises(NetcError, match="new_width") as caught:
        convert(path, str(tmp_path / "n.onnx"), Options(net=text, shapes=shapes))
    assert caught.value.code == "L301"


def test_a_constant_beside_noise_is_made_by_the_net(tmp_path):
    text = """
    layer { name: "data" type: "MemoryData" top: "data" top: "label"
      memory_data_param { batch_size: 6 channels: 4 height: 1 width: 1 } }
    layer { name: "made" type: "DummyData" top: "three" top: "noise" dummy_data_param {
      shape { dim: 6 dim: 4 dim: 1 dim: 1 }
      data_filler { type: "constant" value: 3 } data_filler { type: "gaussian" } } }
    layer { name: "sum" type: "Eltwise" bottom: "data" bottom: "three" bottom: "noise" top: "sum" }
    layer { name: "f" type: "InnerProduct" bottom: "sum" top: "f" inner_product_param { num_output: 2 } }
    """
    path, arrays = model(tmp_path / "n.caffemodel", netc.read_net(text), {"f": [(2, 4), (2,)]})
    convert(path, str(tmp_path / "n.onnx"))
    x, noise = np.random.default_rng(0).standard_normal((2, 6, 4, 1, 1)).astype("f4")
    found = onnx_run(tmp_path / "n.onnx", {"data": x, "noise": noise})
    assert np.allclose(found["f"], (x + noise + 3).reshape(6, 4) @ arrays["f"][0].T + arrays["f"][1], atol=1e-5)


# -- the state ---------------------------------------------------------------------------------------------------------

STAGES = """
state { %s }
input: "data" input_shape { dim: 1 dim: 3 dim: 8 dim: 8 }
layer { name: "c" type: "Convolution" bottom: "data" top: "c" convolution_param { num_output: 4 kernel_size: 3 }
  include { %s } }
layer { name: "ip" type: "InnerProduct" bottom: "c" top: "ip" inner_product_param { num_output: 2 } }
"""
STAGES_SHAPES = {"c": [(4, 3, 3, 3), (4,)], "ip": [(2, 144), (2,)]}


@pytest.mark.parametrize(
    "given, state, rule, options",
    [
        (True, 'stage: "wide"', 'stage: "wide"', {}),
        (False, 'stage: "wide"', 'stage: "wide"', {}),
        (False, "", 'stage: "wide"', {"stages": ["wide"]}),
        (True, "", "min_level: 2", {"level": 2}),
        (False, "", "phase: TRAIN", {"phase": "TRAIN"}),
    ],
)
def test_the_state_of_a_net(tmp_path, given, state, rule, options):
    """As in every other command: the file's own stages count, and those that are asked for; the card keeps them."""
    text = STAGES % (state, rule)
    path, _ = model(tmp_path / "m.caffemodel", netc.read_net(text), STAGES_SHAPES)
    net = text if given else None
    made = convert(path, str(tmp_path / "m.pt2"), Options(net=net, **options))
    assert {run.name for run in made.parity.runs} == {"ip"}
    first = convert(path, str(tmp_path / "m.safetensors"), Options(net=net, run=True, **options))
    assert {run.name for run in first.parity.runs} == {"c", "ip"}
    assert convert(str(first.out), str(tmp_path / "again.pt2")).parity.ok
    wanted = netc.load_net(text, weights=path, **({"phase": "TEST"} | options))
    x = torch.randn(2, 3, 8, 8)
    found = torch.export.load(tmp_path / "m.pt2").module()({"data": x})
    assert torch.allclose(found["ip"], wanted(data=x)["ip"], atol=1e-5)


def test_the_options_of_the_state(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    model("m.caffemodel", netc.read_net(STAGES % ("", 'stage: "wide"')), STAGES_SHAPES)
    assert run(["convert-caffemodel", "m.caffemodel", "-o", "x.pt2"]) == 65
    assert "W763" in capsys.readouterr().err
    assert run(["convert-caffemodel", "m.caffemodel", "-o", "x.pt2", "--stage", "wide"]) == 0


# -- fillers -----------------------------------------------------------------------------------------------------------

CONSTANT = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 9 dim: 9 } } }
layer { name: "ref" type: "DummyData" top: "ref" dummy_data_param {
  shape { dim: 1 dim: 3 dim: 9 dim: 9 } data_filler { type: "%s" value: 2.5 std: 1 } } }
layer { name: "sum" type: "Eltwise" bottom: "data" bottom: "ref" top: "sum" }
layer { name: "c" type: "Convolution" bottom: "sum" top: "c" convolution_param { num_output: 2 kernel_size: 3 } }
"""


@pytest.mark.parametrize("to", ["onnx", "pt2"])
def test_constants_are_in_the_program(tmp_path, to):
    path, arrays = model(tmp_path / "m.caffemodel", netc.read_net(CONSTANT % "constant"), {"c": [(2, 3, 3, 3), (2,)]})
    convert(path, str(tmp_path / f"m.{to}"))
    x = np.random.default_rng(0).standard_normal((1, 3, 9, 9)).astype("f4")
    kernel, bias = map(torch.from_numpy, arrays["c"])
    by_hand = torch.nn.functional.conv2d(torch.from_numpy(x + np.float32(2.5)), kernel, bias).numpy()
    if to == "onnx":
        found = onnx_run(tmp_path / "m.onnx", {"data": x})["c"]
    else:
        found = torch.export.load(tmp_path / "m.pt2").module()({"data": torch.from_numpy(x)})["c"].numpy()
    assert np.allclose(found, by_hand, atol=1e-4)
    walked = netc.load_net(CONSTANT % "constant", weights=path)(data=torch.from_numpy(x))
    assert np.allclose(walked["c"].detach().numpy(), by_hand, atol=1e-4)


def test_random_values_are_an_input(tmp_path):
    path, _ = model(tmp_path / "m.caffemodel", netc.read_net(CONSTANT % "gaussian"), {"c": [(2, 3, 3, 3), (2,)]})
    made = convert(path, str(tmp_path / "m.pt2"))
    assert list(made.parity.inputs) == ["data", "ref"]


# -- what an input means -----------------------------------------------------------------------------------------------

MEANINGS = {
    "marks behind a Split": (
        """input: "cont" input_shape { dim: 5 dim: 3 } input: "x" input_shape { dim: 5 dim: 3 dim: 4 }
        layer { name: "l1" type: "LSTM" bottom: "x" bottom: "cont" top: "l1" recurrent_param { num_output: 6 } }
        layer { name: "l2" type: "LSTM" bottom: "l1" bottom: "cont" top: "l2" recurrent_param { num_output: 6 } }""",
        {"l1": [(24, 4), (24,), (24, 6)], "l2": [(24, 6), (24,), (24, 6)]},
        {"cont": (0, 1)},
    ),
    "marks and words in one blob": (
        """input: "both" input_shape { dim: 2 dim: 15 }
        layer { name: "cut" type: "Slice" bottom: "both" top: "c" top: "w" slice_param { axis: 0 } }
        layer { name: "rc" type: "Reshape" bottom: "c" top: "cont" reshape_param { shape { dim: 5 dim: 3 } } }
        layer { name: "rw" type: "Reshape" bottom: "w" top: "words" reshape_param { shape { dim: 5 dim: 3 } } }
        layer { name: "e" type: "Embed" bottom: "words" top: "x" embed_param { input_dim: 9 num_output: 4 } }
        layer { name: "l" type: "LSTM" bottom: "x" bottom: "cont" top: "l" recurrent_param { num_output: 6 } }""",
        {"e": [(9, 4), (4,)], "l": [(24, 4), (24,), (24, 6)]},
        {"both": (0, 1)},
    ),
    "indices behind Reshape, Concat and Flatten": (
        """input: "a" input_shape { dim: 6 dim: 1 } input: "b" input_shape { dim: 6 dim: 1 }
        layer { name: "cat" type: "Concat" bottom: "a" bottom: "b" top: "ab" }
        layer { name: "rs" type: "Reshape" bottom: "ab" top: "w" reshape_param { shape { dim: 3 dim: 4 } } }
        layer { name: "fl" type: "Flatten" bottom: "w" top: "f" flatten_param { axis: 0 } }
        layer { name: "e" type: "Embed" bottom: "f" top: "e" embed_param { input_dim: 30 num_output: 5 } }""",
        {"e": [(30, 5), (5,)]},
        {"a": (0, 29), "b": (0, 29)},
    ),
    "labels behind Slice": (
        """input: "x" input_shape { dim: 8 dim: 4 } input: "label" input_shape { dim: 8 dim: 2 }
        layer { name: "cut" type: "Slice" bottom: "label" top: "l1" top: "l2" }
        layer { name: "ip" type: "InnerProduct" bottom: "x" top: "s" inner_product_param { num_output: 3 } }
        layer { name: "loss" type: "SoftmaxWithLoss" bottom: "s" bottom: "l1" top: "loss" }
        layer { name: "acc" type: "Accuracy" bottom: "s" bottom: "l2" top: "acc" }""",
        {"ip": [(3, 4), (3,)]},
        {"label": (0, 2)},
    ),
    "regions": (
        """input: "x" input_shape { dim: 2 dim: 3 dim: 12 dim: 16 } input: "rois" input_shape { dim: 40 dim: 5 }
        layer { name: "c" type: "Convolution" bottom: "x" top: "c" convolution_param { num_output: 2 kernel_size: 1 } }
        layer { name: "r" type: "ROIPooling" bottom: "c" bottom: "rois" top: "r"
          roi_pooling_param { pooled_h: 2 pooled_w: 2 spatial_scale: 0.5 } }""",
        {"c": [(2, 3, 1, 1), (2,)]},
        {"rois": (0, 31)},
    ),
}


@pytest.mark.parametrize("case", MEANINGS)
def test_an_input_is_drawn_as_its_readers_take_it(tmp_path, case):
    from netc.runtime.export.shapes import Samples

    text, shapes, limits = MEANINGS[case]
    graph = netc.compile_net(text, "TEST")
    samples = Samples(graph, {name: graph.shapes[name] for name in graph.inputs})
    assert set(samples.whole) == set(limits)
    for name, (low, high) in limits.items():
        drawn = samples.pixels[name]
        assert low <= drawn.min() <= drawn.max() <= high
        assert drawn.max() > high / 2
    path, _ = model(tmp_path / "m.caffemodel", netc.read_net(text), shapes)
    if case != "regions":
        assert convert(path, str(tmp_path / "m.pt2")).parity.ok


def test_regions_lie_on_their_image():
    from netc.runtime.export.shapes import Samples

    graph = netc.compile_net(MEANINGS["regions"][0], "TEST")
    drawn = Samples(graph, {name: graph.shapes[name] for name in graph.inputs}).pixels["rois"]
    assert set(drawn[:, 0]) == {0, 1}
    assert drawn[:, [1, 3]].max() in range(16, 32)
    assert drawn[:, [2, 4]].max() in range(12, 24)


def test_many_layers_that_pass_on():
    """Neither deep nor branching chains of them take long."""
    from netc.graph.meaning import whole_inputs

    text = 'input: "x0" input_shape { dim: 2 dim: 2 }\n'
    for at in range(40):
        text += f'layer {{ name: "s{at}" type: "Split" bottom: "x{at}" top: "a{at}" top: "b{at}" }}\n'
        text += f'layer {{ name: "c{at}" type: "Concat" bottom: "a{at}" bottom: "b{at}" top: "y{at}" }}\n'
        text += f'layer {{ name: "k{at}" type: "Slice" bottom: "y{at}" top: "x{at + 1}" top: "u{at}" }}\n'
    text += 'layer { name: "e" type: "Embed" bottom: "x40" top: "e" embed_param { input_dim: 7 num_output: 2 } }'
    assert whole_inputs(netc.compile_net(text, "TEST")) == {"x0": (7,)}


# -- shared parameters -------------------------------------------------------------------------------------------------

PERMISSIVE = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 dim: 4 dim: 4 } } }
layer { name: "%s" type: "InnerProduct" bottom: "x" top: "y" param { name: "w" share_mode: PERMISSIVE }
  param { name: "b" } inner_product_param { num_output: 5 } }
layer { name: "%s" type: "Convolution" bottom: "x" top: "z" param { name: "w" share_mode: PERMISSIVE }
  param { name: "b" } convolution_param { num_output: 5 kernel_size: 4 } }
"""


@pytest.mark.parametrize(
    "to, given",
    [("safetensors", True), ("npz", False), ("hdf5", True), ("caffemodel", False), ("onnx", False), ("pt2", True)],
)
def test_one_parameter_under_two_shapes(tmp_path, to, given):
    text = PERMISSIVE % ("ip", "cv")
    random = np.random.default_rng(3)
    w, b = random.standard_normal((5, 48)).astype("f4"), random.standard_normal(5).astype("f4")
    arrays = {"ip": [w, b], "cv": [w.reshape(5, 3, 4, 4), b]}
    weights.write_caffemodel(tmp_path / "m.caffemodel", netc.read_net(text), arrays)
    options = Options(net=text if given else None, to=to, run=True)
    made = convert(str(tmp_path / "m.caffemodel"), str(tmp_path / "made"), options)
    assert made.parity.ok
    x = random.standard_normal((2, 3, 4, 4)).astype("f4")
    by_hand = x.reshape(2, 48) @ w.T + b
    if to == "onnx":
        found = onnx_run(made.out, {"x": x})
        assert np.allclose(found["y"], by_hand, atol=1e-4)
        assert np.allclose(found["z"][:, :, 0, 0], by_hand, atol=1e-4)
    if to in ("onnx", "pt2"):
        return
    net = netc.load_net(text)
    if to == "safetensors":
        from safetensors.torch import load_file

        net.load_state_dict(load_file(made.out))
    else:
        net.copy_from(made.out)
    assert np.allclose(net(x=torch.from_numpy(x))["z"].detach().numpy()[:, :, 0, 0], by_hand, atol=1e-4)
    if to == "caffemodel":  # each layer's own shape, as Caffe asks for
        assert weights.read(made.out)["cv"][0].shape == (5, 3, 4, 4)


# -- the cases as they were reported -----------------------------------------------------------------------------------

CASES = [
    ("convert_hdf5_second_input_dropped/net.caffemodel", None, {"img": (7,), "attr": (2,)}, ["img", "attr"]),
    ("convert_proof_draws_pixels_for_marks_and_indices/two_lstm.caffemodel", "two_lstm", {}, ["cont", "x"]),
    ("convert_proof_draws_pixels_for_marks_and_indices/words_reshape.caffemodel", "words_reshape", {}, ["words"]),
    ("convert_proof_draws_pixels_for_marks_and_indices/multilabel_slice.caffemodel", "multilabel_slice", {}, ["data"]),
    ("convert_ignores_state_stage/m.caffemodel", "net", {}, ["data"]),
    ("dummydata_in_deploy_net/m.caffemodel", "mmdnn", {}, ["data"]),
    ("permissive_sharing_convert_emit/full.caffemodel", "net", {}, ["x"]),
]


@pytest.mark.parametrize("to", ["pt2", pytest.param("onnx", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "file, net, shapes, inputs", CASES, ids=[case[0].partition("/")[0] + str(case[1]) for case in CASES]
)
def test_cases(shared, tmp_path, file, net, shapes, inputs, to):
    if to == "onnx":
        pytest.importorskip("onnxruntime")
    path = shared / "cases" / file
    given = str(path.with_name(f"{net}.prototxt")) if net else None
    made = convert(str(path), str(tmp_path / f"m.{to}"), Options(net=given, shapes=shapes))
    assert list(made.parity.inputs) == inputs
    assert made.parity.worst.relative < 1e-5


# -- what is known of the images ---------------------------------------------------------------------------------------

TRAINED = """
layer { name: "d" type: "Data" top: "data" top: "label" data_param { source: "no" batch_size: 2 }
  transform_param { scale: 0.0125 mean_value: 104 mean_value: 117 mean_value: 123 crop_size: 6 } }
layer { name: "c" type: "Convolution" bottom: "data" top: "c" convolution_param { num_output: 2 kernel_size: 3 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "c" bottom: "label" top: "loss" }
"""
DEPLOY = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 6 dim: 7 } } %s }
layer { name: "c" type: "Convolution" bottom: "data" top: "c" convolution_param { num_output: 2 kernel_size: 3 } }
"""


def test_a_deploy_net_does_not_hide_what_the_file_knows(tmp_path):
    path, _ = model(tmp_path / "m.caffemodel", netc.read_net(TRAINED), {"c": [(2, 3, 3, 3), (2,)]})
    made = convert(path, str(tmp_path / "a.safetensors"), Options(net=DEPLOY % ""))
    shown = weights.read_card(made.out).preprocessing
    assert (shown.mean, shown.crop) == ([104, 117, 123], 6)
    assert shown.scale == pytest.approx(0.0125)
    assert not any("counts" in remark for remark in made.remarks)
    said = DEPLOY % "transform_param { scale: 0.5 mean_value: 1 mean_value: 2 mean_value: 3 }"
    made = convert(path, str(tmp_path / "b.safetensors"), Options(net=said))
    assert made.remarks[:2] == [
        "the net says mean 1, 2, 3, which counts; the net in the file says 104, 117, 123",
        "the net says scale 0.5, which counts; the net in the file says 0.0125",
    ]
    assert weights.read_card(made.out).preprocessing.scale == 0.5
    made = convert(str(tmp_path / "a.safetensors"), str(tmp_path / "c.npz"), Options(net=said))
    assert "the file's card says scale 0.0125, which counts; the net says 0.5" in made.remarks
    made = convert(path, str(tmp_path / "d.safetensors"), Options(net=said, scale=2.0, mean="9"))
    shown = weights.read_card(made.out).preprocessing
    assert (shown.scale, shown.mean) == (2, [9, 9, 9])
    assert not any("counts" in remark for remark in made.remarks)


# -- what is said ------------------------------------------------------------------------------------------------------


def test_no_advice_to_give_what_was_given(tmp_path):
    text = TRAINED.replace("crop_size: 6", "")
    path, _ = model(tmp_path / "m.caffemodel", netc.read_net(text), {"c": [(2, 3, 3, 3), (2,)]})
    asked = [
        (path, None, {}, "W763", "--shape CHANNELS,HEIGHT,WIDTH, or give the net's deploy.prototxt with --net"),
        (path, text, {}, "W763", "--shape CHANNELS,HEIGHT,WIDTH"),
        (path, None, {"": (3, 2, 2)}, "W763", "is --shape that of the images"),
    ]
    for file, net, shapes, code, hint in asked:
        with pytest.raises(NetcError) as caught:
            convert(file, str(tmp_path / "x.pt2"), Options(net=net, shapes=shapes))
        assert caught.value.code == code
        assert hint in caught.value.hint
        assert net is None or "--net" not in caught.value.hint
    weights.write_npz(tmp_path / "bare.npz", {"c": [np.ones((2, 3, 3, 3), "f4")]})
    with pytest.raises(NetcError) as caught:
        convert(str(tmp_path / "bare.npz"), str(tmp_path / "x.pt2"))
    assert (caught.value.code, caught.value.hint) == ("W763", "give the net with --net")


def test_arrays_of_training_alone_are_no_fault_of_the_disk(tmp_path):
    """A second head that the file's own net has in TRAIN only."""
    head = 'layer { name: "aux" type: "Convolution" bottom: "data" top: "aux" include { phase: TRAIN } %s }'
    text = TRAINED + head % "convolution_param { num_output: 2 kernel_size: 3 }"
    shapes = {"c": [(2, 3, 3, 3), (2,)], "aux": [(2, 3, 3, 3), (2,)]}
    path, _ = model(tmp_path / "m.caffemodel", netc.read_net(text), shapes)
    for to in ("pt2", "onnx"):
        made = convert(path, str(tmp_path / f"m.{to}"))
        assert 'not in the TEST phase, and left out: "aux"' in made.remarks
        assert len(made.parity.arrays) == 2


def test_random_numbers_of_training_do_not_go_out(tmp_path, capfd):
    text = DEPLOY % "" + 'layer { name: "drop" type: "Dropout" bottom: "c" top: "d" }'
    path, _ = model(tmp_path / "m.caffemodel", netc.read_net(text), {"c": [(2, 3, 3, 3), (2,)]})
    for to in ("pt2", "onnx"):
        with pytest.raises(NetcError, match=r'layer "drop" \(Dropout\) draws random numbers') as caught:
            convert(path, str(tmp_path / f"m.{to}"), Options(phase="TRAIN"))
        assert caught.value.code == "W773"
        assert convert(path, str(tmp_path / f"m.{to}")).parity.ok
    assert len("".join(capfd.readouterr()).splitlines()) < 20


def test_shapes_of_inputs_that_no_settings_tell(tmp_path):
    """A Python data layer's module does not run; an Input layer without a shape; a crop larger than the images."""
    python = 'layer { name: "d" type: "Python" top: "data" top: "label" python_param { module: "m" layer: "L" } }'
    bare = 'layer { name: "d" type: "Input" top: "data" }'
    convolution = DEPLOY.split("\n")[2]
    for source in (python, bare):
        path, _ = model(tmp_path / "m.caffemodel", netc.read_net(source + convolution), {"c": [(2, 3, 3, 3), (2,)]})
        convert(path, str(tmp_path / "m.npz"))
        with pytest.raises(NetcError, match="size of its input") as caught:
            convert(path, str(tmp_path / "m.pt2"))
        assert "--shape CHANNELS,HEIGHT,WIDTH" in caught.value.hint
        made = convert(path, str(tmp_path / "m.pt2"), Options(shapes={"": (3, 5, 6)}))
        assert not any("--shape" in remark for remark in made.remarks)
    path, _ = model(tmp_path / "m.caffemodel", netc.read_net(TRAINED), {"c": [(2, 3, 3, 3), (2,)]})
    with pytest.raises(NetcError) as caught:
        convert(path, str(tmp_path / "m.pt2"), Options(shapes={"": (3, 5, 6)}))
    assert caught.value.code == "L307"

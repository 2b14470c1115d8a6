"""ONNX and torch.export: Caffe's numbers, in programs that know nothing of netc."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import netc
from netc import weights
from netc.errors import NetcError
from netc.graph.compile import compile_net
from netc.runtime.export import convert as conversion
from netc.runtime.export.convert import Options, convert
from netc.runtime.export.shapes import Axes, Samples
from netc.weights.card import CARD, Card
from netc.weights.proof import Parity, compared_all, reaches_of
from tests.runtime.export.made import CLASSES, CORNERS, NETS, SEQUENCE, write

SHAPES = {
    "corners": [{"data": (1, 3, 22, 37)}, {"data": (3, 3, 31, 20)}, {"data": (2, 3, 47, 64)}],
    "classes": [{"data": (1, 3, 14, 18)}, {"data": (5, 3, 14, 18)}],
    "sequence": [{"x": (4, 2, 3), "marks": (4, 2)}],
}
TOLERANCE = 1e-5
"""Relative to the largest value: the sums of small nets in another order."""


@pytest.fixture(scope="module", params=NETS)
def case(request, tmp_path_factory):
    """(name, .caffemodel)"""
    folder = tmp_path_factory.mktemp(request.param)
    return request.param, write(folder / "net.caffemodel", NETS[request.param])


def inputs(shapes):
    random = np.random.default_rng(3)
    return {
        name: (random.random(shape) > 0.3).astype("f4") if name == "marks" else random.standard_normal(shape, "f4")
        for name, shape in shapes.items()
    }


def expected(name, path, given):
    net = netc.load_net(NETS[name], weights=path)
    with torch.no_grad():
        return {blob: value.numpy() for blob, value in net({k: torch.from_numpy(x) for k, x in given.items()}).items()}


def check(found, wanted):
    assert list(found) == list(wanted)
    for blob, value in wanted.items():
        assert found[blob].shape == value.shape
        assert np.abs(found[blob] - value).max() <= TOLERANCE * np.abs(value).max(), blob


def test_onnx(case, tmp_path):
    onnx, runtime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    name, path = case
    made = convert(str(path), str(tmp_path / "net.onnx"))
    assert made.parity.ok
    model = onnx.load(made.out)
    onnx.checker.check_model(model, full_check=True)
    assert model.opset_import[0].version >= 17
    arrays = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for key, tensor in netc.load_net(NETS[name], weights=path).state_dict().items():
        assert arrays[key].tobytes() == tensor.numpy().tobytes(), key
    session = runtime.InferenceSession(made.out, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_outputs()]
    for shapes in SHAPES[name]:
        given = inputs(shapes)
        check(dict(zip(names, session.run(names, given))), expected(name, path, given))
    assert b"/work" not in made.out.read_bytes()
    card = Card.from_json({entry.key: entry.value for entry in model.metadata_props}[CARD], "")
    assert (card.net, card.source) == (name, "net.caffemodel")


def test_pt2(case, tmp_path):
    name, path = case
    made = convert(str(path), str(tmp_path / "net.pt2"))
    assert made.parity.ok
    extra = {f"{CARD}.json": ""}
    program = torch.export.load(made.out, extra_files=extra)
    assert Card.from_json(extra[f"{CARD}.json"], "").net == name
    assert set(netc.load_net(NETS[name]).state_dict()) <= set(program.state_dict)
    module = program.module()
    for shapes in SHAPES[name]:
        given = inputs(shapes)
        with torch.no_grad():
            found = module({key: torch.from_numpy(x) for key, x in given.items()})
        check({blob: value.numpy() for blob, value in found.items()}, expected(name, path, given))


@pytest.mark.parametrize("text, batch, size", [(CORNERS, True, True), (CLASSES, True, False), (SEQUENCE, False, False)])
def test_which_axes_are_free(text, batch, size):
    axes = Axes(compile_net(text, "TEST"))
    assert (axes.batch, axes.size) == (batch, size)


def test_labels_that_several_layers_read_are_drawn_as_labels():
    """A proof with labels from 0 to 255 would run beyond the classes."""
    text = """
    layer { name: "in" type: "Input" top: "x" top: "y" input_param { shape { dim: 9 dim: 3 } shape { dim: 9 } } }
    layer { name: "loss" type: "SoftmaxWithLoss" bottom: "x" bottom: "y" top: "loss" }
    layer { name: "acc" type: "Accuracy" bottom: "x" bottom: "y" top: "acc" }
    """
    samples = Samples(compile_net(text, "TEST"), {"x": (9, 3), "y": (9,)})
    assert set(samples.pixels["y"]) == {0, 1, 2}
    assert samples.pixels["x"].max() > 1


def test_an_axis_that_only_torch_finds_fixed(tmp_path):
    """Reshape to a number of rows that the batch is part of: compiled for another batch it still fits its weights."""
    text = CLASSES.replace('bottom: "p" top: "fc"', 'bottom: "q" top: "fc"') + (
        'layer { name: "r" type: "Reshape" bottom: "data" top: "r" reshape_param { shape { dim: -1 dim: 7 dim: 3 } } }'
        'layer { name: "re" type: "Reduction" bottom: "r" top: "re" reduction_param { axis: 0 } }'
    )
    text = text.replace(
        'layer { name: "fc"', 'layer { name: "id" type: "Flatten" bottom: "p" top: "q" } layer { name: "fc"'
    )
    path = write(tmp_path / "net.caffemodel", text)
    assert convert(str(path), str(tmp_path / "net.pt2")).parity.ok


HANDED_ON = """
name: "handed" layer { name: "in" type: "Input" top: "data" top: "info" input_param {
  shape { dim: 2 dim: 3 dim: 5 dim: 6 } shape { dim: 2 dim: 4 } } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 3 } }
layer { name: "two" type: "Split" bottom: "ip" top: "a" top: "b" }
layer { name: "drop" type: "Dropout" bottom: "a" top: "c" }
"""
"""Its outputs are an input that nothing reads, and one value under two names."""


def test_one_value_under_two_names(tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    path = write(tmp_path / "net.caffemodel", HANDED_ON)
    assert compile_net(HANDED_ON, "TEST").outputs == ("b", "c", "info")
    made = convert(str(path), str(tmp_path / "net.onnx"))
    session = runtime.InferenceSession(made.out, providers=["CPUExecutionProvider"])
    assert [value.name for value in session.get_outputs()] == ["b", "c", "info_out"]
    given = inputs({"data": (4, 3, 5, 6), "info": (4, 4)})
    b, c, info = session.run(None, given)
    weight, bias = weights.read(path)["ip"]
    assert np.array_equal(info, given["info"])
    assert np.allclose(b, given["data"].reshape(4, -1) @ weight.T + bias, atol=1e-5)
    assert np.array_equal(b, c)
    assert convert(str(path), str(tmp_path / "net.pt2")).parity.ok


def test_sizes_that_torch_takes_for_numbers_are_not_called_free(tmp_path):
    """The windows of spatial pyramid pooling are computed from the image: another one would be another program."""
    runtime = pytest.importorskip("onnxruntime")
    text = CLASSES.replace('bottom: "p" top: "fc"', 'bottom: "q" top: "fc"').replace(
        'layer { name: "fc"',
        'layer { name: "spp" type: "SPP" bottom: "p" top: "q" spp_param { pyramid_height: 2 } } layer { name: "fc"',
    )
    path = write(tmp_path / "net.caffemodel", text)
    made = convert(str(path), str(tmp_path / "net.onnx"))
    assert made.remarks[-1] == "any batch"
    (value,) = runtime.InferenceSession(made.out, providers=["CPUExecutionProvider"]).get_inputs()
    assert value.shape == ["batch", 3, 14, 18]


def test_a_product_of_sizes_that_torch_takes_for_a_number(tmp_path):
    """The loss is divided by the number of pixels; nothing says that this fixes the sizes it was made of."""
    pytest.importorskip("onnxruntime")
    text = (
        'name: "loss" layer { name: "in" type: "Input" top: "x" top: "label" input_param {'
        " shape { dim: 2 dim: 3 dim: 4 dim: 5 } shape { dim: 2 dim: 1 dim: 4 dim: 5 } } }"
        'layer { name: "c" type: "Convolution" bottom: "x" top: "c"'
        " convolution_param { num_output: 3 kernel_size: 1 } }"
        'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "c" bottom: "label" top: "loss" }'
    )
    path = write(tmp_path / "net.caffemodel", text)
    for name in ("net.onnx", "net.pt2"):
        made = convert(str(path), str(tmp_path / name))
        assert made.parity.ok
        assert made.remarks[-1] == "sizes are fixed"


def test_nothing_to_export(tmp_path):
    text = CLASSES + 'layer { name: "quiet" type: "Silence" bottom: "fc" }'
    path = write(tmp_path / "net.caffemodel", text)
    with pytest.raises(NetcError) as caught:
        convert(str(path), str(tmp_path / "net.pt2"))
    assert caught.value.code == "W773"


def test_weights_beyond_the_limit_of_onnx_stand_in_a_file_of_their_own(tmp_path, monkeypatch):
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    from netc.runtime.export import onnx as exporter

    monkeypatch.setattr(exporter, "INLINE", 100)
    path = write(tmp_path / "net.caffemodel", CLASSES)
    made = convert(str(path), str(tmp_path / "net.onnx"))
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["net.caffemodel", "net.onnx", "net.onnx.data"]
    given = inputs(SHAPES["classes"][1])
    (found,) = runtime.InferenceSession(made.out).run(None, given)
    check({"fc": found}, expected("classes", path, given))


POOLED = """
layer { name: "x%s" type: "Input" top: "x%s" input_param { shape { dim: 1 %s } } }
layer { name: "c%s" type: "Convolution" bottom: "x%s" top: "c%s" convolution_param { num_output: 3 kernel_size: 1 } }
layer { name: "p%s" type: "Pooling" bottom: "c%s" top: "p%s"
  pooling_param { pool: %s pad: 1 kernel_size: 3 stride: 3 } }
layer { name: "f%s" type: "InnerProduct" bottom: "p%s" top: "f%s" inner_product_param { num_output: 2 } }
"""


def pooled(name: str, pool: str, sizes: tuple[int, ...]) -> str:
    dims = " ".join(f"dim: {size}" for size in (3, *sizes))
    return POOLED % (name, name, dims, *[name] * 6, pool, *[name] * 3)


@pytest.mark.parametrize("several", [[(8, 8), (8, 9), (9, 9)], [(5, 8, 9), (8, 8, 8)]], ids=["2-D", "3-D"])
def test_onnx_infers_the_shapes_of_poolings(tmp_path, several):
    """ONNX's shape inference leaves out no window that starts behind the padding, as Caffe does."""
    onnx, runtime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    cases = {f"{pool}{'x'.join(map(str, sizes))}": (pool, sizes) for sizes in several for pool in ("AVE", "MAX")}
    text = "".join(pooled(name, *case) for name, case in cases.items())
    path = write(tmp_path / "net.caffemodel", text)
    convert(str(path), str(tmp_path / "net.onnx"))
    model = onnx.load(str(tmp_path / "net.onnx"))
    onnx.shape_inference.infer_shapes(model, strict_mode=True)
    given = inputs({f"x{name}": (2, 3, *sizes) for name, (_, sizes) in cases.items()})
    with torch.no_grad():
        wanted = netc.load_net(text, weights=str(path))({name: torch.from_numpy(x) for name, x in given.items()})
    session = runtime.InferenceSession(str(tmp_path / "net.onnx"))
    found = dict(zip([value.name for value in session.get_outputs()], session.run(None, given), strict=True))
    assert set(found) == {f"f{name}" for name in cases}
    for name, value in found.items():
        assert np.abs(value - wanted[name].numpy()).max() <= TOLERANCE * wanted[name].abs().max()


def test_a_program_that_computes_something_else_is_not_published(tmp_path, monkeypatch):
    path = write(tmp_path / "net.caffemodel", CLASSES)
    before = conversion.compared_all

    def other(originals, converted, reaches):
        return before(originals, {blob: value * 1.001 for blob, value in converted.items()}, reaches)

    monkeypatch.setattr(conversion, "compared_all", other)
    with pytest.raises(NetcError) as caught:
        convert(str(path), str(tmp_path / "net.pt2"))
    assert caught.value.code == "W771"
    assert [entry.name for entry in tmp_path.iterdir()] == ["net.caffemodel"]
    convert(str(path), str(tmp_path / "net.pt2"), Options(tolerance=0.01))


CANCELLED = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 300 } } }
layer { name: "a" type: "InnerProduct" bottom: "x" top: "a"
  inner_product_param { num_output: 40 bias_term: false } param { name: "w" } }
layer { name: "x3" type: "Power" bottom: "x" top: "x3" power_param { scale: 3 } }
layer { name: "b" type: "InnerProduct" bottom: "x3" top: "b"
  inner_product_param { num_output: 40 bias_term: false } param { name: "w" } }
layer { name: "d" type: "Eltwise" bottom: "a" bottom: "b" top: "d" eltwise_param { coeff: 3 coeff: -1 } }
layer { name: "r" type: "ReLU" bottom: "d" top: "d" }
layer { name: "f" type: "InnerProduct" bottom: "d" top: "f" inner_product_param { num_output: 5 bias_term: false } }
"""


def test_what_cancels_out_is_compared_with_what_went_in(tmp_path):
    """Branches that differ by nothing but rounding, which onnxruntime does in another order."""
    pytest.importorskip("onnxruntime")
    path = write(tmp_path / "net.caffemodel", CANCELLED)
    assert convert(str(path), str(tmp_path / "net.onnx")).parity.ok


def test_other_values_are_still_compared_with_their_own() -> None:
    """Of small values only those that are rounding of what went in, and only by that."""
    a = np.array([100.0, -50.0])

    def ok(left: float, found: float) -> bool:
        blobs = {"a": a, "d": np.array([left]), "e": np.array([left])}
        reaches = reaches_of(blobs, [((), ("a",)), (("a", "a"), ("d",)), (("d",), ("e",))])
        return Parity(runs=compared_all(blobs, {"a": a, "d": np.array([found]), "e": np.array([found])}, reaches)).ok

    assert ok(1e-5, -2e-5)
    assert ok(0.0, 1e-5)
    assert not ok(1e-5, 2e-3)
    assert not ok(2e-3, 2.1e-3)
    assert not ok(1.0, 1.001)


def test_without_a_package_the_remedy_is_named(tmp_path, monkeypatch):
    import sys

    path = write(tmp_path / "net.caffemodel", CLASSES)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(NetcError) as caught:
        convert(str(path), str(tmp_path / "net.onnx"))
    assert caught.value.code == "W774"
    assert caught.value.hint == "pip install 'netc[onnx]'"


@pytest.mark.parametrize(
    "text, mean", [(CLASSES, "torchvision's own"), (CORNERS.replace("group: 3", ""), "the net's own")]
)
def test_rgb_is_folded_in_every_format(tmp_path, text, mean):
    """The proof runs the original net on BGR and the converted one on RGB, borders included."""
    path = write(tmp_path / "net.caffemodel", text)
    made = convert(str(path), str(tmp_path / "net.pt2"), Options(rgb=True, mean="104,117,124", scale=0.5))
    assert made.parity.runs
    assert made.parity.worst.relative < 1e-5
    assert any(mean in remark for remark in made.remarks)
    assert made.card.preprocessing.channels == "RGB"
    other = convert(str(path), str(tmp_path / "net.npz"), Options(rgb=True, mean="104,117,124", scale=0.5, run=True))
    assert other.parity.worst.relative < 1e-5
    conv = next(name for name in weights.read(path) if name.startswith("conv"))
    assert not np.array_equal(weights.read(path)[conv][0], weights.read(other.out)[conv][0])


def test_a_folded_file_stays_what_its_card_says(tmp_path):
    """Other options must not make RGB weights count as BGR, nor fold them twice."""
    source = write(tmp_path / "net.caffemodel", CLASSES)
    first = convert(str(source), str(tmp_path / "a.safetensors"), Options(rgb=True, mean="104,117,124"))
    folded = first.card.preprocessing
    second = convert(str(first.out), str(tmp_path / "b.npz"), Options(net=CLASSES, crop=9, run=True))
    assert (second.card.preprocessing.channels, second.card.preprocessing.crop) == ("RGB", 9)
    assert (second.card.preprocessing.mean, second.card.preprocessing.std) == (folded.mean, folded.std)
    for options, code in ((Options(rgb=True), "W769"), (Options(mean="1"), "W767"), (Options(scale=2.0), "W767")):
        with pytest.raises(NetcError) as caught:
            convert(str(first.out), str(tmp_path / "c.npz"), options)
        assert caught.value.code == code
    assert not (tmp_path / "c.npz").exists()


def test_one_net_as_torchvision_names_it(tmp_path):
    """A narrow VGG of torchvision's form, its state loaded into the modules that torchvision has, in their order."""
    from netc.runtime.export.graphs import net_with, run, run_module
    from netc.runtime.export.torchvision import module_of, read_state, write_state
    from netc.weights.formats.torchvision import vgg_of

    text = (
        'name: "v" layer { name: "in" type: "Input" top: "x0" input_param { shape { dim: 2 dim: 3 dim: 28 dim: 28 } } }'
    )
    widths, blob = [5, 6, 0, 7, 0], "x0"
    for at, width in enumerate(widths):
        top = f"x{at + 1}"
        if width:
            text += (
                f'layer {{ name: "c{at}" type: "Convolution" bottom: "{blob}" top: "{top}" convolution_param {{'
                f' num_output: {width} kernel_size: 3 pad: 1 }} }} layer {{ name: "r{at}" type: "ReLU" '
                f'bottom: "{top}" top: "{top}" }}'
            )
        else:
            text += (
                f'layer {{ name: "p{at}" type: "Pooling" bottom: "{blob}" top: "{top}" '
                "pooling_param { kernel_size: 2 stride: 2 } }"
            )
        blob = top
    for at, size in enumerate((11, 12, 4)):
        text += (
            f'layer {{ name: "f{at}" type: "InnerProduct" bottom: "{blob}" top: "f{at}" '
            f"inner_product_param {{ num_output: {size} }} }}"
        )
        blob = f"f{at}"
        if at < 2:
            text += f'layer {{ name: "fr{at}" type: "ReLU" bottom: "{blob}" top: "{blob}" }}'
            text += f'layer {{ name: "fd{at}" type: "Dropout" bottom: "{blob}" top: "{blob}" }}'
    text += f'layer {{ name: "prob" type: "Softmax" bottom: "{blob}" top: "prob" }}'
    path = write(tmp_path / "net.caffemodel", text)
    graph, layers = compile_net(text, "TEST"), weights.read(path)
    vgg = vgg_of(graph, layers)
    assert (vgg.widths, vgg.sizes, vgg.scores) == (widths, [11, 12, 4], "f2")
    x = np.random.default_rng(1).standard_normal((2, 3, 28, 28), "f4")
    wanted = run(net_with(graph, layers), {"x0": x}, ["f2"])["f2"]
    for name in ("v.pth", "v.safetensors"):
        write_state(tmp_path / name, vgg, Card())
        state = read_state(tmp_path / name)
        assert list(state)[:2] == ["features.0.weight", "features.0.bias"] or name != "v.pth"
        found = run_module(module_of(vgg, state), x)
        assert np.abs(found - wanted).max() <= TOLERANCE * np.abs(wanted).max()

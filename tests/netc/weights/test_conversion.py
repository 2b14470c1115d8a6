"""Weights in other formats: names and bits come back, by readers that are not ours where there are some."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from netc import proto, weights
from netc.errors import NetcError
from netc.runtime.export.convert import Options, convert, default_out, format_of
from netc.weights.card import read_card
from netc.weights.formats.npz import quoted, unquoted, write_npz
from netc.weights.formats.safetensors import write_safetensors

FORMATS = ["safetensors", "npz", "hdf5", "caffemodel"]
NAMES = ["conv.1", "conv_1", "inception/1x1", "train", "naïve", "a b"]


def values(*shape, dtype="<f4"):
    return np.random.default_rng(len(shape) + sum(shape)).standard_normal(shape).astype(dtype)


def net_of(*layers):
    net = proto.NetParameter(name="net")
    for name, kind in layers:
        net.layer.add(name=name, type=kind)
    return net


@pytest.fixture
def trained(tmp_path):
    """A .caffemodel of layers with awkward names and every kind of blob, and its arrays."""
    arrays = {name: [values(2, 3), values(2)] for name in NAMES}
    arrays |= {
        "bn": [values(3), values(3), values(1)],
        "lstm": [values(8, 3), values(8), values(8, 5), values(8, 2)],
        "slope": [values()],
        "relu": [],
        "nan": [np.array([np.nan, -0.0, np.inf, 1e-42], "<f4")],
    }
    kinds = dict.fromkeys(NAMES, "InnerProduct") | {"bn": "BatchNorm", "lstm": "LSTM", "slope": "PReLU", "relu": "ReLU"}
    path = tmp_path / "net.caffemodel"
    weights.write_caffemodel(path, net_of(*((name, kinds.get(name, "Bias")) for name in arrays)), arrays)
    return path, arrays


def same(a, b):
    return a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()


@pytest.mark.parametrize("format", FORMATS)
def test_names_and_bits_come_back(trained, tmp_path, format):
    path, arrays = trained
    if format == "hdf5":
        pytest.importorskip("h5py")
    made = convert(str(path), str(tmp_path / "out"), Options(to=format))
    assert made.parity.ok
    assert len(made.parity.arrays) == sum(map(len, arrays.values()))
    found = weights.read(made.out)
    for name, expected in arrays.items():
        got = found.get(name, [])
        assert [a.shape for a in got] == [a.shape for a in expected], name
        assert all(map(same, got, expected)), name


@pytest.mark.parametrize("first", FORMATS)
def test_any_format_is_converted_into_any(trained, tmp_path, first):
    pytest.importorskip("h5py")
    path, _ = trained
    there = convert(str(path), str(tmp_path / "there"), Options(to=first)).out
    for format in FORMATS:
        back = convert(str(there), str(tmp_path / "back"), Options(to=format))
        assert back.parity.ok
        if format == "caffemodel":
            assert back.out.read_bytes() == path.read_bytes()


def test_keys_are_the_state_dicts(trained, tmp_path):
    safetensors = pytest.importorskip("safetensors.numpy")
    path, arrays = trained
    made = convert(str(path), str(tmp_path / "out.safetensors"))
    found = safetensors.load_file(made.out)
    assert {"conv_1.weight", "conv_1#1.weight", "inception/1x1.bias", "train_.weight", "bn.factor"} <= set(found)
    assert {"lstm.input_weight", "lstm.static_weight", "slope.weight"} <= set(found)
    assert same(found["conv_1#1.weight"], arrays["conv_1"][0])


def test_numpy_reads_the_npz(trained, tmp_path):
    path, arrays = trained
    made = convert(str(path), str(tmp_path / "out.npz"))
    with np.load(made.out) as archive:
        assert same(archive["inception/1x1/1"], arrays["inception/1x1"][1])
        assert json.loads(archive["netc.json"])["net"] == "net"
    with zipfile.ZipFile(made.out) as archive:
        assert archive.testzip() is None


def test_h5py_reads_the_hdf5_as_caffe_lays_it_out(trained, tmp_path):
    h5py = pytest.importorskip("h5py")
    path, arrays = trained
    made = convert(str(path), str(tmp_path / "out.caffemodel.h5"))
    with h5py.File(made.out) as file:
        assert same(file["data/bn/2"][()], arrays["bn"][2])
    assert any("slash" in remark for remark in made.remarks)


@pytest.mark.parametrize("name", ["", "a//b", ".", "a/../b", "a/0", "/a"])
def test_names_that_hdf5_cannot_hold(tmp_path, name):
    pytest.importorskip("h5py")
    path = tmp_path / "net.caffemodel"
    weights.write_caffemodel(path, net_of((name, "Bias")), {name: [values(2)]})
    with pytest.raises(NetcError) as caught:
        convert(str(path), str(tmp_path / "out.h5"))
    assert caught.value.code == "W762"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["net.caffemodel"]


@pytest.mark.parametrize("name", ["", "..", "a/../b", "/etc/x", "a//b", "c:\\x", "100%", "%41", "tab\there", "\udcff"])
def test_names_in_a_zip_file_are_harmless_and_come_back(tmp_path, name):
    assert unquoted(quoted(name)) == name
    path = tmp_path / "x.npz"
    with path.open("wb") as file:
        write_npz(file, {name: [values(3)]})
    with zipfile.ZipFile(path) as archive:
        (member,) = archive.namelist()
    parts = member.split("/")
    assert member.isprintable()
    assert not {"", ".", ".."} & set(parts)
    assert "\\" not in member
    assert ":" not in member
    assert same(weights.read(path)[name][0], values(3))


@pytest.mark.parametrize("dtype", ["<f2", "<f8"])
def test_other_types_are_kept(tmp_path, dtype):
    path = tmp_path / "x.safetensors"
    array = values(3, 5, dtype=dtype)
    write_safetensors(path, {"ip.weight": array, "ip.bias": values(3)})
    for format in ("npz", "safetensors"):
        made = convert(str(path), str(tmp_path / "out"), Options(to=format))
        assert same(weights.read(made.out)["ip"][0], array)


def test_safetensors_written_here_are_the_librarys(tmp_path):
    safetensors = pytest.importorskip("safetensors.numpy")
    tensors = {"a.weight": values(2, 3), "b": values(5, dtype="<f2"), "c": values(1, dtype="<f8"), "d": values(0, 3)}
    write_safetensors(tmp_path / "x", tensors, metadata={"k": "v"})
    found = safetensors.load_file(tmp_path / "x")
    assert {key: array.dtype for key, array in found.items()} == {key: array.dtype for key, array in tensors.items()}
    assert all(same(found[key], array) for key, array in tensors.items())


def test_old_shapes_become_those_of_today(shared, tmp_path):
    """The V1 file of 2014: a matrix is 1×1×500×800 there, a bias 1×1×1×500."""
    path = shared / "zoo/caffemodel/everpeace_2014_lenet/lenet_iter_10000.caffemodel"
    made = convert(str(path), str(tmp_path / "lenet.safetensors"))
    found = weights.read(made.out)
    assert [array.shape for array in found["conv1"]] == [(20, 1, 5, 5), (20,)]
    assert [array.shape for array in found["ip1"]] == [(500, 800), (500,)]
    old = weights.read(path)
    assert all(old[layer][i].tobytes() == a.tobytes() for layer, arrays in found.items() for i, a in enumerate(arrays))


# -- the card ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["safetensors", "npz", "hdf5"])
def test_the_card(shared, tmp_path, format):
    pytest.importorskip("h5py")
    import hashlib

    folder = shared / "zoo/caffemodel/cifar10_quick"
    source = folder / "cifar10_quick_iter_4000.caffemodel"
    classes = [f"class {number}" for number in range(10)]
    options = Options(
        net=str(folder / "cifar10_quick.prototxt"), to=format, mean=str(folder / "mean.binaryproto"), classes=classes
    )
    made = convert(str(source), str(tmp_path / "out"), options)
    card = read_card(made.out)
    assert card is not None
    assert card.sha256 == hashlib.sha256(source.read_bytes()).hexdigest()
    assert (card.source, card.net, card.classes) == (source.name, "CIFAR10_quick_test", classes)
    assert 'type: "Convolution"' in card.prototxt
    mean = weights.read_blob(folder / "mean.binaryproto")[0].astype("f8").mean((1, 2))
    assert card.preprocessing.mean == pytest.approx(mean, rel=1e-12)
    assert (card.preprocessing.channels, card.preprocessing.crop) == ("BGR", 32)


def test_a_converted_file_carries_its_net(shared, tmp_path):
    """The net in the card is enough to run: ONNX and .pt2 need no prototxt any more."""
    folder = shared / "zoo/caffemodel/lenet_ethereon"
    first = convert(
        str(folder / "lenet_iter_10000.caffemodel"),
        str(tmp_path / "a.safetensors"),
        Options(net=str(folder / "lenet.prototxt"), scale=0.00390625),
    )
    second = convert(str(first.out), str(tmp_path / "b.npz"), Options(run=True))
    assert second.card.preprocessing == first.card.preprocessing
    assert second.parity.inputs == {"data": (2, 1, 28, 28)}
    assert second.parity.worst is not None
    assert second.parity.worst.largest == 0


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[1]",
        "{",
        '{"layers": 3}',
        '{"preprocessing": {"mean": 1}, "prototxt": 5}',
        '{"preprocessing": {"mean": ["x"]}}',
        '{"preprocessing": {"scale": null}}',
        '{"preprocessing": {"range": NaN}}',
        '{"preprocessing": {"crop": "x"}}',
        '{"preprocessing": {"channels": 5}}',
        '{"net": 5}',
        '{"notes": 5}',
        "[" * 9999,
        '{"preprocessing": {"crop": ' + "1" * 5000 + "}}",
        '{"preprocessing": {"crop": true}}',
        '{"preprocessing": {"scale": 1' + "0" * 400 + "}}",
        '{"preprocessing": []}',
        '{"layers": {"a": "b"}}',
        r'{"net": "\ud800"}',
        '{"later": ' + "[" * 100_000 + "]" * 100_000 + "}",
    ],
)
def test_a_card_that_is_none(tmp_path, text):
    write_safetensors(tmp_path / "x", {"a.weight": values(2)}, metadata={"netc": text})
    with pytest.raises(NetcError) as caught:
        read_card(tmp_path / "x")
    assert caught.value.code == "W761"


@pytest.mark.parametrize(
    "layers", [{"a": ["a.weight", "a.bias"]}, {"a": ["a.weight"], "b": ["a.weight"]}], ids=["too many", "one twice"]
)
def test_a_card_of_other_arrays(tmp_path, layers):
    tensors = {"a.weight": values(2), "b.weight": values(3)}
    write_safetensors(tmp_path / "x", tensors, metadata={"netc": json.dumps({"layers": layers})})
    with pytest.raises(NetcError) as caught:
        convert(str(tmp_path / "x"), str(tmp_path / "y.npz"))
    assert caught.value.code == "W761"


def test_no_card(trained, tmp_path):
    write_safetensors(tmp_path / "x", {"a.weight": values(2)})
    assert read_card(tmp_path / "x") is None
    assert read_card(trained[0]) is None


# -- the net -----------------------------------------------------------------------------------------------------------

DEPLOY = """
name: "small"
layer { name: "in" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 8 dim: 11 } } }
layer { name: "ip.1" type: "InnerProduct" bottom: "data" top: "a" param { name: "w" } param { name: "b" }
  inner_product_param { num_output: 4 } }
layer { name: "ip2" type: "InnerProduct" bottom: "data" top: "b" param { name: "w" } param { name: "b" }
  inner_product_param { num_output: 4 } }
"""


def write_small(path: Path, **layers):
    weights.write_caffemodel(path, net_of(*((name, "InnerProduct") for name in layers)), layers)
    return str(path)


def test_weights_for_a_given_net_load_into_it(tmp_path):
    import netc

    pair = [values(4, 264), values(4)]
    path = write_small(tmp_path / "x.caffemodel", **{"ip.1": pair, "ip2": pair, "gone": [values(2)]})
    made = convert(path, str(tmp_path / "x.safetensors"), Options(net=DEPLOY))
    assert made.remarks == ['not in the net, and left out: "gone"']
    net = netc.load_net(DEPLOY, weights=made.out)
    direct = netc.load_net(DEPLOY, weights=path)
    for key, tensor in direct.state_dict().items():
        assert tensor.numpy().tobytes() == net.state_dict()[key].numpy().tobytes(), key
    import safetensors.torch

    state = safetensors.torch.load_file(made.out)
    assert net.load_state_dict(state, strict=True)


def test_hdf5_without_the_shared_arrays_is_completed(tmp_path):
    pytest.importorskip("h5py")
    from netc.weights.formats.hdf5 import hdf5_image

    weight, bias = values(4, 264), values(4)
    path = tmp_path / "x.caffemodel.h5"
    path.write_bytes(hdf5_image({"ip.1": [weight, bias], "ip2": [weight, bias]}))
    found = weights.read(convert(str(path), str(tmp_path / "y.npz"), Options(net=DEPLOY)).out)
    assert same(found["ip2"][0], weight)
    assert same(found["ip2"][1], bias)


@pytest.mark.parametrize(
    "layers, net, code",
    [
        ({"other": (4, 264)}, DEPLOY, "W764"),
        ({"ip.1": (4, 265), "ip2": (4, 264)}, DEPLOY, "W721"),
        ({"ip.1": (4, 264), "ip2": (4, 264)}, DEPLOY.replace("ip.1", "ip2"), "W765"),
    ],
)
def test_a_net_that_the_file_does_not_fit(tmp_path, layers, net, code):
    path = write_small(
        tmp_path / "x.caffemodel", **{name: [values(*shape), values(4)] for name, shape in layers.items()}
    )
    with pytest.raises(NetcError) as caught:
        convert(path, str(tmp_path / "y.npz"), Options(net=net))
    assert caught.value.code == code


def test_a_layer_that_shares_all_it_has_needs_nothing_in_the_file(tmp_path):
    arrays = [values(4, 264), values(4)]
    path = write_small(tmp_path / "x.caffemodel", **{"ip.1": arrays})
    found = weights.read(convert(path, str(tmp_path / "y.npz"), Options(net=DEPLOY)).out)
    assert all(same(mine, given) for name in ("ip.1", "ip2") for mine, given in zip(found[name], arrays, strict=True))


def test_a_training_net_in_the_file_is_made_ready_to_run(shared, tmp_path):
    """ResNet_20 was saved by training: Data layers, Splits, losses; crop_size gives its input."""
    from netc.weights.model import open_model

    graph = open_model(shared / "zoo/caffemodel/cifar10_resnet20/ResNet_20.caffemodel").runnable()
    assert graph.inputs == ("Data1",)
    assert graph.outputs == ("InnerProduct1",)
    assert graph.shapes["Data1"] == (100, 3, 28, 28)


def test_a_net_without_its_inputs_size_has_to_be_given(shared, tmp_path):
    path = shared / "zoo/caffemodel/lenet_ethereon/lenet_iter_10000.caffemodel"
    with pytest.raises(NetcError) as caught:
        convert(str(path), str(tmp_path / "x.pt2"))
    assert caught.value.code == "W763"
    assert "size of its input" in caught.value.message


# -- the file ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "to, out, format",
    [
        ("", None, "safetensors"),
        ("npz", None, "npz"),
        ("onnx", "x", "onnx"),
        ("", "x.onnx", "onnx"),
        ("", "x.h5", "hdf5"),
        ("", "x.caffemodel.h5", "hdf5"),
        ("", "X.PTH", "torchvision"),
    ],
)
def test_the_format_is_told_by_the_name(to, out, format):
    assert format_of(to, out) == format


def test_names_that_tell_nothing_and_the_file_itself(trained):
    with pytest.raises(NetcError) as caught:
        format_of("", "x.bin")
    assert caught.value.code == "C160"
    with pytest.raises(NetcError) as caught:
        convert(str(trained[0]), str(trained[0]))
    assert caught.value.code == "C161"


def test_the_default_name():
    assert default_out("d/x.caffemodel", "safetensors") == Path("d/x.safetensors")
    assert default_out("x.caffemodel.h5", "caffemodel") == Path("x.caffemodel")
    assert default_out("weights", "onnx") == Path("weights.onnx")


def flipped_by_the_disk(monkeypatch):
    """The last byte of each long write arrives with another bit."""
    write = os.pwrite

    def wrong(handle, data, offset):
        return write(handle, bytes(data)[:-1] + bytes([data[-1] ^ 1]), offset)

    monkeypatch.setattr(os, "pwrite", wrong)


def misread(monkeypatch):
    """Read again, the arrays have other shapes than those that were written."""
    from netc.weights import convert as pure

    def read(path):
        found = weights.read(path)
        return {name: [array.reshape(1, -1) for array in arrays] for name, arrays in found.items()}

    monkeypatch.setattr(pure, "read", read)


@pytest.mark.parametrize("fault", [flipped_by_the_disk, misread])
def test_what_was_written_wrongly_is_not_published(trained, tmp_path, monkeypatch, fault):
    fault(monkeypatch)
    out = tmp_path / "out.safetensors"
    out.write_text("before")
    with pytest.raises(NetcError) as caught:
        convert(str(trained[0]), str(out))
    assert caught.value.code == "W770"
    assert out.read_text() == "before"


@pytest.mark.parametrize("format", ["npz", "caffemodel"])
def test_what_another_writer_wrote_wrongly(trained, tmp_path, monkeypatch, format):
    from netc.weights import convert as pure

    whole = pure._WRITERS[format]

    def flip(path, source, *rest):
        whole(path, source, *rest)
        other = {name: [array + 1 for array in arrays] for name, arrays in weights.read(path).items()}
        rewrite(path, other)

    def rewrite(path, layers):
        if format == "npz":
            write_npz(path, layers)
        else:
            weights.write_caffemodel(path, net_of(*((name, "Bias") for name in layers)), layers)

    monkeypatch.setitem(pure._WRITERS, format, flip)
    with pytest.raises(NetcError) as caught:
        convert(str(trained[0]), str(tmp_path / "out"), Options(to=format))
    assert caught.value.code == "W770"
    assert not (tmp_path / "out").exists()

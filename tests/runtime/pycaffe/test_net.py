"""caffe.Net: blobs, passes and parts of passes, diffs, shapes, files; and what is raised."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import netc.pycaffe as caffe
from netc import proto, weights
from netc.errors import NetcError
from tests.runtime.pycaffe.nets import DEPLOY, SIMPLE, written


@pytest.fixture
def net(tmp_path: Path) -> Any:
    found = caffe.Net(written(tmp_path, SIMPLE), caffe.TRAIN)
    found.blobs["label"].data[...] = np.random.default_rng(0).integers(13, size=found.blobs["label"].shape)
    return found


@pytest.fixture
def deploy(tmp_path: Path) -> Any:
    return caffe.Net(written(tmp_path, DEPLOY), caffe.TEST)


def images(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


# -- what a net has ----------------------------------------------------------------------------------------------------


def test_names(net: Any) -> None:
    assert net.inputs == []
    assert net.outputs == ["loss"]
    assert net.name == "testnet"
    tops = [("data", ["data", "label"]), ("conv", ["conv"]), ("ip", ["ip_blob"]), ("loss", ["loss"])]
    bottoms = [("data", []), ("conv", ["data"]), ("ip", ["conv"]), ("loss", ["ip_blob", "label"])]
    assert net.top_names == OrderedDict(tops)
    assert net.bottom_names == OrderedDict(bottoms)
    assert list(net.blobs) == net._blob_names == ["data", "label", "conv", "ip_blob", "loss"]
    assert list(net.params) == ["conv", "ip"]
    assert net._inputs == []
    assert net._outputs == [4]
    assert (net._top_ids(0), net._bottom_ids(3)) == ([0, 1], [3, 1])
    assert net.blob_loss_weights == OrderedDict.fromkeys(net.blobs, 0) | {"loss": 1}


def test_layers(net: Any) -> None:
    assert list(net.layer_dict) == list(net._layer_names)
    assert [layer.type for layer in net.layers] == ["DummyData", "Convolution", "InnerProduct", "SoftmaxWithLoss"]
    for name, layer in zip(net._layer_names, net.layers, strict=True):
        assert net.layer_dict[name] is layer
        assert isinstance(layer, caffe.Layer)
    assert len(net.layers[0].blobs) == 0
    assert net.layers[1].blobs[0] is net.params["conv"][0]
    top = caffe.Blob()
    net.layers[1].reshape([net.blobs["data"]], [top])
    assert top.shape == (5, 11, 8, 9)


def test_splits_are_layers_as_in_caffe(tmp_path: Path) -> None:
    more = 'layer { name: "top" type: "ReLU" bottom: "fc" top: "top" }'
    net = caffe.Net(written(tmp_path, DEPLOY + more), caffe.TEST)
    assert net._layer_names[-3:] == ["fc_fc_0_split", "prob", "top"]
    net.forward()
    assert (net.blobs["fc_fc_0_split_1"].data == net.blobs["fc"].data).all()
    net.blobs["fc"].data[...] = 7  # the copies share its memory
    net.forward(start="top")
    assert (net.blobs["top"].data == 7).all()


def test_a_blobs_shapes(net: Any) -> None:
    blob = net.blobs["data"]
    assert blob.shape == (5, 2, 3, 4)
    assert (blob.num, blob.channels, blob.height, blob.width, blob.count) == (5, 2, 3, 4, 120)
    bias = net.params["conv"][1]
    assert (bias.shape, bias.num, bias.width) == ((11,), 11, 1)
    assert net.blobs["loss"].shape == ()


def test_what_a_prompt_shows(deploy: Any) -> None:
    assert repr(deploy).splitlines() == [
        '<Net "", TEST: 5 layers, 197 parameters>',
        "data  Input         data 2×3×4×4",
        "conv  Convolution   conv 2×4×2×2; 112 parameters",
        "relu  ReLU          conv 2×4×2×2",
        "fc    InnerProduct  fc 2×5; 85 parameters",
        "prob  Softmax       prob 2×5",
    ]
    assert repr(deploy.params["fc"]) == "[<Blob 5×16>, <Blob 5>]"
    assert repr(deploy.layers[1]) == "<Convolution layer, 2 blobs>"
    text = DEPLOY + "".join(
        f'layer {{ name: "r{n}" type: "ReLU" bottom: "prob" top: "r{n}" }}' for n in range(100)
    )  # fmt: skip
    assert len(repr(caffe.Net(text, caffe.TEST)).splitlines()) == 42


def test_arrays_outlive_their_net(net: Any) -> None:
    params = [blob for blobs in net.params.values() for blob in blobs]
    blobs = list(net.blobs.values())
    del net
    assert np.isfinite(sum(blob.data.sum() + blob.diff.sum() for blob in params + blobs))


# -- forward -----------------------------------------------------------------------------------------------------------


def test_forward_and_backward(net: Any) -> None:
    assert set(net.forward()) == {"loss"}
    assert net.backward() == {}
    assert net.params["conv"][0].diff.any()
    assert net.blobs["data"].diff.any()


def test_parameters_are_the_nets_own_memory(deploy: Any) -> None:
    deploy.blobs["data"].data[...] = images(1, 2, 3, 4, 4)
    deploy.params["fc"][0].data[...] = 0
    deploy.params["fc"][1].data[...] = np.arange(5)
    deploy.params["fc"][1].data[0] += 2
    deploy.forward()
    assert deploy.blobs["fc"].data.tolist() == [[2, 1, 2, 3, 4]] * 2


def test_an_array_that_is_held_gets_the_values_of_the_next_pass(deploy: Any) -> None:
    """In Caffe it is the blob's memory, whatever runs."""
    out, conv = deploy.forward()["prob"], deploy.blobs["conv"].data
    before = out.copy()
    deploy.blobs["data"].data[...] = images(1, 2, 3, 4, 4)
    after = deploy.forward()["prob"]
    assert after is out
    assert (out != before).any()
    assert conv.max() > 0
    conv[...] = 0
    deploy.forward(start="fc")
    assert (deploy.blobs["fc"].data == deploy.params["fc"][1].data).all()


def test_inputs_as_keywords(deploy: Any) -> None:
    x = images(2, 2, 3, 4, 4)
    found = deploy.forward(data=x, blobs=["fc"])
    assert set(found) == {"prob", "fc"}
    assert (deploy.blobs["data"].data == x).all()
    with pytest.raises(Exception, match="do not match net inputs"):
        deploy.forward(dada=x)
    with pytest.raises(Exception, match="not batch sized"):
        deploy.forward(data=x[:1])
    with pytest.raises(KeyError):
        deploy.forward(blobs=["nothing"])
    with pytest.raises(ValueError):
        deploy.forward(start="nothing")


def test_forward_of_a_part(net: Any) -> None:
    """Of a net that has never run, too."""
    net.blobs["conv"].data[...] = images(3, *net.blobs["conv"].shape)
    found = net.forward(start="ip", end="ip")
    assert set(found) == {"ip_blob"}
    rows = net.blobs["conv"].data.reshape(5, -1)
    wanted = rows @ net.params["ip"][0].data.T + net.params["ip"][1].data
    np.testing.assert_allclose(net.blobs["ip_blob"].data, wanted, rtol=1e-3, atol=1e-4)


def test_backward_of_a_part(net: Any) -> None:
    """Of a net that has never run, too."""
    net.blobs["ip_blob"].diff[...] = images(4, 5, 13)
    net.blobs["conv"].data[...] = images(3, *net.blobs["conv"].shape)
    found = net.backward(start="ip", end="ip")
    assert set(found) == {"conv"}
    diff = net.blobs["ip_blob"].diff
    wanted = (diff @ net.params["ip"][0].data).reshape(net.blobs["conv"].shape)
    np.testing.assert_allclose(net.blobs["conv"].diff, wanted, rtol=1e-3, atol=1e-4)
    weight = diff.T @ net.blobs["conv"].data.reshape(5, -1)
    np.testing.assert_allclose(net.params["ip"][0].diff, weight, rtol=1e-3, atol=1e-4)
    assert not net.params["conv"][0].diff.any()


def test_backward_uses_what_was_written_into_a_diff(deploy: Any) -> None:
    """A class's saliency: the derivative of one probability, with force_backward only for the data."""
    header = "force_backward: true\n" + DEPLOY
    net = caffe.Net(header, caffe.TEST)
    net.blobs["data"].data[...] = images(5, 2, 3, 4, 4)
    net.forward()
    net.blobs["prob"].diff[...] = 0
    net.blobs["prob"].diff[0, 3] = 1
    found = net.backward()
    assert set(found) == {"data"}
    step, found = 1e-2, found["data"].copy()
    assert not found[1].any()
    for place in ((0, 1, 2, 3), (0, 0, 0, 0)):
        values = []
        for sign in (1, -1):
            net.blobs["data"].data[place] += sign * step
            values.append(float(net.forward()["prob"][0, 3]))
            net.blobs["data"].data[place] -= sign * step
        assert found[place] == pytest.approx((values[0] - values[1]) / (2 * step), rel=2e-2, abs=1e-4)
    deploy.forward()
    deploy.blobs["prob"].diff[...] = 1
    assert not deploy.backward()["data"].any(), "without force_backward no gradient goes to the data"
    with pytest.raises(Exception, match="do not match net outputs"):
        deploy.backward(fc=np.zeros((2, 5)))
    with pytest.raises(Exception, match="Diff is not batch sized"):
        deploy.backward(prob=np.zeros((1, 5)))


def test_diffs_of_parameters_add_up_until_they_are_cleared(net: Any) -> None:
    net.forward()
    net.backward()
    diff = net.params["conv"][0].diff
    once, of_blob = diff.copy(), net.blobs["conv"].diff.copy()
    net.backward()
    np.testing.assert_allclose(diff, 2 * once, rtol=1e-5)
    assert (net.blobs["conv"].diff == of_blob).all()
    net.clear_param_diffs()
    assert (diff == 0).all()


def test_a_residual_block_adds_what_comes_by_both_ways(tmp_path: Path) -> None:
    text = """force_backward: true
    layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 } } }
    layer { name: "fc" type: "InnerProduct" bottom: "data" top: "fc" inner_product_param { num_output: 3 } }
    layer { name: "sum" type: "Eltwise" bottom: "data" bottom: "fc" top: "sum" }"""
    net = caffe.Net(written(tmp_path, text), caffe.TRAIN)
    net.params["fc"][0].data[...] = 2 * np.eye(3)
    net.forward(data=np.ones((2, 3)))
    net.blobs["sum"].diff[...] = 1
    net.backward()
    assert (net.blobs["data"].diff == 3).all()
    assert (net.blobs["data_data_0_split_1"].diff == 1).all()


def test_gradients_do_not_depend_on_arrays_that_are_held(tmp_path: Path) -> None:
    """They move the values of a pass into the memory of the one before."""
    extra = """layer { name: "bn" type: "BatchNorm" bottom: "fc" top: "fc" }
    layer { name: "sig" type: "Sigmoid" bottom: "fc" top: "fc" }
    layer { name: "sum" type: "Eltwise" bottom: "fc" bottom: "prob" top: "sum" }"""
    path = written(
        tmp_path,
        "force_backward: true\n"
        + DEPLOY.replace('layer { name: "prob"', extra.partition('    layer { name: "sum"')[0] + 'layer { name: "prob"')
        + extra[extra.index('    layer { name: "sum"') :],
    )
    nets = [caffe.Net(path, caffe.TRAIN) for _ in range(2)]
    nets[1].share_with(nets[0])
    held = [blob.data for blob in nets[0].blobs.values()]
    for turn in range(3):
        for net in nets:
            net.clear_param_diffs()
            net.forward(data=images(turn, 2, 3, 4, 4))
            net.blobs["sum"].diff[...] = images(9, 2, 5)
            net.backward()
        for name in nets[0].blobs:
            one, other = (net.blobs[name] for net in nets)
            np.testing.assert_allclose(one.data, other.data, rtol=1e-6, atol=1e-7)
            np.testing.assert_allclose(one.diff, other.diff, rtol=1e-5, atol=1e-7)
        for ours, theirs in zip(nets[0].params["conv"], nets[1].params["conv"], strict=True):
            np.testing.assert_allclose(ours.diff, theirs.diff, rtol=1e-5, atol=1e-6)
    for array, blob in zip(held, nets[0].blobs.values(), strict=True):
        assert array is blob.data


@pytest.mark.parametrize(
    "join, pieces",
    [
        ('type: "Eltwise"', 'type: "ReLU"'),
        ('type: "Concat"', 'type: "ReLU"'),
        ('type: "Eltwise"', 'type: "Flatten"'),
        ('type: "Eltwise"', 'type: "Dropout"'),
    ],
)
def test_diffs_have_memory_of_their_own(tmp_path: Path, join: str, pieces: str) -> None:
    """Also where a layer hands its diff on as it is: what is written into one must not show in another."""
    text = f"""force_backward: true
    layer {{ name: "data" type: "Input" top: "data" input_param {{ shape {{ dim: 2 dim: 3 }} }} }}
    layer {{ name: "a" {pieces} bottom: "data" top: "a" }} layer {{ name: "b" {pieces} bottom: "data" top: "b" }}
    layer {{ name: "join" {join} bottom: "a" bottom: "b" top: "join" }}"""
    net = caffe.Net(written(tmp_path, text), caffe.TEST)
    net.forward(data=np.ones((2, 3)))
    net.blobs["join"].diff[...] = 1
    net.backward()
    assert (net.blobs["data"].diff == 2).all()
    names = [name for name in net.blobs if "split" not in name]
    for number, name in enumerate(names):
        net.blobs[name].diff[...] = number
        net.blobs[name].data[...] = number
    for number, name in enumerate(names):
        assert (net.blobs[name].diff == number).all(), name
        if "Flatten" not in pieces:  # which shares the data of its bottom, as in Caffe
            assert (net.blobs[name].data == number).all(), name


def test_a_write_between_forward_and_backward_counts(tmp_path: Path) -> None:
    """Parameters too: Caffe's backward reads them as they are."""
    net = caffe.Net(written(tmp_path, "force_backward: true\n" + DEPLOY), caffe.TEST)
    net.forward(data=images(6, 2, 3, 4, 4))
    net.blobs["fc"].diff[...] = 1
    net.params["fc"][0].data[...] = 0.5
    net.backward(start="fc", end="fc")
    assert (net.blobs["conv"].diff == 2.5).all()
    net.save(tmp_path / "a.caffemodel")
    net.copy_from(tmp_path / "a.caffemodel")  # a write of torch's, which torch notices
    net.blobs["conv"].diff[...] = 0
    net.backward(start="fc", end="fc")
    assert (net.blobs["conv"].diff == 2.5).all()


def test_calls_before_and_after_each_layer(deploy: Any) -> None:
    seen: list[tuple[str, int]] = []
    for name in ("before_forward", "after_forward", "before_backward", "after_backward"):
        getattr(deploy, name)(lambda layer, name=name: seen.append((name, layer)))
    deploy.forward(start="fc")
    deploy.backward(end="prob")
    forward = [(f"{when}_forward", layer) for layer in (3, 4) for when in ("before", "after")]
    assert seen == [*forward, ("before_backward", 4), ("after_backward", 4)]


def test_batches_of_any_number(deploy: Any) -> None:
    x = images(7, 5, 3, 4, 4)
    found = deploy.forward_all(data=x, blobs=["fc"])
    assert {name: values.shape for name, values in found.items()} == {"prob": (5, 5), "fc": (5, 5)}
    for row in range(5):
        one = deploy.forward(data=x[[row, row]])["prob"]
        np.testing.assert_allclose(found["prob"][row], one[0], rtol=1e-6)


def test_forward_and_backward_over_any_number(tmp_path: Path) -> None:
    net = caffe.Net(written(tmp_path, "force_backward: true\n" + DEPLOY), caffe.TEST)
    x, diff = images(7, 5, 3, 4, 4), images(8, 5, 5)
    out, back = net.forward_backward_all(data=x, prob=diff, blobs=["fc"], diffs=["conv"])
    assert {name: len(values) for name, values in (out | back).items()} == dict.fromkeys(out | back, 5)
    net.forward(data=x[2:4])
    one = net.backward(prob=diff[2:4])["data"]
    np.testing.assert_allclose(back["data"][2:4], one, rtol=1e-5, atol=1e-7)


# -- shapes ------------------------------------------------------------------------------------------------------------


def test_reshape_goes_through_the_net(tmp_path: Path) -> None:
    text = DEPLOY.partition('layer { name: "fc"')[0]
    net = caffe.Net(written(tmp_path, text), caffe.TEST)
    net.blobs["data"].reshape(1, 3, 9, 8)
    assert net.blobs["conv"].shape == (2, 4, 2, 2)
    net.reshape()
    assert net.blobs["conv"].shape == (1, 4, 7, 6)
    net.blobs["data"].reshape(3, 3, 5, 5)
    assert net.forward()["conv"].shape == (3, 4, 3, 3)


def test_a_shape_that_does_not_fit_is_an_error(deploy: Any) -> None:
    deploy.blobs["data"].reshape(1, 3, 9, 9)
    for run in (deploy.reshape, deploy.forward):
        with pytest.raises(NetcError) as error:
            run()
        assert "fc" in str(error.value)
    with pytest.raises(ValueError, match="cannot have the shape"):
        deploy.blobs["data"].reshape(-1, 3)


def test_reshaping_keeps_values(deploy: Any) -> None:
    blob = deploy.blobs["data"]
    blob.data.flat = np.arange(96)
    blob.reshape(96)
    assert blob.data.tolist() == list(range(96))
    blob.reshape(2, 5)
    assert blob.data.ravel().tolist() == list(range(10))
    blob.reshape(11)
    assert blob.data.tolist()[:10] == list(range(10))


# -- phases, levels, stages --------------------------------------------------------------------------------------------

CHOICES = """
layer { name: "data" type: "DummyData" top: "data" dummy_data_param { shape { dim: 1 dim: 1 dim: 10 dim: 10 } } }
layer { name: "all" type: "ReLU" bottom: "data" top: "all" }
layer { name: "low" type: "ReLU" bottom: "data" top: "low" include { max_level: 0 } }
layer { name: "high" type: "ReLU" bottom: "data" top: "high" include { min_level: 1 } }
layer { name: "a" type: "ReLU" bottom: "data" top: "a" include { stage: "A" } }
layer { name: "ab" type: "ReLU" bottom: "data" top: "ab" include { stage: "A" stage: "B" } }
layer { name: "train" type: "ReLU" bottom: "data" top: "train" include { phase: TRAIN } }
"""


@pytest.mark.parametrize(
    "phase, options, more",
    [
        (caffe.TEST, {}, ["low"]),
        (caffe.TRAIN, {}, ["low", "train"]),
        (caffe.TEST, {"level": 1}, ["high"]),
        (caffe.TEST, {"stages": ["A"]}, ["low", "a"]),
        (caffe.TEST, {"stages": ["A", "B"], "level": 2}, ["high", "a", "ab"]),
    ],
)
def test_what_is_chosen(tmp_path: Path, phase: int, options: dict[str, Any], more: list[str]) -> None:
    net = caffe.Net(written(tmp_path, CHOICES), phase, **options)
    assert [name for name in net.blobs if "data" not in name] == ["all", *more]


# -- sources -----------------------------------------------------------------------------------------------------------


def test_random_data_are_new_in_each_pass_and_constants_are_the_programs(net: Any) -> None:
    net.forward()
    first, labels = net.blobs["data"].data.copy(), net.blobs["label"].data.copy()
    assert labels.any()
    net.forward()
    assert (net.blobs["data"].data != first).any()
    assert (net.blobs["label"].data == labels).all()
    second = net.blobs["data"].data.copy()
    net.forward(start="conv")
    assert (net.blobs["data"].data == second).all()


MEMORY = """layer { name: "data" type: "MemoryData" top: "data" top: "label"
  memory_data_param { batch_size: 2 channels: 1 height: 1 width: 3 } }
layer { name: "sum" type: "Reduction" bottom: "data" top: "sum" reduction_param { axis: 1 } }"""


def test_arrays_feed_memory_data(tmp_path: Path, deploy: Any) -> None:
    net = caffe.Net(written(tmp_path, MEMORY, "memory.prototxt"), caffe.TEST)
    data = np.arange(12, dtype=np.float32).reshape(4, 1, 1, 3)
    net.set_input_arrays(data, np.arange(4, dtype=np.float32))
    assert [net.forward()["sum"].tolist() for _ in range(3)] == [[3, 12], [21, 30], [3, 12]]
    assert net.blobs["label"].data.ravel().tolist() == [0, 1]
    labels = np.zeros(4, np.float32)
    for wrong, message in (
        ((data.astype(float), labels), "must be float32"),
        ((data[:, :, :, ::-1], labels), "C contiguous"),
        ((data[0], labels), "must be 4-d"),
        ((data.reshape(4, 3, 1, 1), labels), "wrong number of channels"),
        ((data[:3], labels[:3]), "multiple of batch size"),
        ((data, labels[:2]), "same first dimension"),
    ):
        with pytest.raises(RuntimeError, match=message):
            net.set_input_arrays(*wrong)
    with pytest.raises(RuntimeError, match="MemoryDataLayer"):
        deploy.set_input_arrays(data, labels)


# -- files -------------------------------------------------------------------------------------------------------------


def equal(one: Any, other: Any) -> bool:
    pairs = [(one.params[name], other.params[name]) for name in one.params]
    return all((a.data == b.data).all() for ours, theirs in pairs for a, b in zip(ours, theirs, strict=True))


def test_weights_are_saved_and_loaded(net: Any, tmp_path: Path) -> None:
    net.params["conv"][0].data[...] += 1
    net.save(str(tmp_path / "a.caffemodel"))
    model = written(tmp_path, SIMPLE)
    again = caffe.Net(model, caffe.TRAIN)
    assert not equal(net, again)
    again.copy_from(tmp_path / "a.caffemodel")
    assert equal(net, again)
    assert equal(net, caffe.Net(model, caffe.TRAIN, weights=str(tmp_path / "a.caffemodel")))
    with pytest.warns(UserWarning, match="deprecated"):
        assert equal(net, caffe.Net(model, str(tmp_path / "a.caffemodel"), caffe.TRAIN))
    saved = proto.NetParameter.FromString((tmp_path / "a.caffemodel").read_bytes())
    assert [layer.name for layer in saved.layer] == net._layer_names
    assert not saved.layer[1].blobs[0].diff


def test_weights_in_hdf5(net: Any, tmp_path: Path) -> None:
    net.params["ip"][1].data[...] = 5
    net.save_hdf5(str(tmp_path / "noending"))
    again = caffe.Net(written(tmp_path, SIMPLE), caffe.TRAIN)
    again.load_hdf5(str(tmp_path / "noending"))
    assert equal(net, again)
    with h5py.File(tmp_path / "noending") as file:
        assert sorted(file["data"]) == sorted(net._layer_names)
        assert (file["data/ip/1"][:] == 5).all()


def test_weights_that_do_not_fit_are_an_error(net: Any, tmp_path: Path) -> None:
    weights.write_caffemodel(tmp_path / "a.caffemodel", net._module.graph.param, {"ip": [np.zeros((2, 2))]})
    with pytest.raises(NetcError):
        net.copy_from(str(tmp_path / "a.caffemodel"))
    with pytest.raises(NetcError):
        net.copy_from(str(tmp_path / "none.caffemodel"))


def test_nets_that_share_their_parameters(deploy: Any, tmp_path: Path) -> None:
    other = caffe.Net(written(tmp_path, DEPLOY), caffe.TEST)
    other.share_with(deploy)
    deploy.params["fc"][1].data[...] = 9
    assert (other.params["fc"][1].data == 9).all()
    other.params["fc"][1].diff[...] = 1
    assert not deploy.params["fc"][1].diff.any()


def test_parameters_shared_within_a_net(tmp_path: Path) -> None:
    text = """force_backward: true
    layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 2 } } }
    layer { name: "a" type: "InnerProduct" bottom: "data" top: "a" param { name: "w" }
      inner_product_param { num_output: 2 bias_term: false } }
    layer { name: "b" type: "InnerProduct" bottom: "a" top: "b" param { name: "w" }
      inner_product_param { num_output: 2 bias_term: false } }"""
    net = caffe.Net(written(tmp_path, text), caffe.TRAIN)
    net.params["a"][0].data[...] = [[1, 2], [3, 4]]
    assert (net.params["b"][0].data == net.params["a"][0].data).all()
    net.forward(data=np.array([[1, 1]]))
    assert net.blobs["b"].data.tolist() == [[17, 37]]
    net.blobs["b"].diff[...] = 1
    net.backward()  # b: 1 · a^T; a: (W^T 1) · x^T
    assert net.params["b"][0].diff.tolist() == [[3 + 4, 7 + 4], [3 + 6, 7 + 6]]


# -- what is raised ----------------------------------------------------------------------------------------------------


def test_a_net_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="Could not open file"):
        caffe.Net(str(tmp_path / "none.prototxt"), caffe.TEST)


def test_what_caffe_would_die_of_is_an_exception(tmp_path: Path) -> None:
    with pytest.raises(NetcError):
        caffe.Net(written(tmp_path, 'layer { name: "x" type: "Nothing" }'), caffe.TEST)


@pytest.mark.parametrize("arguments", [(), ("TEST",), (2,), (caffe.TEST, 0, (), None, 1)])
def test_arguments_that_are_no_phase(tmp_path: Path, arguments: tuple[Any, ...]) -> None:
    with pytest.raises(TypeError):
        caffe.Net(written(tmp_path, DEPLOY), *arguments)

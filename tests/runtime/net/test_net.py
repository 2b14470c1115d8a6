"""The module that walks the graph: calling it, naming blobs, weights, randomness, compiling, and errors with places."""

import json

import numpy as np
import pytest
import torch

import netc
from netc.errors import NetcError

NET = """
name: "small"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 7 dim: 5 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 4 kernel_size: 3 pad: 1 weight_filler { type: "xavier" } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "train" type: "InnerProduct" bottom: "conv" top: "fc.1"
  inner_product_param { num_output: 6 weight_filler { type: "xavier" } } }
layer { name: "drop" type: "Dropout" bottom: "fc.1" top: "fc.1" dropout_param { dropout_ratio: 0.4 } }
layer { name: "fc.2" type: "InnerProduct" bottom: "fc.1" top: "score"
  param { lr_mult: 0 } inner_product_param { num_output: 2 weight_filler { type: "xavier" } } }
"""


@pytest.fixture
def net():
    return netc.load_net(NET)


def images(batch=2, seed=0, height=7):
    return torch.randn(batch, 3, height, 5, generator=torch.Generator().manual_seed(seed))


def test_call_by_position_name_and_mapping(net):
    x = images()
    outputs = net(x)
    assert list(outputs) == ["score"]
    assert torch.equal(outputs["score"], net(data=x)["score"])
    assert torch.equal(outputs["score"], net({"data": x})["score"])


def test_any_blobs_instead_of_the_outputs(net):
    found = net(images(), blobs=["conv", "data"])
    assert list(found) == ["conv", "data"]
    assert found["conv"].shape == (2, 4, 7, 5)
    assert (found["conv"] >= 0).all()  # the blob's value is that of its last writer, the ReLU


def test_batch_size_is_free(net):
    assert net(images(batch=5))["score"].shape == (5, 2)


def test_keys_and_frozen_parameters(net):
    keys = {"conv.weight", "conv.bias", "train_.weight", "train_.bias", "fc_2.weight", "fc_2.bias"}
    assert set(net.state_dict()) == keys
    assert list(net.params) == ["conv", "train", "fc.2"]
    assert [p.requires_grad for p in net.params["fc.2"]] == [False, True]
    net.load_state_dict(net.state_dict())
    assert callable(net.train)  # a layer may be called as a method is


def test_same_seed_same_weights():
    first, again = netc.load_net(NET).state_dict(), netc.load_net(NET).state_dict()
    assert all(torch.equal(first[key], again[key]) for key in first)


def test_dropout_depends_on_iteration_and_position_only():
    net = netc.load_net(NET, phase="TRAIN")
    x = images(batch=6)
    whole = net(x, blobs=["fc.1"])["fc.1"]
    net.clock.iteration, net.clock.part = 0, range(4, 6)
    assert torch.allclose(net(x[4:], blobs=["fc.1"])["fc.1"], whole[4:], atol=1e-6)
    assert (
        torch.equal(net(x[4:], blobs=["fc.1"])["fc.1"] == 0, whole[4:] == 0) is False
    )  # by then the next iteration's mask


def two_drops(names, phases=("", "")):
    """A net in which two Dropout layers with these names and `phase:` lines read the same blob."""
    named = [f'name: "{name}"' if name else "" for name in names]
    drops = "".join(
        f'layer {{ {name} {phase} type: "Dropout" bottom: "x" top: "y{i}" }}'
        for i, (name, phase) in enumerate(zip(named, phases, strict=True))
    )
    shape = "input_param { shape { dim: 4 dim: 9 } }"
    return f'layer {{ name: "x" type: "Input" top: "x" {shape} }} {drops}'


@pytest.mark.parametrize("names", [("drop", "drop"), ("", ""), ("", "other")])
def test_each_dropout_has_a_mask_of_its_own(names):
    found = netc.load_net(two_drops(names), phase="TRAIN")(torch.ones(4, 9))
    assert not torch.equal(found["y0"], found["y1"])


def test_a_repeated_name_leaves_the_first_layer_its_numbers():
    first = [netc.load_net(two_drops(("drop", other)), phase="TRAIN")(torch.ones(4, 9)) for other in ("drop", "last")]
    assert torch.equal(first[0]["y0"], first[1]["y0"])


@pytest.mark.parametrize("phase", ["TRAIN", "TEST"])
def test_dropout_follows_the_phase_of_its_own_layer(phase):
    net = netc.load_net(two_drops(("a", "b"), ("phase: TRAIN", "phase: TEST")), phase=phase)
    masks = [net(torch.ones(4, 9)) for _ in range(2)]
    assert not torch.equal(masks[0]["y0"], masks[1]["y0"])
    assert torch.equal(masks[0]["y1"], torch.ones(4, 9))


def test_torch_compile_gives_the_same(net):
    compiled = torch.compile(net, backend="eager", fullgraph=True)
    assert torch.equal(compiled(images())["score"], net(images())["score"])


def test_torch_export_with_dynamic_batch(net):
    program = torch.export.export(net, (images(),), dynamic_shapes=(({0: torch.export.Dim("n")},),))
    assert torch.allclose(program.module()(images(batch=3))["score"], net(images(batch=3))["score"])


@pytest.mark.parametrize(
    ("call", "code", "words"),
    [
        (lambda net: net(), "R601", "data"),
        (lambda net: net(dta=images()), "R601", 'did you mean "data"'),
        (lambda net: net(images(), blobs=["conv1"]), "R602", 'did you mean "conv"'),
        (lambda net: net(images(height=9)), "R603", "its weight is 6×140, these bottoms need 6×180"),
    ],
)
def test_errors(net, call, code, words):
    with pytest.raises(NetcError) as caught:
        call(net)
    assert caught.value.code == code
    assert words in str(caught.value)


def test_loss_of_train_net_is_weighted():
    text = (
        NET
        + """
layer { name: "label" type: "Input" top: "label" input_param { shape { dim: 2 } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" loss_weight: 0.5 }
"""
    )
    net = netc.load_net(text, phase="TRAIN")
    outputs = net(data=images(), label=torch.tensor([0.0, 1.0]))
    total = net.losses(outputs)
    net.clock.iteration = 0
    score = net(data=images(), label=torch.tensor([0.0, 1.0]), blobs=["score"])["score"]
    expected = 0.5 * torch.nn.functional.cross_entropy(score, torch.tensor([0, 1]))
    assert torch.allclose(total, expected)
    total.backward()
    assert net.params["conv"][0].grad is not None


def test_whole_net_of_real_caffe(shared):
    """The fully-connected blobs of the full-size net A against Caffe's (1e-4 of the blob's largest value: float32 sums
    of up to 25,088 terms in another order)."""
    case = json.loads((shared / "goldens/big/vgg11.json").read_text())
    golden = np.load(shared / "goldens/big/vgg11.npz")
    net = netc.load_net("models/vgg_A/deploy.prototxt")
    _seeded_weights(net)
    shape = [case["batch"], *case["blobs"]["data"][1:]]
    data = np.random.RandomState(0).standard_normal(shape) * case["input_scale"]
    with torch.no_grad():
        found = net(torch.from_numpy(data).float(), blobs=["fc6", "fc7", "fc8", "prob"])
    for blob in ("fc6", "fc7", "fc8", "prob"):
        expected = golden[f"full:{blob}"]
        assert np.abs(found[blob].numpy() - expected).max() <= 1e-4 * np.abs(expected).max(), blob


def _seeded_weights(net):
    tensors = [tensor for values in net.params.values() for tensor in values]
    with torch.no_grad():
        for k, tensor in enumerate(tensors):
            draw = np.random.RandomState(1000 + k).standard_normal(tuple(tensor.shape))
            scale = np.sqrt(2 / np.prod(tensor.shape[1:])) if tensor.dim() > 1 else 0.05
            tensor.copy_(torch.from_numpy(draw * scale))


def test_the_phase_is_named_in_either_case():
    assert [netc.compile_net(NET, phase=name).phase for name in ("train", "TRAIN", "test", "Test")] == [0, 0, 1, 1]


def test_a_layer_of_a_repeated_name_is_filled_where_the_first_is_to_be_loaded():
    layer = (
        'layer {{ name: "ip" type: "InnerProduct" bottom: "{}" top: "{}" '
        'inner_product_param {{ num_output: 3 weight_filler {{ type: "constant" value: 7 }} }} }}\n'
    )
    text = 'input: "x" input_dim: 1 input_dim: 3 input_dim: 1 input_dim: 1\n' + layer.format("x", "y")
    given = {"ip": [np.full((3, 3), 5, "f4"), np.zeros(3, "f4")]}
    net = netc.load_net(text + layer.format("y", "z"), weights=given)
    assert (net.state_dict()["ip.weight"] == 5).all()
    assert (net.state_dict()["ip#2.weight"] == 7).all()


def test_a_parameter_shared_in_another_shape_is_one_parameter() -> None:
    def layer(name: str, bottom: str, outputs: int) -> str:
        return f"""layer {{ name: "{name}" type: "InnerProduct" bottom: "{bottom}" top: "{name}"
          param {{ name: "w" share_mode: PERMISSIVE }}
          inner_product_param {{ num_output: {outputs} bias_term: false weight_filler {{ type: "gaussian" }} }} }}"""

    text = 'layer { name: "i" type: "Input" top: "x" input_param { shape { dim: 2 dim: 4 } } }'
    text += layer("a", "x", 6) + layer("b", "a", 4)
    net = netc.load_net(text, "TRAIN")
    (a,), (b,) = net.params["a"], net.params["b"]
    assert (tuple(a.shape), tuple(b.shape)) == ((6, 4), (4, 6))
    assert len(list(net.parameters())) == 1
    x, w = torch.randn(2, 4), a.detach().clone().requires_grad_()
    net(x=x)["b"].square().sum().backward()
    expected = x @ w.t() @ w.reshape(4, 6).t()
    torch.testing.assert_close(net(x=x)["b"], expected)
    expected.square().sum().backward()
    torch.testing.assert_close(net.params["a"][0].grad, w.grad)
    other = netc.load_net(text, "TEST")
    other.share_from(net)
    torch.testing.assert_close(other(x=x)["b"], expected)
    fresh = netc.load_net(text, "TEST", weights={"a": [w.detach().numpy()], "b": [w.detach().view(4, 6).numpy()]})
    torch.testing.assert_close(fresh(x=x)["b"], expected)


def test_numpy_arrays_are_taken_as_inputs():
    net = netc.load_net(
        'layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }\n'
        'layer { name: "ip" type: "InnerProduct" bottom: "x" top: "y" inner_product_param { num_output: 4'
        ' weight_filler { type: "constant" value: 2 } } }\n'
    )
    assert net(x=np.arange(6).reshape(2, 3))["y"][:, 0].tolist() == [6, 24]
    with pytest.raises(NetcError, match="R601") as raised:
        net(x="photo.jpg")
    assert "is a str" in str(raised.value)


def test_a_label_that_is_not_given_is_told_with_what_needs_it() -> None:
    net = netc.load_net(
        """layer { name: "d" type: "Input" top: "data" top: "label"
          input_param { shape { dim: 2 dim: 3 } shape { dim: 2 } } }
        layer { name: "fc" type: "InnerProduct" bottom: "data" top: "fc"
          inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
        layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" top: "loss" }"""
    )
    with pytest.raises(NetcError, match='"label" is not given, and loss needs it') as caught:
        net(data=torch.ones(2, 3))
    assert caught.value.code == "R601"
    assert 'blobs=["fc"]' in (caught.value.hint or "")
    assert list(net(data=torch.ones(2, 3), blobs=["fc"])) == ["fc"]

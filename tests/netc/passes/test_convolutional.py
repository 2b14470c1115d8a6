"""A classifier's convolutional form: what becomes of each layer, and which nets have none."""

from __future__ import annotations

import pytest

from netc import compile_net
from netc.errors import NetcError
from netc.passes.convolutional import convolutional

INPUT = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 12 dim: 10 } } }\n'
CONV = """layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 4 kernel_size: 3 stride: 3 } }\n"""
"""A map of 4 × 4 × 3."""


def layer(name: str, kind: str, bottoms: str, top: str, rest: str = "") -> str:
    listed = " ".join(f'bottom: "{blob}"' for blob in bottoms.split())
    return f'layer {{ name: "{name}" type: "{kind}" {listed} top: "{top}" {rest} }}\n'


def fc(name: str, bottom: str, outputs: int = 5, rest: str = "") -> str:
    return layer(name, "InnerProduct", bottom, name, f"inner_product_param {{ num_output: {outputs} {rest} }}")


def form(*layers: str):
    return convolutional(compile_net(INPUT + CONV + "".join(layers), "TEST"))


def test_a_kernel_is_as_large_as_the_plane() -> None:
    made = form(fc("fc1", "conv", rest='bias_term: false weight_filler { type: "xavier" }'), fc("fc2", "fc1", 7))
    first, second = made.layers.params[2:]
    assert made.converted == ["fc1", "fc2"]
    options = first.convolution_param
    assert (first.type, options.kernel_h, options.kernel_w, options.num_output) == ("Convolution", 4, 3, 5)
    assert (options.bias_term, options.weight_filler.type, list(second.convolution_param.kernel_size)) == (
        False,
        "xavier",
        [1],
    )
    assert made.graph.shapes["fc2"] == (2, 7, 1, 1)
    assert made.sized(30, 22).shapes["fc2"] == (2, 7, 7, 5)


@pytest.mark.parametrize(
    "flat",
    [
        layer("flat", "Flatten", "conv", "flat"),
        layer("flat", "Reshape", "conv", "flat", "reshape_param { shape { dim: 0 dim: -1 } }"),
    ],
)
def test_a_flatten_goes(flat: str) -> None:
    made = form(flat, layer("relu", "ReLU", "flat", "flat"), fc("fc", "flat"), layer("prob", "Softmax", "fc", "prob"))
    assert (made.dropped, made.converted) == (["flat"], ["fc"])
    assert made.sized(30, 22).shapes["prob"] == (2, 5, 7, 5)


def test_layers_behind_work_on_channels() -> None:
    """An axis that is counted from the end, or to the end, is that of the channels still."""
    made = form(
        fc("a", "conv"),
        fc("b", "conv", 2),
        layer("cat", "Concat", "a b", "cat", "concat_param { axis: -1 }"),
        layer("scale", "Scale", "cat", "scale", "scale_param { num_axes: -1 bias_term: true }"),
        layer("norm", "BatchNorm", "scale", "norm"),
        layer("prob", "Softmax", "norm", "prob", "softmax_param { axis: -1 }"),
    )
    assert made.sized(30, 22).shapes["prob"] == (2, 7, 7, 5)
    assert [ref.blob.shape for ref in made.graph.node("scale").params] == [(7,), (7,)]


def test_only_what_is_wanted_is_looked_at() -> None:
    graph = compile_net(INPUT + CONV + fc("good", "conv") + fc("bad", "conv", rest="transpose: true"), "TEST")
    assert convolutional(graph, ["good"]).converted == ["good"]
    with pytest.raises(NetcError, match="transposed") as found:
        convolutional(graph)
    assert found.value.code == "L308"


def test_squeeze_and_excitation_stays() -> None:
    pool = layer("pool", "Pooling", "conv", "pool", "pooling_param { pool: AVE global_pooling: true }")
    made = form(pool, fc("weights", "pool", 4), layer("by", "Scale", "conv weights", "by", "scale_param { axis: 0 }"))
    assert made.converted == []
    assert made.sized(30, 22).shapes["by"] == (2, 4, 10, 7)


REFUSED = {
    "inner products from axis 2 on": (fc("fc", "conv", rest="axis: 2"), "L308", "from axis 2"),
    "a softmax over all values": (
        layer("flat", "Flatten", "conv", "flat") + layer("prob", "Softmax", "flat", "prob"),
        "L308",
        "no form on a map",
    ),
    "a factor for each place": (
        layer("scale", "Scale", "conv", "scale", "scale_param { axis: 1 num_axes: 3 }"),
        "L309",
        "4×4×3, and on larger images",
    ),
    "a reshape to sizes": (
        layer("rows", "Reshape", "conv", "rows", "reshape_param { shape { dim: 2 dim: 12 dim: 4 } }"),
        "L309",
        "on images of other sizes",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_nets_without_a_form_say_why(name: str) -> None:
    text, code, said = REFUSED[name]
    with pytest.raises(NetcError, match=said) as found:
        form(text)
    assert found.value.code == code
    assert found.value.place is not None
    assert found.value.place.line > 2


def test_a_net_without_images() -> None:
    text = 'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }\n' + fc("fc", "x")
    with pytest.raises(NetcError, match="takes no images") as found:
        convolutional(compile_net(text, "TEST"))
    assert found.value.code == "L309"


def test_many_small_images_are_few_large_ones() -> None:
    """60,000 images of 3 × 3 pixels are a batch; on larger ones they are more than Caffe lets a blob hold."""
    text = INPUT.replace("dim: 2", "dim: 60000").replace("dim: 12 dim: 10", "dim: 3 dim: 3") + CONV + fc("fc", "conv")
    made = convolutional(compile_net(text, "TEST"))
    assert made.graph.shapes["fc"] == (60000, 5, 1, 1)
    assert made.sized(900, 903).shapes["fc"] == (1, 5, 300, 301)

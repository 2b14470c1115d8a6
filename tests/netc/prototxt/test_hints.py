"""Hints for blocks of layer types that netc lacks, and for files of two formats: what public reports ran into."""

from __future__ import annotations

import pytest

import netc
from netc.errors import NetcError

INPUT = 'layer { name: "a" type: "Input" top: "a" input_param { shape { dim: 2 dim: 4 } } }\n'


@pytest.mark.parametrize(
    ("layer", "kind"),
    [
        (
            'type: "MarginInner" bottom: "a" top: "b" margin_inner_product_param { num_output: 10 }',
            "MarginInner",
        ),
        ('type: "Resize" bottom: "a" top: "b" resize_param { height: 8 width: 8 }', "Resize"),
        ('type: "CosineLoss" bottom: "a" top: "b" cosine_param { margin: 1 }', "CosineLoss"),
        ('type: "NormLayer" bottom: "a" top: "b" norm_layer_param { scale: 1 } loss_weight: 1', "NormLayer"),
    ],
)
def test_the_block_of_an_unknown_type_is_named_as_such(layer: str, kind: str) -> None:
    with pytest.raises(NetcError) as raised:
        netc.compile_net(INPUT + f'layer {{ name: "b" {layer} }}')
    said = str(raised.value)
    assert f'it is for the layer type "{kind}' in said
    assert "did you mean" not in said
    assert "belongs in" not in said
    assert "plug-in" in said


def test_a_misspelt_block_of_a_known_type_is_still_that() -> None:
    with pytest.raises(NetcError, match=r'did you mean "inner_product_param"'):
        netc.compile_net(INPUT + 'layer { name: "b" type: "InnerProduct" bottom: "a" inner_produkt_param { } }')


def test_a_file_of_two_formats_is_told_how_to_become_one(shared) -> None:
    with pytest.raises(NetcError, match="S204") as raised:
        netc.compile_net(shared / "cases/misleading_hints/v1_mix.prototxt")
    said = str(raised.value)
    assert said.count("write `layer { … }` for all layers") == said.count("error[") == 2
    assert 'has no value "Input"' in said


@pytest.mark.parametrize(
    "layer",
    [
        'type: "Convolution" bottom: "d" top: "c" convolution_param { num_output: 3 kernel_size: 3 }',
        'type: CONVOLUTION bottom: "d" top: "c" scale_param { bias_term: true }',
    ],
)
def test_layers_of_2014_with_something_of_today(layer: str) -> None:
    text = f'input: "d" input_dim: 1 input_dim: 3 input_dim: 9 input_dim: 9 layers {{ name: "c" {layer} }}'
    with pytest.raises(NetcError) as raised:
        netc.compile_net(text)
    assert "for all layers" in str(raised.value)

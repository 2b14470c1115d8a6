"""No stage writes into what it was given: one draft gives the same graphs however often, and in whatever order, it is
compiled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from netc import NetcError, compile_net
from netc.graph.compile import compile_draft
from netc.graph.filter import filter_net, state_of
from netc.graph.ir import Graph
from netc.graph.read import draft_net
from netc.graph.splits import insert_splits
from netc.prototxt.draft import Draft
from netc.upgrade import upgrade_net
from tests.netc.graph.nets import files
from tests.zoo.shapes import shapes_of

TRAIN, TEST = 0, 1


def said(draft: Draft, phase: int) -> Any:
    """All that the graph of a phase says, or the errors."""
    try:
        graph = compile_draft(draft, state_of(draft, phase), shapes_of)
    except NetcError as error:
        return [str(one) for one in error.errors]
    return contents(graph)


def contents(graph: Graph) -> Any:
    nodes = [
        (
            *(node.name, node.type, node.layer.phase, node.bottoms, node.tops, node.bottom_shapes, node.top_shapes),
            *(node.loss_weights, node.backward, node.needs_backward),
            [(one.owner, one.lr_mult, one.decay_mult, one.blob.name, one.blob.shape) for one in node.params],
        )
        for node in graph.nodes
    ]
    return nodes, graph.phase, graph.inputs, graph.outputs, graph.shapes, bytes_of(graph.param)


def bytes_of(message: Any) -> bytes:
    return bytes(message.SerializeToString(deterministic=True))


def compare(shared: Path, step: int) -> int:
    """The number of nets of which at least one phase can be compiled."""
    count = 0
    for file in files(shared, step):
        try:
            one, two = file.draft(), file.draft()
        except NetcError:
            continue
        before, places = bytes_of(one.param), list(one.origins)
        train, test = said(one, TRAIN), said(one, TEST)
        assert (said(two, TEST), said(two, TRAIN)) == (test, train), one.path
        assert bytes_of(one.param) == bytes_of(two.param) == before, one.path
        assert one.origins == places, one.path
        count += isinstance(train, tuple) or isinstance(test, tuple)
    return count


def test_a_sample_of_the_shared_nets(shared: Path) -> None:
    """In each order the first compiled has a fresh draft, and the second the same as the first."""
    assert compare(shared, 23) > 130


@pytest.mark.slow
def test_all_shared_nets(shared: Path) -> None:
    assert compare(shared, 1) > 1100


NET = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }
layer { name: "y" type: "Input" top: "y" include { phase: TRAIN } input_param { shape { dim: 2 } } }
layer { name: "f" type: "InnerProduct" bottom: "x" top: "f" inner_product_param { num_output: 4 } }
layer { name: "d" type: "Dropout" bottom: "f" top: "f" }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "f" bottom: "y" top: "l" loss_weight: 2 include { phase: TRAIN } }
layer { name: "again" type: "Power" bottom: "l" top: "m" include { phase: TRAIN } }
layer { name: "p" type: "Softmax" bottom: "f" top: "p" }
"""


def test_a_train_compiled_draft_compiled_again_for_test() -> None:
    draft = draft_net(NET)
    train = compile_draft(draft, state_of(draft, TRAIN))
    assert [node.name for node in train.nodes if node.layer.copies_bottom] == ["f_d_0_split", "l_loss_0_split"]
    test = compile_draft(draft, state_of(draft, TEST))
    assert [(node.name, node.bottoms, node.layer.phase) for node in test.nodes] == [
        *(("x", (), TEST), ("f", ("x",), TEST), ("d", ("f",), TEST), ("p", ("f",), TEST)),
    ]
    assert bytes_of(test.param) == bytes_of(compile_net(NET, "TEST").param)
    assert bytes_of(train.param) == bytes_of(compile_net(NET, "TRAIN").param)


def test_no_stage_changes_what_it_gets() -> None:
    """Nor the stages before it, where an older format is read."""
    old = 'input: "x" input_dim: 1 input_dim: 2 input_dim: 3 input_dim: 4 layers { name: "r" type: RELU bottom: "x" }'
    given = Draft(draft_net(NET).param)
    given.param.input.append("z")
    before = bytes_of(given.param)
    assert upgrade_net(given).param is not given.param
    draft = draft_net(NET)
    layers = filter_net(draft, state_of(draft, TRAIN))
    params = [bytes_of(param) for param in layers.params]
    assert len(insert_splits(layers).params) == len(params) + 2
    assert [bytes_of(param) for param in layers.params] == params
    assert bytes_of(given.param) == before
    assert draft_net(old).original.input[:] == ["x"]


def test_the_message_has_what_caffe_puts_into_it() -> None:
    """The phase of every layer, and the weight that a loss has by default, which Caffe writes into it."""
    graph = compile_net(NET.replace("loss_weight: 2", ""), "TRAIN")
    assert [layer.phase for layer in graph.param.layer] == [TRAIN] * len(graph.nodes)
    assert {layer.name: layer.loss_weight[:] for layer in graph.param.layer if layer.loss_weight} == {"loss": [1.0]}
    assert not graph.node("loss").layer.param.loss_weight
    assert graph.param.state.phase == TRAIN

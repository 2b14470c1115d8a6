"""A VGG net under torchvision's names: "features.0.weight", …, "classifier.6.bias".

torchvision's vgg11, vgg13, vgg16 and vgg19 are configurations A, B, D and E of the paper, layer for layer: 3×3
convolutions with pad 1, each with its ReLU, 2×2 maximum pooling, and three fully-connected layers (7×7 and 1×1
convolutions are the same). Their adaptive pooling to 7×7 does nothing to images of 224×224, for which they are exact.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NoReturn

from netc.errors import NetcError
from netc.graph.ir import Graph, Node
from netc.layers.convolution import Convolution
from netc.layers.dropout import Dropout
from netc.layers.flatten import Flatten
from netc.layers.inner_product import InnerProduct
from netc.layers.input import Input
from netc.layers.pooling import Pooling
from netc.layers.relu import ReLU
from netc.layers.softmax import Softmax
from netc.weights.arrays import Array

POOL = 0
_A = (64, 0, 128, 0, 256, 256, 0, 512, 512, 0, 512, 512, 0)
_B = (64, 64, 0, 128, 128, 0, 256, 256, 0, 512, 512, 0, 512, 512, 0)
_D = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0)
_E = (64, 64, 0, 128, 128, 0, 256, 256, 256, 256, 0, 512, 512, 512, 512, 0, 512, 512, 512, 512, 0)
NETS = {_A: "vgg11", _B: "vgg13", _D: "vgg16", _E: "vgg19"}
"""Widths of the convolutions, `POOL` for a pooling → torchvision's name."""

_PASSED = (Input, Dropout, Flatten)


@dataclass(slots=True)
class Vgg:
    """A net of VGG's form: `widths` as in `NETS`, the sizes of the fully-connected layers, and the blob of the scores
    (before a softmax)."""

    widths: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    state: dict[str, Array] = field(default_factory=dict)
    scores: str = ""

    @property
    def name(self) -> str:
        """torchvision's name of it. Raises NetcError W775 where it has none."""
        name = NETS.get(tuple(self.widths))
        if name is None:
            shown = ", ".join("pool" if width == POOL else str(width) for width in self.widths)
            raise NetcError(
                "W775",
                f"torchvision has no VGG with the convolutions {shown}",
                None,
                "it has the configurations A, B, D and E as vgg11, vgg13, vgg16 and vgg19; --to safetensors takes any",
            )
        if self.sizes[:2] != [4096, 4096]:
            sizes = ", ".join(map(str, self.sizes))
            message = f"the fully-connected layers are {sizes} wide; torchvision's are 4096, 4096 and the classes"
            raise NetcError("W775", message, None, "--to safetensors takes any net")
        return name


def vgg_of(graph: Graph, layers: Mapping[str, Sequence[Array]]) -> Vgg:
    """Recognise a VGG by its structure, and name its arrays as torchvision does.

    Raises NetcError W775 with the first layer that torchvision's nets do not have.
    """
    learned = [node for node in graph.nodes if node.params]
    if len(learned) < 4:
        raise NetcError("W775", f"a VGG has convolutions and three fully-connected layers; {graph.name} has not")
    result = Vgg()
    first_full = learned[-3]
    at, blob, full = 0, "", False
    for node in graph.nodes:
        blob = _follow(node, blob)
        full = full or node is first_full
        layer = node.layer
        if isinstance(layer, Softmax):
            continue
        if isinstance(layer, ReLU):
            _check_relu(node)
        elif isinstance(layer, Pooling) and not full:
            _check_pooling(node)
            result.widths.append(POOL)
            at += 1
        elif not isinstance(layer, (*_PASSED, Convolution, InnerProduct)):
            _refuse(node, "torchvision's VGG nets have no such layer")
        elif node.params and not full:
            _check_convolution(node)
            result.widths.append(node.params[0].blob.shape[0])
            _name(result, f"features.{at}", layers[node.name])
            at += 2  # with its ReLU
        elif node.params:
            _add_full(result, node, layers[node.name])
    _check_relus(graph, learned)
    return result


def _follow(node: Node, blob: str) -> str:
    """The blob after this node of a chain, in which each reads what the one before made."""
    if node.layer.is_input:
        if len(node.tops) > 1 or blob:
            _refuse(node, "a VGG has one input")
    elif node.bottoms != (blob,) or len(node.tops) != 1:
        _refuse(node, "a VGG is a chain, each layer reading the one before it")
    return node.tops[0]


def _check_relu(node: Node) -> None:
    if node.layer.options.negative_slope:
        _refuse(node, "torchvision's ReLU has no negative_slope")


def _check_pooling(node: Node) -> None:
    options, shape = node.layer.options, node.bottom_shapes[0]
    window = node.layer.window()
    if options.pool != 0 or window is None or (window.kernel, window.stride, window.pad) != ((2, 2), (2, 2), (0, 0)):
        _refuse(node, "torchvision pools maxima over 2×2 with stride 2")
    if shape[2] % 2 or shape[3] % 2:
        _refuse(node, f"{shape[2]}×{shape[3]} is rounded up by Caffe and down by torchvision; take images of 224×224")


def _check_convolution(node: Node) -> None:
    sizes = ((3, 3), (1, 1), (1, 1), (1, 1))
    if not isinstance(node.layer, Convolution):
        _refuse(node, "only the last three layers with weights are fully connected in torchvision")
    geometry = node.layer.geometry
    if (geometry.kernel, geometry.stride, geometry.pad, geometry.dilation) != sizes or node.layer.options.group != 1:
        _refuse(node, "torchvision's convolutions are 3×3 with stride 1 and pad 1, without groups")
    if len(node.params) != 2:
        _refuse(node, "torchvision's convolutions have a bias")


def _add_full(result: Vgg, node: Node, arrays: Sequence[Array]) -> None:
    """One of the last three: an InnerProduct, or a convolution whose kernel covers its whole bottom."""
    if len(node.params) != 2:
        _refuse(node, "torchvision's fully-connected layers have a bias")
    if not result.sizes and node.bottom_shapes[0][2:] != (7, 7):
        _refuse(node, "torchvision's classifier reads 7×7 pixels, as images of 224×224 give")
    weight, bias = arrays
    if isinstance(node.layer, InnerProduct):
        if node.layer.options.axis not in (1, -len(node.bottom_shapes[0]) + 1):
            _refuse(node, "torchvision's classifier reads all values of an image")
        weight = weight.T if node.layer.options.transpose else weight
    elif not isinstance(node.layer, Convolution) or node.top_shapes[0][2:] != (1, 1) or node.layer.options.group != 1:
        _refuse(node, "the last three layers with weights must be fully connected")
    result.sizes.append(weight.shape[0])
    _name(result, f"classifier.{3 * (len(result.sizes) - 1)}", [weight.reshape(weight.shape[0], -1), bias])
    result.scores = node.tops[0]


def _name(result: Vgg, module: str, arrays: Sequence[Array]) -> None:
    result.state[f"{module}.weight"], result.state[f"{module}.bias"] = arrays


def _check_relus(graph: Graph, learned: Sequence[Node]) -> None:
    """Every layer with weights but the last has a ReLU behind it, and nothing else has."""
    chain = [node for node in graph.nodes if node.params or isinstance(node.layer, ReLU | Pooling)]
    for node, after in zip(chain, [*chain[1:], None]):
        rectified = after is not None and isinstance(after.layer, ReLU)
        if rectified != bool(node.params and node is not learned[-1]):
            _refuse(node, "torchvision has a ReLU behind every layer with weights but the last, and nowhere else")


def _refuse(node: Node, reason: str) -> NoReturn:
    raise NetcError(
        "W775",
        f'this is none of torchvision\'s VGG nets: layer "{node.name}" ({node.type}): {reason}',
        node.place,
        "--to safetensors, onnx or pt2 take any net",
    )

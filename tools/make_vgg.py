"""A synthetic VGG caffemodel in the layout of the published ones: same layers, same fields, same size to the byte.

    python tools/make_vgg.py 19 VGG_ILSVRC_19_layers.caffemodel
    python tools/make_vgg.py 19 huge.caffemodel --bytes 2.3e9       # a wider fc6, for a file beyond 2 GiB

The published VGG_ILSVRC_19_layers.caffemodel and VGG_ILSVRC_16_layers.caffemodel have 574,671,192 and 553,432,081
bytes; so have these, with the layers in the V1 format (`layers`) and blobs with num, channels, height and width.
Weights are drawn with the spread of He et al., which keeps activations of one size from layer to layer, biases near 0.
Values depend on the seed alone. Nothing larger than a few megabytes is held in memory.
"""

from __future__ import annotations

import argparse
import math
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from netc import proto
from netc.files.hashing import Chunk
from netc.files.shipped import locate
from netc.files.wire import field_head
from netc.graph.compile import compile_net
from netc.graph.ir import Node
from netc.graph.read import read_net

NETS = {16: "vgg_D", 19: "vgg_E"}
FC6_UNIT = 512 * 7 * 7 + 1 + 4096
"""Values that a wider fc6 adds for each unit: its weights, its bias, and its weights in fc7."""

PIECE = 1 << 20
Shape = tuple[int, ...]
V1_LAYERS, V1_BLOBS, BLOB_DATA = 2, 6, 5
V1_TYPES = {"Convolution": "CONVOLUTION", "InnerProduct": "INNER_PRODUCT", "ReLU": "RELU", "Pooling": "POOLING"}
V1_TYPES |= {"Dropout": "DROPOUT", "Softmax": "SOFTMAX"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("depth", type=int, choices=tuple(NETS))
    parser.add_argument("output", type=Path)
    parser.add_argument("--bytes", type=float, default=0, help="at least this size, by a wider fc6")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with options.output.open("wb") as file:
        for chunk in chunks(options.depth, int(options.bytes), options.seed):
            file.write(chunk)
    print(f"{options.output}: {options.output.stat().st_size:,} bytes")


def chunks(depth: int, least: int = 0, seed: int = 1) -> Iterator[Chunk]:
    """The file, piece by piece: fields in the order of their numbers, as Net::ToProto of 2014."""
    yield proto.NetParameter(name=f"VGG_ILSVRC_{depth}_layers").SerializeToString()
    for node in layers(depth, least):
        yield from _layer(node, seed)
    yield proto.NetParameter(input=["data"]).SerializeToString()


def layers(depth: int, least: int = 0) -> list[Node]:
    """The layers of the shipped net, with an fc6 so wide that the values take `least` bytes."""
    net = read_net(locate(NETS[depth], "deploy.prototxt"))
    missing = least // 4 - sum(math.prod(shape) for node in compile_net(net, "TEST").nodes for shape in shapes_of(node))
    fc6 = next(layer for layer in net.layer if layer.name == "fc6")
    fc6.inner_product_param.num_output += max(0, -(-missing // FC6_UNIT))
    return [node for node in compile_net(net, "TEST").nodes if node.type in V1_TYPES]


def shapes_of(node: Node) -> list[Shape]:
    """Num, channels, height and width of its weights and biases."""
    return [(1,) * (4 - len(ref.blob.shape)) + ref.blob.shape for ref in node.params]


def _layer(node: Node, seed: int) -> Iterator[Chunk]:
    """The layer's field of the net: what comes before the blobs, the blobs, what comes after."""
    param, field = node.layer.param, node.layer.param_field or ""
    kind = proto.enum("V1LayerParameter.LayerType")[V1_TYPES[node.type]]
    V1LayerParameter = proto.message("V1LayerParameter")
    first = V1LayerParameter(bottom=param.bottom, top=param.top, name=param.name, type=kind).SerializeToString()
    last = V1LayerParameter(**{field: getattr(param, field)} if param.HasField(field) else {}).SerializeToString()
    shapes = shapes_of(node)
    heads = [_blob_head(shape) for shape in shapes]
    blobs = sum(len(head) + 4 * math.prod(shape) for head, shape in zip(heads, shapes, strict=True))
    yield field_head(V1_LAYERS, len(first) + blobs + len(last)) + first
    for index, (head, shape) in enumerate(zip(heads, shapes, strict=True)):
        yield head
        yield from _values(shape, seed_of(node.name, index, seed))
    yield last


def seed_of(layer: str, index: int, seed: int) -> int:
    """The seed of one blob's values."""
    return zlib.crc32(f"{layer}/{index}/{seed}".encode())


def _blob_head(shape: Shape) -> bytes:
    """All of a blob's field but its values, which come last."""
    num, channels, height, width = shape
    size = 4 * math.prod(shape)
    inner = proto.BlobProto(num=num, channels=channels, height=height, width=width).SerializeToString()
    inner += field_head(BLOB_DATA, size)
    return field_head(V1_BLOBS, len(inner) + size) + bytes(inner)


def _values(shape: Shape, seed: int) -> Iterator[Chunk]:
    """Weights with variance 2 / inputs of a unit; a bias is the last axis alone."""
    rng = np.random.default_rng(seed)
    spread = 0.01 if shape[:3] == (1, 1, 1) else math.sqrt(2 / (math.prod(shape[1:]) if shape[0] > 1 else shape[3]))
    left = math.prod(shape)
    while left:
        values: Any = rng.standard_normal(min(PIECE, left), "f4") * np.float32(spread)
        yield memoryview(values.astype("<f4", copy=False)).cast("B")
        left -= len(values)


if __name__ == "__main__":
    main()

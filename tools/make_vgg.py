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
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from netc import proto
from netc.files.hashing import Chunk
from netc.files.wire import field_head

BLOCKS = {16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
"""Convolutions of each block; its width is 64, 128, 256, 512, 512."""

FC = (4096, 4096, 1000)
CELLS = 512 * 7 * 7
"""Inputs of fc6."""

PIECE = 1 << 20
Shape = tuple[int, ...]
V1_LAYERS, V1_BLOBS, BLOB_DATA = 2, 6, 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("depth", type=int, choices=tuple(BLOCKS))
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
    net = structure(depth)
    yield proto.NetParameter(name=net.name).SerializeToString()
    shapes = blob_shapes(depth, least)
    for layer in net.layers:
        yield from _layer(layer, shapes.get(layer.name, ()), seed)
    yield proto.NetParameter(input=net.input).SerializeToString()


def structure(depth: int) -> Any:
    """The deploy net in the V1 format, without weights."""
    net = proto.NetParameter(name=f"VGG_ILSVRC_{depth}_layers", input=["data"])
    blob = "data"
    for block, count in enumerate(BLOCKS[depth], 1):
        for number in range(1, count + 1):
            name = f"{block}_{number}"
            conv = _add(net, f"conv{name}", "CONVOLUTION", blob, blob := f"conv{name}")
            conv.convolution_param.num_output = width(block)
            conv.convolution_param.pad.append(1)
            conv.convolution_param.kernel_size.append(3)
            _add(net, f"relu{name}", "RELU", blob, blob)
        pool = _add(net, f"pool{block}", "POOLING", blob, blob := f"pool{block}")
        pool.pooling_param.pool, pool.pooling_param.kernel_size, pool.pooling_param.stride = 0, 2, 2
    for number, outputs in enumerate(FC, 6):
        fc = _add(net, f"fc{number}", "INNER_PRODUCT", blob, blob := f"fc{number}")
        fc.inner_product_param.num_output = outputs
        if number < 8:
            _add(net, f"relu{number}", "RELU", blob, blob)
            _add(net, f"drop{number}", "DROPOUT", blob, blob).dropout_param.dropout_ratio = 0.5
    _add(net, "prob", "SOFTMAX", blob, "prob")
    return net


def width(block: int) -> int:
    return int(min(512, 32 << block))


def blob_shapes(depth: int, least: int = 0) -> dict[str, list[Shape]]:
    """Layer → num, channels, height, width of its weights and biases; with an fc6 so wide that the values take `least`
    bytes."""
    shapes: dict[str, list[Shape]] = {}
    inputs = 3
    for block, count in enumerate(BLOCKS[depth], 1):
        for number in range(1, count + 1):
            shapes[f"conv{block}_{number}"] = [(width(block), inputs, 3, 3), (1, 1, 1, width(block))]
            inputs = width(block)
    inputs = CELLS
    for number, outputs in enumerate(FC, 6):
        shapes[f"fc{number}"] = [(1, 1, outputs, inputs), (1, 1, 1, outputs)]
        inputs = outputs
    missing = least // 4 - sum(math.prod(shape) for blobs in shapes.values() for shape in blobs)
    wide = FC[0] + max(0, -(-missing // (CELLS + 1 + FC[1])))
    shapes["fc6"] = [(1, 1, wide, CELLS), (1, 1, 1, wide)]
    shapes["fc7"][0] = (1, 1, FC[1], wide)
    return shapes


def _add(net: Any, name: str, kind: str, bottom: str, top: str) -> Any:
    return net.layers.add(name=name, type=proto.enum("V1LayerParameter.LayerType")[kind], bottom=[bottom], top=[top])


def _layer(layer: Any, shapes: Sequence[Shape], seed: int) -> Iterator[Chunk]:
    """The layer's field of the net: what comes before the blobs, the blobs, what comes after."""
    before = proto.V1LayerParameter(bottom=layer.bottom, top=layer.top, name=layer.name, type=layer.type)
    if layer.HasField("inner_product_param") and shapes:
        layer.inner_product_param.num_output = shapes[1][3]
    for name in ("bottom", "top", "name", "type"):
        layer.ClearField(name)
    first, last = before.SerializeToString(), layer.SerializeToString()
    heads = [_blob_head(shape) for shape in shapes]
    blobs = sum(len(head) + 4 * math.prod(shape) for head, shape in zip(heads, shapes, strict=True))
    yield field_head(V1_LAYERS, len(first) + blobs + len(last)) + first
    for index, (head, shape) in enumerate(zip(heads, shapes, strict=True)):
        yield head
        yield from _values(shape, seed_of(before.name, index, seed))
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

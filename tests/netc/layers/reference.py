"""What each layer type computes, in numpy, from the formulas in shared/caffe/behaviour.md: loops where netc calls
torch.

A reference takes (layer, bottoms, parameters) and gives the tops, all in double precision; the layer is only asked for
its settings, its phase and the number of its tops.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np

Array = np.ndarray
Reference = Callable[[Any, list[Array], list[Array]], list[Any]]
REFERENCES: dict[str, Reference] = {}
FLT_MAX = float(np.finfo(np.float64).max)


def reference(*kinds: str) -> Callable[[Reference], Reference]:
    def register(function: Reference) -> Reference:
        REFERENCES.update(dict.fromkeys(kinds, function))
        return function

    return register


def pointwise(kind: str) -> Callable[[Callable[[Any, Any, float], float]], None]:
    """A function (options, layer, x) of single values."""

    def register(function: Callable[[Any, Any, float], float]) -> None:
        def all_values(layer: Any, bottoms: list[Array], blobs: list[Array]) -> list[Any]:
            x = bottoms[0]
            return [np.array([function(layer.options, layer, v) for v in x.ravel().tolist()]).reshape(x.shape)]

        REFERENCES[kind] = all_values

    return register


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


pointwise("AbsVal")(lambda o, layer, x: math.fabs(x))
pointwise("BNLL")(lambda o, layer, x: math.log1p(math.exp(x)))
pointwise("Clip")(lambda o, layer, x: min(max(x, o.min), o.max))
pointwise("ELU")(lambda o, layer, x: x if x > 0 else o.alpha * (math.exp(x) - 1))
pointwise("ReLU")(lambda o, layer, x: max(x, 0) + o.negative_slope * min(x, 0))
pointwise("Sigmoid")(lambda o, layer, x: float(sigmoid(x)))
pointwise("Swish")(lambda o, layer, x: x * float(sigmoid(o.beta * x)))
pointwise("TanH")(lambda o, layer, x: math.tanh(x))
pointwise("Threshold")(lambda o, layer, x: float(x > o.threshold))
pointwise("Exp")(lambda o, layer, x: (math.e if o.base == -1 else o.base) ** (o.shift + o.scale * x))
pointwise("Log")(lambda o, layer, x: math.log(o.shift + o.scale * x) / (1 if o.base == -1 else math.log(o.base)))
pointwise("Power")(lambda o, layer, x: (o.shift + o.scale * x) ** o.power)


@reference("PReLU")
def prelu(layer: Any, bottoms: list[Array], blobs: list[Array]) -> list[Any]:
    y = bottoms[0].copy()
    for index in np.ndindex(*y.shape):
        slope = blobs[0] if layer.options.channel_shared else blobs[0][index[1]]
        y[index] = max(y[index], 0) + slope * min(y[index], 0)
    return [y]


@reference("Dropout")
def dropout(layer: Any, bottoms: list[Array], blobs: list[Array]) -> list[Any]:
    x, ratio = bottoms[0], layer.options.dropout_ratio
    if layer.phase == 1:
        return [x]
    drawn = ((np.arange(x.size, dtype=np.float32) * np.float32(0.6180339887) + np.float32(0.1)) % 1).reshape(x.shape)
    return [np.where(drawn >= np.float32(ratio), x / (1 - ratio), 0)]


def softmax_of(x: Array, axis: int) -> Array:
    e = np.exp(x - x.max(axis, keepdims=True))
    result: Array = e / e.sum(axis, keepdims=True)
    return result


@reference("Softmax")
def softmax(layer: Any, bottoms: list[Array], blobs: list[Array]) -> list[Any]:
    return [softmax_of(bottoms[0], layer.options.axis)]


@reference("MVN")
def mvn(layer: Any, bottoms: list[Array], blobs: list[Array]) -> list[Any]:
    o = layer.options
    x = bottoms[0].reshape(*bottoms[0].shape, *[1] * (4 - bottoms[0].ndim))
    axes = (1, 2, 3) if o.across_channels else (2, 3)
    centred = x - x.mean(axes, keepdims=True)
    if not o.normalize_variance:
        return [centred]
    return [centred / (np.sqrt((centred**2).mean(axes, keepdims=True)) + o.eps)]


@reference("LRN")
def lrn(layer: Any, bottoms: list[Array], blobs: list[Array]) -> list[Any]:
    o, x = layer.options, bottoms[0]
    y, half = np.zeros_like(x), o.local_size // 2
    for n, c, h, w in np.ndindex(*x.shape):
        if o.norm_region == 0:
            near = x[n, max(c - half, 0) : c + half + 1, h, w]
            scale = o.k + o.alpha / o.local_size * (near**2).sum()
        else:
            near = x[n, c, max(h - half, 0) : h + half + 1, max(w - half, 0) : w + half + 1]
            scale = 1 + o.alpha / o.local_size**2 * (near**2).sum()
        y[n, c, h, w] = x[n, c, h, w] / scale**o.beta
    return [y]


@reference("BatchNorm")
def batch_norm(layer: Any, bottoms: list[Array], blobs: list[Array]) -> list[Any]:
    o, x = layer.options, bottoms[0]
    axes = tuple(axis for axis in range(x.ndim) if axis != 1) if x.ndim > 1 else (0,)
    mean, variance = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
    if o.use_global_stats if o.HasField("use_global_stats") else layer.phase == 1:
        shape = [-1 if axis == 1 else 1 for axis in range(x.ndim)] if x.ndim > 1 else [1]
        mean, variance = ((b / blobs[2]).reshape(shape) for b in blobs[:2])
    return [(x - mean) / np.sqrt(variance + o.eps)]


@reference("Scale", "Bias")
def scale(layer: Any, bottoms: list[Array], blobs: list[Array]) -> list[Any]:
    x, *others = bottoms
    factor, *bias = [*others, *blobs]
    start = layer.options.axis % x.ndim if factor.ndim or not others else 0
    y = x.copy()
    for index in np.ndindex(*x.shape):
        at = index[start : start + factor.ndim]
        y[index] = x[index] * factor[at] if layer.type == "Scale" else x[index] + factor[at]
        if bias:
            y[index] += bias[0][at]
    return [y]


@reference("InnerProduct")
def inner_product(layer: Any, bottoms: list[Array], blobs: list[Array]) -> list[Any]:
    o, x = layer.options, bottoms[0]
    axis = o.axis % x.ndim
    rows = x.reshape(math.prod(x.shape[:axis]), -1)
    weight = blobs[0] if o.transpose else blobs[0].T
    y = np.array([[sum(a * b for a, b in zip(row, column, strict=True)) for column in weight.T] for row in rows])
    return [(y + (blobs[1] if o.bias_term else 0)).reshape(*x.shape[:axis], o.num_output)]


@reference("Embed")
def embed(layer: Any, bottoms: list[Array], blobs: list[Array]) -> list[Any]:
    index = bottoms[0].astype(int)
    rows = np.stack([blobs[0][i] + (blobs[1] if layer.options.bias_term else 0) for i in index.ravel()])
    return [rows.reshape(*index.shape, -1)]


# -- windows -----------------------------------------------------------------------------------------------------------


def geometry(o: Any, axes: int) -> list[tuple[int, int, int, int]]:
    """(kernel, stride, pad, dilation) of each axis."""

    def each(name: str, short: str, otherwise: int) -> list[int]:
        given = list(getattr(o, name))
        if not given and axes == 2 and hasattr(o, f"{short}_h") and o.HasField(f"{short}_h"):
            return [getattr(o, f"{short}_h"), getattr(o, f"{short}_w")]
        return (given or [otherwise]) if len(given) == axes else (given or [otherwise]) * axes

    columns = (("kernel_size", "kernel", 0), ("stride", "stride", 1), ("pad", "pad", 0), ("dilation", "dilation", 1))
    return list(zip(*(each(*column) for column in columns), strict=True)) if axes else []  # type: ignore[arg-type]


@reference("Convolution")
def convolution(layer: Any, bottoms: list[Array], blobs: list[Array]) -> list[Any]:
    o = layer.options
    axis = o.axis % bottoms[0].ndim
    spaces = geometry(o, bottoms[0].ndim - axis - 1)
    sizes = [
        int((n + 2 * p - (d * (k - 1) + 1)) / s) + 1
        for n, (k, s, p, d) in zip(bottoms[0].shape[axis + 1 :], spaces, strict=True)
    ]
    outer, inner = o.num_output // o.group, bottoms[0].shape[axis] // o.group
    tops = []
    for x in bottoms:
        flat = x.reshape(-1, *x.shape[axis:])
        y = np.zeros((len(flat), o.num_output, *sizes))
        for place, tap in product(np.ndindex(*sizes), np.ndindex(*(k for k, *_ in spaces))):
            at = [i * s - p + t * d for i, t, (_, s, p, d) in zip(place, tap, spaces, strict=True)]
            if all(0 <= a < n for a, n in zip(at, flat.shape[2:], strict=True)):
                for out in range(o.num_output):
                    first = out // outer * inner
                    values = flat[(slice(None), slice(first, first + inner), *at)]
                    y[(slice(None), out, *place)] += values @ blobs[0][(out, slice(None), *tap)]
        if o.bias_term:
            y += blobs[1].reshape(-1, *[1] * len(sizes))
        tops.append(y.reshape(*x.shape[:axis], *y.shape[1:]))
    return tops


@reference("Deconvolution")
def deconvolution(layer: Any, bottoms: list[Array], blobs: list[Array]) -> list[Any]:
    o = layer.options
    axis = o.axis % bottoms[0].ndim
    spaces = geometry(o, bottoms[0].ndim - axis - 1)
    given = bottoms[0].shape[axis + 1 :]
    sizes = [s * (n - 1) + d * (k - 1) + 1 - 2 * p for n, (k, s, p, d) in zip(given, spaces, strict=True)]
    outer, inner = o.num_output // o.group, bottoms[0].shape[axis] // o.group
    tops = []
    for x in bottoms:
        flat = x.reshape(-1, *x.shape[axis:])
        y = np.zeros((len(flat), o.num_output, *sizes))
        for place, tap in product(np.ndindex(*given), np.ndindex(*(k for k, *_ in spaces))):
            at = [i * s - p + t * d for i, t, (_, s, p, d) in zip(place, tap, spaces, strict=True)]
            if all(0 <= a < n for a, n in zip(at, sizes, strict=True)):
                for channel in range(flat.shape[1]):
                    first = channel // inner * outer
                    weight = blobs[0][(channel, slice(None), *tap)]
                    values = flat[(slice(None), channel, *place)]
                    y[(slice(None), slice(first, first + outer), *at)] += np.outer(values, weight)
        if o.bias_term:
            y += blobs[1].reshape(-1, *[1] * len(sizes))
        tops.append(y.reshape(*x.shape[:axis], *y.shape[1:]))
    return tops


@reference("Im2col")
def im2col(layer: Any, bottoms: list[Array], blobs: list[Array]) -> list[Any]:
    x = bottoms[0]
    spaces = geometry(layer.options, x.ndim - 2)
    sizes = [int((n + 2 * p - (d * (k - 1) + 1)) / s) + 1 for n, (k, s, p, d) in zip(x.shape[2:], spaces, strict=True)]
    taps = list(np.ndindex(*(k for k, *_ in spaces)))
    y = np.zeros((x.shape[0], x.shape[1] * len(taps), *sizes))
    for channel, (number, tap), place in product(range(x.shape[1]), enumerate(taps), np.ndindex(*sizes)):
        at = [i * s - p + t * d for i, t, (_, s, p, d) in zip(place, tap, spaces, strict=True)]
        if all(0 <= a < n for a, n in zip(at, x.shape[2:], strict=True)):
            y[(slice(None), channel * len(taps) + number, *place)] = x[(slice(None), channel, *at)]
    return [y]


def pooled(
    x: Array, kernel: Any, stride: Any, pad: Any, floor: bool, average: bool, clip: bool | None = None
) -> tuple[Array, Array]:
    """Caffe's pooling, window by window, over two axes or three: values and places (-1 for none)."""
    rounded, space = math.floor if floor else math.ceil, x.shape[2:]
    sizes = [rounded((n + 2 * p - k) / s) + 1 for n, k, s, p in zip(space, kernel, stride, pad, strict=True)]
    if any(pad) if clip is None else clip:
        edges = zip(sizes, stride, space, pad, strict=True)
        sizes = [size - ((size - 1) * s >= n + p) for size, s, n, p in edges]
    y, mask = np.zeros((*x.shape[:2], *sizes)), np.full((*x.shape[:2], *sizes), -1.0)
    for n, c, *at in np.ndindex(*y.shape):
        start = [i * s - p for i, s, p in zip(at, stride, pad, strict=True)]
        end = [min(a + k, size + p) for a, k, size, p in zip(start, kernel, space, pad, strict=True)]
        area = math.prod(b - a for a, b in zip(start, end, strict=True))
        start = [max(a, 0) for a in start]
        end = [min(a, size) for a, size in zip(end, space, strict=True)]
        total, best, here = 0.0, -FLT_MAX, (n, c, *at)
        for spot in product(*(range(a, b) for a, b in zip(start, end, strict=True))):
            total += x[(n, c, *spot)]
            if x[(n, c, *spot)] > best:
                best, mask[here] = x[(n, c, *spot)], np.ravel_multi_index(spot, space)
        if all(a < b for a, b in zip(start, end, strict=True)):
            y[here] = total / area if average else best
    return y, mask


@reference("Pooling")
def pooling(layer: Any, bottoms: list[Array], blobs: list[Array]) -> list[Any]:
    o, x = layer.options, bottoms[0]

    def sizes(name: str, both: str, default: int) -> list[int]:
        if o.HasField(f"{name}_h"):
            return [getattr(o, f"{name}_h"), getattr(o, f"{name}_w")]
        given = list(getattr(o, f"{both}s")) or [getattr(o, both) if o.HasField(both) else default]
        return given * (x.ndim - 2) if len(given) == 1 else given

    kernel = list(x.shape[2:]) if o.global_pooling else sizes("kernel", "kernel_size", 0)
    clip = o.clip if o.HasField("clip") else None
    settings = (sizes("stride", "stride", 1), sizes("pad", "pad", 0), bool(o.round_mode), o.pool == 1, clip)
    y, mask = pooled(x, kernel, *settings)
    return [y, mask][: len(layer.param.top)]


@reference("SPP")
def spp(layer: Any, bottoms: list[Array], blobs: list[Array]) -> list[Any]:
    o, x = layer.options, bottoms[0]
    parts = []
    for level in range(o.pyramid_height):
        cells = 2**level
        kernel = [math.ceil(size / cells) for size in x.shape[2:]]
        pad = [(k * cells - size + 1) // 2 for k, size in zip(kernel, x.shape[2:], strict=True)]
        parts.append(pooled(x, kernel, kernel, pad, False, o.pool == 1)[0])
    if len(parts) == 1:
        return parts
    return [np.concatenate([part.reshape(len(x), -1) for part in parts], 1)]


# -- shapes ------------------------------------------------------------------------------------------------------------


@reference("Concat")
def concat(layer: Any, bottoms: list[Array], blobs: list[Array]) -> list[Any]:
    o = layer.options
    axis = (o.concat_dim if o.HasField("concat_dim") else o.axis) % bottoms[0].ndim
    y = np.zeros((*bottoms[0].shape[:axis], sum(b.shape[axis] for b in bottoms), *bottoms[0].shape[axis + 1 :]))
    start = 0
    for b in bottoms:
        for index in np.ndindex(*b.shape):
            y[(*index[:axis], start + index[axis], *index[axis + 1 :])] = b[index]
        start += b.shape[axis]
    return [y]


@reference("Slice")
def slices(layer: Any, bottoms: list[Array], blobs: list[Array]) -> list[Any]:
    o, x, tops = layer.options, bottoms[0], len(layer.param.top)
    axis = o.axis % x.ndim
    points = list(o.slice_point) or [x.shape[axis] // tops * i for i in range(1, tops)]
    ends = [*points, x.shape[axis]]
    return [np.take(x, range(a, b), axis) for a, b in zip([0, *points], ends, strict=True)]


@reference("Flatten")
def flatten(layer: Any, bottoms: list[Array], blobs: list[Array]) -> list[Any]:
    o, x = layer.options, bottoms[0]
    first, last = o.axis % x.ndim, o.end_axis % x.ndim
    return [x.reshape(*x.shape[:first], math.prod(x.shape[first : last + 1]), *x.shape[last + 1 :])]


@reference("Reshape")
def reshape(layer: Any, bottoms: list[Array], blobs: list[Array]) -> list[Any]:
    o, x = layer.options, bottoms[0]
    first = o.axis if o.axis >= 0 else x.ndim + 1 + o.axis
    end = x.ndim if o.num_axes == -1 else first + o.num_axes
    dims = [size if size else x.shape[first + i] for i, size in enumerate(o.shape.dim)]
    return [x.reshape(*x.shape[:first], *dims, *x.shape[end:])]


@reference("Tile")
def tile(layer: Any, bottoms: list[Array], blobs: list[Array]) -> list[Any]:
    return [np.concatenate([bottoms[0]] * layer.options.tiles, layer.options.axis)]


@reference("Crop")
def crop(layer: Any, bottoms: list[Array], blobs: list[Array]) -> list[Any]:
    o, (x, like) = layer.options, bottoms
    axis = o.axis % x.ndim
    offsets = list(o.offset) or [0]
    for i in range(axis, x.ndim):
        offset = offsets[i - axis] if len(offsets) > 1 else offsets[0]
        x = np.take(x, range(offset, offset + like.shape[i]), i)
    return [x]


@reference("Reduction")
def reduction(layer: Any, bottoms: list[Array], blobs: list[Array]) -> list[Any]:
    o, x = layer.options, bottoms[0]
    axis = o.axis % x.ndim
    rows = x.reshape(math.prod(x.shape[:axis]), -1)
    sums = {1: rows, 2: np.abs(rows), 3: rows**2, 4: rows / rows.shape[1]}[o.operation].sum(1)
    return [(o.coeff * sums).reshape(x.shape[:axis])]


@reference("Eltwise")
def eltwise(layer: Any, bottoms: list[Array], blobs: list[Array]) -> list[Any]:
    o = layer.options
    if o.operation == 0:
        return [np.prod(bottoms, 0)]
    if o.operation == 2:
        return [np.max(bottoms, 0)]
    weights = list(o.coeff) or [1] * len(bottoms)
    return [sum(w * b for w, b in zip(weights, bottoms, strict=True))]


@reference("Split")
def split(layer: Any, bottoms: list[Array], blobs: list[Array]) -> list[Any]:
    return [bottoms[0]] * len(layer.param.top)


@reference("ArgMax")
def argmax(layer: Any, bottoms: list[Array], blobs: list[Array]) -> list[Any]:
    o, x = layer.options, bottoms[0]
    if o.HasField("axis"):
        moved = np.moveaxis(x, o.axis, -1)
        y = np.zeros((*moved.shape[:-1], o.top_k))
        for index in np.ndindex(*moved.shape[:-1]):
            ranked = sorted(((v, i) for i, v in enumerate(moved[index])), reverse=True)[: o.top_k]
            y[index] = [v if o.out_max_val else i for v, i in ranked]
        return [np.moveaxis(y, -1, o.axis)]
    planes = []
    for row in x.reshape(len(x), -1):
        ranked = sorted(((v, i) for i, v in enumerate(row)), reverse=True)[: o.top_k]
        planes.append([[i for _, i in ranked], [v for v, _ in ranked]][: 1 + o.out_max_val])
    y = np.array(planes, float)
    return [y.reshape(*y.shape, *[1] * (x.ndim - 3))]


@reference("BatchReindex")
def batch_reindex(layer: Any, bottoms: list[Array], blobs: list[Array]) -> list[Any]:
    return [np.stack([bottoms[0][int(i)] for i in bottoms[1]])]


@reference("LabelSlice")
def label_slice(layer: Any, bottoms: list[Array], blobs: list[Array]) -> list[Any]:
    size = layer.options.slice_size
    return [np.stack([x[int(k) * size : int(k) * size + size] for x, k in zip(bottoms[0], bottoms[1].ravel())])]


@reference("Filter")
def filtered(layer: Any, bottoms: list[Array], blobs: list[Array]) -> list[Any]:
    *kept, marks = bottoms
    return [x[[i for i, mark in enumerate(marks.ravel()) if mark]] for x in kept]


# -- losses ------------------------------------------------------------------------------------------------------------

FULL, VALID, BATCH_SIZE = 0, 1, 2


def divisor(layer: Any, otherwise: int, positions: int, counted: int, batch: int) -> float:
    o = layer.param.loss_param
    mode = otherwise
    if o.HasField("normalization"):
        mode = o.normalization
    elif o.HasField("normalize"):
        mode = VALID if o.normalize else BATCH_SIZE
    return max(1.0, {FULL: positions, VALID: counted, BATCH_SIZE: batch}.get(mode, 1))


def positions_of(layer: Any, scores: Array, labels: Array, axis: int) -> list[tuple[Array, int]]:
    """(scores of the classes, label) of every position that counts."""
    o = layer.param.loss_param if layer.type != "Accuracy" else layer.options
    ignored = o.ignore_label if o.HasField("ignore_label") else None
    rows = np.moveaxis(scores, axis, -1).reshape(-1, scores.shape[axis])
    return [(row, int(label)) for row, label in zip(rows, labels.ravel(), strict=True) if int(label) != ignored]


@reference("SoftmaxWithLoss")
def softmax_with_loss(layer: Any, bottoms: list[Array], blobs: list[Array]) -> list[Any]:
    x, labels = bottoms
    found = positions_of(layer, softmax_of(x, layer.param.softmax_param.axis), labels, layer.param.softmax_param.axis)
    loss = sum(-math.log(max(p[label], 2.0**-126)) for p, label in found)
    return [loss / divisor(layer, VALID, labels.size, len(found), len(x))]


@reference("InfogainLoss")
def infogain_loss(layer: Any, bottoms: list[Array], blobs: list[Array]) -> list[Any]:
    x, labels, h = bottoms
    axis = layer.options.axis
    found = positions_of(layer, softmax_of(x, axis), labels, axis)
    loss = sum(-sum(h[label, k] * math.log(max(p[k], 1e-20)) for k in range(len(p))) for p, label in found)
    return [loss / divisor(layer, VALID, labels.size, len(found), len(x))]


@reference("Accuracy")
def accuracy(layer: Any, bottoms: list[Array], blobs: list[Array]) -> list[Any]:
    scores, labels = bottoms
    found = positions_of(layer, scores, labels, layer.options.axis)
    right = [(label, sum(s >= row[label] for s in row) - 1 < layer.options.top_k) for row, label in found]
    overall = sum(hit for _, hit in right) / max(1, len(right))
    classes = range(scores.shape[layer.options.axis])
    hits = [[hit for label, hit in right if label == k] for k in classes]
    return [overall, np.array([sum(h) / max(1, len(h)) for h in hits])][: len(layer.param.top)]


@reference("SigmoidCrossEntropyLoss")
def sigmoid_cross_entropy_loss(layer: Any, bottoms: list[Array], blobs: list[Array]) -> list[Any]:
    x, t = bottoms
    o = layer.param.loss_param
    pairs = [
        (a, b)
        for a, b in zip(x.ravel(), t.ravel(), strict=True)
        if not (o.HasField("ignore_label") and int(b) == o.ignore_label)
    ]
    loss = -sum(b * math.log(sigmoid(a)) + (1 - b) * math.log(1 - sigmoid(a)) for a, b in pairs)
    return [loss / divisor(layer, BATCH_SIZE, x.size, len(pairs), len(x))]


@reference("HingeLoss")
def hinge_loss(layer: Any, bottoms: list[Array], blobs: list[Array]) -> list[Any]:
    x, labels = bottoms
    total = 0.0
    for row, label in zip(x.reshape(len(x), -1), labels.ravel(), strict=True):
        for k, score in enumerate(row):
            margin = max(0.0, 1 - (1 if k == int(label) else -1) * score)
            total += margin if layer.options.norm == 1 else margin**2
    return [total / len(x)]


@reference("MultinomialLogisticLoss")
def multinomial_logistic_loss(layer: Any, bottoms: list[Array], blobs: list[Array]) -> list[Any]:
    p, labels = bottoms
    return [-sum(math.log(max(row[int(k)], 1e-20)) for row, k in zip(p, labels, strict=True)) / len(p)]


@reference("EuclideanLoss")
def euclidean_loss(layer: Any, bottoms: list[Array], blobs: list[Array]) -> list[Any]:
    a, b = bottoms
    return [((a.ravel() - b.ravel()) ** 2).sum() / (2 * len(a))]


@reference("ContrastiveLoss")
def contrastive_loss(layer: Any, bottoms: list[Array], blobs: list[Array]) -> list[Any]:
    o, total = layer.options, 0.0
    for a, b, similar in zip(*bottoms, strict=True):
        square = ((a - b) ** 2).sum()
        if similar:
            total += square
        elif o.legacy_version:
            total += max(o.margin - square, 0)
        else:
            total += max(o.margin - math.sqrt(square), 0) ** 2
    return [total / (2 * len(bottoms[0]))]


# -- recurrent ---------------------------------------------------------------------------------------------------------


@reference("LSTMUnit")
def lstm_unit(layer: Any, bottoms: list[Array], blobs: list[Array]) -> list[Any]:
    cell, gates, marks = bottoms
    size = cell.shape[2]
    i, f, o, g = (gates[..., k * size : (k + 1) * size] for k in range(4))
    new = marks[..., None] * sigmoid(f) * cell + sigmoid(i) * np.tanh(g)
    return [new, sigmoid(o) * np.tanh(new)]


@reference("LSTM")
def lstm(layer: Any, bottoms: list[Array], blobs: list[Array]) -> list[Any]:
    o = layer.options
    x, marks, *rest = bottoms
    static = rest.pop(0) if len(rest) % 2 else None
    weight, bias, *more = blobs
    static_weight = more.pop(0) if static is not None else None
    zero = np.zeros((x.shape[1], o.num_output))
    h, c = (rest[0][0], rest[1][0]) if rest else (zero, zero)
    outputs = []
    for row, mark in zip(x, marks, strict=True):
        gates = row.reshape(len(row), -1) @ weight.T + bias + (mark[:, None] * h) @ more[0].T
        if static is not None and static_weight is not None:
            gates = gates + static.reshape(len(static), -1) @ static_weight.T
        new, hidden = lstm_unit(layer, [c[None], gates[None], mark[None]], [])
        h, c = hidden[0], new[0]
        outputs.append(h)
    return [np.stack(outputs), *([h[None], c[None]] if o.expose_hidden else [])]


@reference("RNN")
def rnn(layer: Any, bottoms: list[Array], blobs: list[Array]) -> list[Any]:
    o = layer.options
    x, marks, *rest = bottoms
    h = rest.pop()[0] if o.expose_hidden else np.zeros((x.shape[1], o.num_output))
    static = rest[0] if rest else None
    weight, bias, *more = blobs
    static_weight = more.pop(0) if static is not None else None
    outputs = []
    for row, mark in zip(x, marks, strict=True):
        inner = row.reshape(len(row), -1) @ weight.T + bias + (mark[:, None] * h) @ more[0].T
        if static is not None and static_weight is not None:
            inner = inner + static.reshape(len(static), -1) @ static_weight.T
        h = np.tanh(inner)
        outputs.append(np.tanh(h @ more[1].T + more[2]))
    return [np.stack(outputs), *([h[None]] if o.expose_hidden else [])]

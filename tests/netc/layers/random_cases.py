"""Legal cases at random, over settings and shapes: `draw(kind, seed)`.

A type without a generator of its own (a fork's, say) gets its fixed cases with other sizes: sizes that are equal in a
case stay equal, so that what has to fit still does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random

from netc import NetcError
from netc.layers.base import Shape
from netc.runtime.net.conformance import Case, make
from tests.netc.layers.cases import CASES, TEST, TRAIN

Generator = Callable[[Random], Case]
GENERATORS: dict[str, Generator] = {}


def draw(kind: str, seed: int) -> Case:
    """A legal case of a type, another for each seed."""
    rng = Random(f"{kind} {seed}")
    for _ in range(200):
        case = GENERATORS[kind](rng) if kind in GENERATORS else resized(rng, rng.choice(CASES[kind]))
        try:
            make(kind, case)
        except NetcError:
            continue
        return case
    raise AssertionError(f"{kind}: 200 cases and none is legal")


def resized(rng: Random, case: Case) -> Case:
    """The case with other sizes of its bottoms, the same number for the same number."""
    sizes = sorted({size for shape in case.shapes for size in shape})
    new = dict(zip(sizes, sorted(size + rng.randint(0, 2) for size in sizes), strict=True))
    shapes = tuple(tuple(new[size] for size in shape) for shape in case.shapes)
    return replace(case, shapes=shapes, other=None)


def generator(*kinds: str) -> Callable[[Generator], Generator]:
    def register(function: Generator) -> Generator:
        GENERATORS.update(dict.fromkeys(kinds, function))
        return function

    return register


def shape(rng: Random, low: int = 1, high: int = 4) -> Shape:
    """Pairwise different sizes, small enough for finite differences."""
    return tuple(rng.sample((2, 3, 4, 5), rng.randint(low, high)))


def chance(rng: Random, text: str, probability: float = 0.5) -> str:
    return text if rng.random() < probability else ""


def number(rng: Random, low: float, high: float) -> str:
    return f"{rng.uniform(low, high):.2f}"


def axis_of(rng: Random, dims: Shape, low: int = 0) -> int:
    """An axis from `low` on, counted from either end."""
    axis = rng.randrange(low, len(dims))
    return axis if rng.random() < 0.5 else axis - len(dims)


def filled(field: str = "weight_filler", std: float = 0.5) -> str:
    return f'{field} {{ type: "gaussian" std: {std} }}'


@generator("AbsVal", "BNLL", "Sigmoid", "TanH")
def plain(rng: Random) -> Case:
    return Case("", (shape(rng),))


@generator("Clip")
def clip(rng: Random) -> Case:
    return Case(f"clip_param {{ min: {number(rng, -1, 0)} max: {number(rng, 0, 1)} }}", (shape(rng),))


@generator("ELU")
def elu(rng: Random) -> Case:
    return Case(f"elu_param {{ alpha: {number(rng, -1, 2)} }}", (shape(rng),))


@generator("ReLU")
def relu(rng: Random) -> Case:
    return Case(chance(rng, f"relu_param {{ negative_slope: {number(rng, -1, 1)} }}"), (shape(rng),))


@generator("Swish")
def swish(rng: Random) -> Case:
    return Case(chance(rng, f"swish_param {{ beta: {number(rng, -2, 2)} }}"), (shape(rng),))


@generator("Threshold")
def threshold(rng: Random) -> Case:
    return Case(f"threshold_param {{ threshold: {number(rng, -1, 1)} }}", (shape(rng),))


@generator("Exp")
def exp(rng: Random) -> Case:
    base = chance(rng, f"base: {number(rng, 0.2, 3)}")
    return Case(f"exp_param {{ {base} scale: {number(rng, -2, 2)} shift: {number(rng, -1, 1)} }}", (shape(rng),))


@generator("Log")
def log(rng: Random) -> Case:
    base = chance(rng, f"base: {number(rng, 1.2, 3)}")
    text = f"log_param {{ {base} scale: {number(rng, 0.2, 2)} shift: {number(rng, 0, 1)} }}"
    return Case(text, (shape(rng),), ("positive",))


@generator("Power")
def power(rng: Random) -> Case:
    exponent = rng.choice(["1", "2", "3", number(rng, -2, 3)])
    text = f"power_param {{ power: {exponent} scale: {number(rng, 0.2, 2)} shift: {number(rng, 0, 1)} }}"
    return Case(text, (shape(rng),), ("positive",))


@generator("PReLU")
def prelu(rng: Random) -> Case:
    return Case(
        f"prelu_param {{ channel_shared: {rng.choice(['true', 'false'])} {filled('filler')} }}", (shape(rng, 2),)
    )


@generator("Dropout")
def dropout(rng: Random) -> Case:
    text = f"dropout_param {{ dropout_ratio: {number(rng, 0, 0.9)} }}"
    return Case(text, (shape(rng),), phase=rng.choice([TRAIN, TEST]))


@generator("Softmax")
def softmax(rng: Random) -> Case:
    dims = shape(rng)
    return Case(f"softmax_param {{ axis: {axis_of(rng, dims)} }}", (dims,))


@generator("MVN")
def mvn(rng: Random) -> Case:
    flags = [f"{name}: {rng.choice(['true', 'false'])}" for name in ("normalize_variance", "across_channels")]
    eps = rng.choice(["", "eps: 0.1"])
    dims = (*shape(rng, 2, 3), 6)  # planes of one value have no variance, and no gradient
    return Case(f"mvn_param {{ {' '.join(flags)} {eps} }}", (dims,), caffes_gradient=True)


@generator("LRN")
def lrn(rng: Random) -> Case:
    region = rng.choice(["ACROSS_CHANNELS", "WITHIN_CHANNEL"])
    text = f"local_size: {rng.choice([1, 3, 5])} alpha: {number(rng, 0, 2)} beta: {number(rng, 0, 1)}"
    return Case(f"lrn_param {{ {text} k: {number(rng, 1, 2)} norm_region: {region} }}", (shape(rng, 4),))


@generator("BatchNorm")
def batch_norm(rng: Random) -> Case:
    stats = rng.choice(["", "use_global_stats: true", "use_global_stats: false"])
    text = f"batch_norm_param {{ {stats} eps: {number(rng, 0.01, 0.2)} moving_average_fraction: 0.9 }}"
    return Case(text, (shape(rng),), phase=rng.choice([TRAIN, TEST]))


def broadcast(field: str, bias: str) -> Generator:
    """Scale and Bias: by their settings, or by a second bottom of the shape that the settings span."""

    def make_case(rng: Random) -> Case:
        dims = shape(rng)
        start = axis_of(rng, dims)
        first = start % len(dims)
        count = rng.choice([-1, *range(len(dims) - first + 1)])
        spanned = dims[first:] if count == -1 else dims[first : first + count]
        text = f"{field} {{ axis: {start} num_axes: {count} {filled('filler')} {chance(rng, bias)} }}"
        shapes = (dims,) if rng.random() < 0.5 else (dims, spanned)
        return Case(text, shapes, other=shapes)

    return make_case


GENERATORS["Scale"] = broadcast("scale_param", f"bias_term: true {filled('bias_filler')}")
GENERATORS["Bias"] = broadcast("bias_param", "")


@generator("InnerProduct")
def inner_product(rng: Random) -> Case:
    dims = shape(rng, 2)
    axis = axis_of(rng, dims, 1)
    flags = f"bias_term: {rng.choice(['true', 'false'])} transpose: {rng.choice(['true', 'false'])}"
    text = f"num_output: {rng.randint(1, 6)} axis: {axis} {flags} {filled()} {filled('bias_filler')}"
    return Case(f"inner_product_param {{ {text} }}", (dims,))


@generator("Embed")
def embed(rng: Random) -> Case:
    classes = rng.randint(2, 6)
    text = f"num_output: {rng.randint(1, 5)} input_dim: {classes} bias_term: {rng.choice(['true', 'false'])}"
    return Case(f"embed_param {{ {text} {filled()} {filled('bias_filler')} }}", (shape(rng),), (f"below {classes}",))


# -- windows -----------------------------------------------------------------------------------------------------------


def windows(rng: Random, axes: int) -> str:
    """kernel_size, stride, pad and dilation: once, once for each axis, or as _h and _w."""
    if axes == 2 and rng.random() < 0.4:
        sizes = " ".join(f"kernel_{a}: {rng.randint(1, 3)} stride_{a}: {rng.randint(1, 3)}" for a in "hw")
        return sizes + chance(rng, f" pad_h: {rng.randint(0, 2)} pad_w: {rng.randint(0, 2)}")
    low = {"kernel_size": 1, "stride": 1, "pad": 0, "dilation": 1}
    parts = []
    for name, least in low.items():
        if name != "kernel_size" and rng.random() < 0.4:
            continue
        times = rng.choice([1, axes]) if axes else 1
        parts += [f"{name}: {rng.randint(least, least + 1 + (name == 'kernel_size'))}" for _ in range(times)]
    return " ".join(parts)


@generator("Convolution", "Deconvolution")
def convolution(rng: Random) -> Case:
    axes, before = rng.choice([0, 1, 2, 2, 2, 3, 4]), rng.choice([0, 1, 1, 1, 2])
    group = rng.choice([1, 1, 2])
    spatial = [rng.randint(1, 3 if axes > 2 else 6) for _ in range(axes)]
    dims = (*rng.sample((2, 3), before), 2 * group, *spatial)
    axis = rng.choice([before, before - len(dims)])
    text = f"num_output: {group * rng.randint(1, 2)} group: {group} axis: {axis} {windows(rng, axes)}"
    flags = f"bias_term: {rng.choice(['true', 'false'])} {chance(rng, 'force_nd_im2col: true', 0.2)}"
    count = rng.choice([1, 1, 2])
    fillers = f"{filled()} {filled('bias_filler')}"
    return Case(f"convolution_param {{ {text} {flags} {fillers} }}", (dims,) * count, tops=count, other=(dims,) * count)


@generator("Im2col")
def im2col(rng: Random) -> Case:
    axes = rng.choice([1, 2, 2, 3])
    dims = (2, 3, *[rng.randint(2, 5) for _ in range(axes)])
    return Case(f"convolution_param {{ {windows(rng, axes)} }}", (dims,))


@generator("Pooling")
def pooling(rng: Random) -> Case:
    method = rng.choice(["MAX", "AVE"])
    axes = rng.choice([2, 2, 3])
    dims = (2, 3, *(rng.randint(2, 8 if axes == 2 else 5) for _ in range(axes)))
    size = f"kernel_size: {rng.randint(1, 4)} stride: {rng.randint(1, 4)} pad: {rng.randint(0, 2)}"
    if axes == 3:
        size = " ".join(
            f"kernel_sizes: {rng.randint(1, 3)} strides: {rng.randint(1, 3)} pads: {rng.randint(0, 1)}"
            for _ in range(3)
        )
    elif rng.random() < 0.4:
        size = " ".join(
            f"kernel_{a}: {rng.randint(1, 4)} stride_{a}: {rng.randint(1, 3)} pad_{a}: {rng.randint(0, 1)}"
            for a in "hw"
        )
    size = "global_pooling: true" if rng.random() < 0.1 else size
    rounding = rng.choice(["", "round_mode: FLOOR"])
    tops = 2 if method == "MAX" and rng.random() < 0.3 else 1
    return Case(f"pooling_param {{ pool: {method} {size} {rounding} }}", (dims,), tops=tops)


@generator("SPP")
def spp(rng: Random) -> Case:
    text = f"pyramid_height: {rng.randint(1, 3)} pool: {rng.choice(['MAX', 'AVE'])}"
    return Case(f"spp_param {{ {text} }}", ((2, 3, rng.randint(4, 9), rng.randint(4, 9)),))


# -- shapes ------------------------------------------------------------------------------------------------------------


@generator("Concat")
def concat(rng: Random) -> Case:
    dims = shape(rng)
    axis = axis_of(rng, dims)
    at = axis % len(dims)
    shapes = tuple((*dims[:at], rng.randint(1, 4), *dims[at + 1 :]) for _ in range(rng.randint(1, 4)))
    name = "concat_dim" if axis >= 0 and rng.random() < 0.3 else "axis"
    return Case(f"concat_param {{ {name}: {axis} }}", shapes, other=shapes)


@generator("Slice")
def slice_(rng: Random) -> Case:
    dims = shape(rng)
    axis = axis_of(rng, dims)
    at, tops = axis % len(dims), rng.randint(1, 3)
    points = sorted(rng.sample(range(1, 9), tops - 1))
    whole = points[-1] + rng.randint(1, 3) if points and rng.random() < 0.6 else tops * rng.randint(1, 3)
    listed = "".join(f" slice_point: {point}" for point in points) if points and whole > points[-1] else ""
    whole = whole if listed else tops * rng.randint(1, 3)
    dims = (*dims[:at], whole, *dims[at + 1 :])
    return Case(f"slice_param {{ axis: {axis}{listed} }}", (dims,), tops=tops, other=(dims,))


@generator("Flatten")
def flatten(rng: Random) -> Case:
    dims = shape(rng)
    first, last = sorted(rng.randrange(len(dims)) for _ in range(2))
    return Case(f"flatten_param {{ axis: {first} end_axis: {rng.choice([last, last - len(dims)])} }}", (dims,))


@generator("Reshape")
def reshape(rng: Random) -> Case:
    dims = shape(rng)
    first = rng.randint(0, len(dims))
    count = rng.choice([-1, rng.randint(0, len(dims) - first)])
    inside = dims[first:] if count == -1 else dims[first : first + count]
    new = [rng.choice([0, size]) for size in inside]
    if new and rng.random() < 0.7:
        new[rng.randrange(len(new))] = -1
    if -1 in new and rng.random() < 0.5:
        new.insert(rng.randrange(len(new) + 1), 1)
        new = [size if size else 0 for size in new]
    listed = " ".join(f"dim: {size}" for size in new)
    axis = rng.choice([first, first - len(dims) - 1])
    return Case(f"reshape_param {{ shape {{ {listed} }} axis: {axis} num_axes: {count} }}", (dims,), other=(dims,))


@generator("Tile")
def tile(rng: Random) -> Case:
    dims = shape(rng)
    return Case(f"tile_param {{ axis: {axis_of(rng, dims)} tiles: {rng.randint(1, 4)} }}", (dims,))


@generator("Crop")
def crop(rng: Random) -> Case:
    dims = shape(rng, 2)
    axis = axis_of(rng, dims)
    start = axis % len(dims)
    sizes = [rng.randint(1, size) for size in dims]
    offsets = [rng.randint(0, dims[i] - sizes[i]) for i in range(start, len(dims))]
    listed = (
        "".join(f" offset: {n}" for n in offsets) if rng.random() < 0.5 else chance(rng, f" offset: {min(offsets)}")
    )
    return Case(f"crop_param {{ axis: {axis}{listed} }}", (dims, tuple(sizes)), other=(dims, tuple(sizes)))


@generator("Reduction")
def reduction(rng: Random) -> Case:
    dims = shape(rng)
    operation = rng.choice(["SUM", "ASUM", "SUMSQ", "MEAN"])
    return Case(
        f"reduction_param {{ operation: {operation} axis: {axis_of(rng, dims)} coeff: {number(rng, -2, 2)} }}", (dims,)
    )


@generator("Eltwise")
def eltwise(rng: Random) -> Case:
    dims, count = shape(rng), rng.randint(2, 4)
    operation = rng.choice(["PROD", "SUM", "MAX"])
    coeff = "".join(f" coeff: {number(rng, -2, 2)}" for _ in range(count)) if operation != "PROD" else ""
    return Case(f"eltwise_param {{ operation: {operation}{chance(rng, coeff)} }}", (dims,) * count)


@generator("Split")
def split(rng: Random) -> Case:
    return Case("", (shape(rng),), tops=rng.randint(1, 4))


@generator("ArgMax")
def argmax(rng: Random) -> Case:
    dims = shape(rng, 2)
    axis = axis_of(rng, dims)
    text = f"axis: {axis} top_k: {rng.randint(1, dims[axis])}" if rng.random() < 0.6 else f"top_k: {rng.randint(1, 3)}"
    return Case(f"argmax_param {{ {text} out_max_val: {rng.choice(['true', 'false'])} }}", (dims,))


@generator("BatchReindex")
def batch_reindex(rng: Random) -> Case:
    dims = shape(rng)
    shapes = (dims, (rng.randint(1, 7),))
    return Case("", shapes, ("normal", f"below {dims[0]}"), other=shapes)


@generator("LabelSlice")
def label_slice(rng: Random) -> Case:
    batch, classes, size = rng.randint(1, 5), rng.randint(1, 6), rng.randint(1, 4)
    dims = (batch, classes * size, *shape(rng, 0, 2))
    text = f"label_slice_param {{ slice_size: {size} }}"
    return Case(text, (dims, (batch,)), ("normal", f"below {classes}"), other=(dims, (batch,)))


@generator("Filter")
def filter_(rng: Random) -> Case:
    count, batch = rng.randint(1, 3), rng.randint(3, 6)
    shapes = tuple((batch, *shape(rng, 1, 3)) for _ in range(count))
    marks = rng.choice([(batch,), (batch, 1)])
    return Case("", (*shapes, marks), (*["normal"] * count, "marks"), tops=count, data_dependent=True)


# -- losses ------------------------------------------------------------------------------------------------------------


def classes(rng: Random, low: int = 1) -> tuple[Shape, int, Shape]:
    """Scores, the axis of their classes (any but the first), and the labels' shape."""
    dims = shape(rng, 2)
    at = rng.randrange(low, len(dims))
    return dims, at, (*dims[:at], *dims[at + 1 :])


def weighting(rng: Random, count: int) -> str:
    parts = [chance(rng, f"ignore_label: {rng.randint(-1, count)}")]
    parts.append(rng.choice(["", "normalize: true", "normalize: false"]))
    parts.append(rng.choice(["", *(f"normalization: {mode}" for mode in ("FULL", "VALID", "BATCH_SIZE", "NONE"))]))
    return f"loss_param {{ {' '.join(parts)} }}"


@generator("SoftmaxWithLoss")
def softmax_with_loss(rng: Random) -> Case:
    dims, at, labels = classes(rng)
    axis = rng.choice([at, at - len(dims)])
    text = f"softmax_param {{ axis: {axis} }} {weighting(rng, dims[at])}"
    return Case(text, (dims, labels), ("normal", f"below {dims[at]}"))


@generator("InfogainLoss")
def infogain_loss(rng: Random) -> Case:
    dims, at, labels = classes(rng)
    text = f"infogain_loss_param {{ axis: {at} }} {weighting(rng, dims[at])}"
    shapes = (dims, labels, (dims[at], dims[at]))
    return Case(text, shapes, ("normal", f"below {dims[at]}", "positive"), other=shapes)


@generator("Accuracy")
def accuracy(rng: Random) -> Case:
    dims, at, labels = classes(rng)
    ignored = chance(rng, f"ignore_label: {rng.randrange(dims[at])}")
    text = f"accuracy_param {{ axis: {at} top_k: {rng.randint(1, dims[at])} {ignored} }}"
    return Case(text, (dims, labels), ("normal", f"below {dims[at]}"), tops=rng.choice([1, 2]))


@generator("SigmoidCrossEntropyLoss")
def sigmoid_cross_entropy_loss(rng: Random) -> Case:
    dims = shape(rng, 2)
    return Case(weighting(rng, 1), (dims, dims), ("normal", "below 2"))


@generator("HingeLoss")
def hinge_loss(rng: Random) -> Case:
    dims = shape(rng, 2)
    count = 1
    for size in dims[1:]:
        count *= size
    return Case(
        f"hinge_loss_param {{ norm: {rng.choice(['L1', 'L2'])} }}", (dims, dims[:1]), ("normal", f"below {count}")
    )


@generator("MultinomialLogisticLoss")
def multinomial_logistic_loss(rng: Random) -> Case:
    dims = shape(rng, 2, 2)
    return Case("", (dims, dims[:1]), ("positive", f"below {dims[1]}"))


@generator("EuclideanLoss")
def euclidean_loss(rng: Random) -> Case:
    dims = shape(rng, 2)
    return Case("", (dims, dims))


@generator("ContrastiveLoss")
def contrastive_loss(rng: Random) -> Case:
    n, c = rng.randint(2, 6), rng.randint(1, 5)
    legacy = rng.choice(["", "legacy_version: true"])
    text = f"contrastive_loss_param {{ margin: {number(rng, 0.5, 4)} {legacy} }}"
    return Case(text, ((n, c), (n, c), (n,)), ("normal", "normal", "below 2"), caffes_gradient=not legacy)


# -- recurrent ---------------------------------------------------------------------------------------------------------


def recurrent(states: int) -> Generator:
    def make_case(rng: Random) -> Case:
        t, n, d, h = (rng.randint(1, 4) for _ in range(4))
        static, exposed = rng.random() < 0.5, rng.random() < 0.5
        shapes: list[Shape] = [(t, n, d), (t, n)]
        shapes += [(n, rng.randint(1, 3))] if static else []
        shapes += [(1, n, h)] * states if exposed else []
        text = f"num_output: {h} expose_hidden: {str(exposed).lower()} {filled()} {filled('bias_filler')}"
        fill = ("normal", "marks")
        tops = 1 + states * exposed
        return Case(f"recurrent_param {{ {text} }}", tuple(shapes), fill, tops=tops, other=tuple(shapes))

    return make_case


GENERATORS["LSTM"] = recurrent(2)
GENERATORS["RNN"] = recurrent(1)


@generator("LSTMUnit")
def lstm_unit(rng: Random) -> Case:
    n, h = rng.randint(1, 4), rng.randint(1, 5)
    shapes = ((1, n, h), (1, n, 4 * h), (1, n))
    return Case("", shapes, ("normal", "normal", "marks"), tops=2, other=shapes)

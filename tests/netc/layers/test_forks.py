"""The layers of forks, which no Caffe at hand has: each against its published definition, written down again in numpy,
value by value. Tolerance 1e-6 relative on float64: both sides compute the same numbers in another order."""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from netc import NetcError
from netc.layers.base import Shape
from netc.runtime.net.conformance import TEST, TRAIN, Case, Run, make

Array = NDArray[np.float64]


def run(kind: str, text: str, *bottoms: Any, tops: int = 1, phase: int = TRAIN, params: list[Any] | None = None) -> Any:
    """What the layer makes of arrays, as arrays; `params` in the order of its blobs."""
    tensors = [torch.as_tensor(np.asarray(b, dtype=np.float64)) for b in bottoms]
    shapes: tuple[Shape, ...] = tuple(tuple(t.shape) for t in tensors)
    layer, _ = make(kind, Case(text, shapes, tops=tops, phase=phase))
    own = [torch.as_tensor(np.asarray(p, dtype=np.float64)) for p in params or []]
    assert [tuple(p.shape) for p in own] == [blob.shape for blob in layer.blobs]
    found = [top.detach().numpy() for top in layer.forward(Run(phase == TRAIN), tensors, own)]
    return (found[0] if tops == 1 else found) if not own else (found[0], [p.numpy() for p in own])


def gradient(kind: str, text: str, *bottoms: Any, wrt: int = 0) -> Array:
    """d(sum of the first top · 1, 2, 3 …) / d(one bottom)."""
    tensors = [torch.as_tensor(np.asarray(b, dtype=np.float64)) for b in bottoms]
    layer, _ = make(kind, Case(text, tuple(tuple(t.shape) for t in tensors)))
    tensors[wrt].requires_grad_()
    top = layer.forward(Run(True), tensors, [])[0]
    weights = torch.arange(1, top.numel() + 1, dtype=torch.float64).reshape(top.shape)
    (top * weights).sum().backward()
    assert tensors[wrt].grad is not None
    return tensors[wrt].grad.numpy()


@pytest.fixture
def draw() -> np.random.Generator:
    return np.random.default_rng(7)


def close(found: Array, expected: Any) -> None:
    np.testing.assert_allclose(found, np.asarray(expected), rtol=1e-6, atol=1e-9)


# -- rearranging -------------------------------------------------------------------------------------------------------


def test_permute(draw: np.random.Generator) -> None:
    x = draw.normal(size=(2, 3, 4, 5))
    close(run("Permute", "permute_param { order: 0 order: 2 order: 3 order: 1 }", x), x.transpose(0, 2, 3, 1))
    close(run("Permute", "permute_param { order: 3 }", x), x.transpose(3, 0, 1, 2))


def test_shuffle_channel(draw: np.random.Generator) -> None:
    x = draw.normal(size=(2, 6, 4, 5))
    expected = np.empty_like(x)
    for group, place in product(range(3), range(2)):
        expected[:, place * 3 + group] = x[:, group * 2 + place]
    close(run("ShuffleChannel", "shuffle_channel_param { group: 3 }", x), expected)


def darknet(x: Array, s: int, forward: bool) -> Array:
    """darknet's reorg: a walk over (C, H, W), in which each place has a partner in (C / s², H · s, W · s)."""
    n, c, h, w = x.shape
    thin = c // (s * s)
    flat, out = x.reshape(n, -1), np.empty((n, c * h * w))
    for k, j, i in product(range(c), range(h), range(w)):
        offset = k // thin
        here = i + w * (j + h * k)
        there = i * s + offset % s + w * s * (j * s + offset // s + h * s * (k % thin))
        if forward:
            out[:, there] = flat[:, here]
        else:
            out[:, here] = flat[:, there]
    return out


def test_reorg(draw: np.random.Generator) -> None:
    x = draw.normal(size=(2, 8, 4, 6))
    close(run("Reorg", "reorg_param { stride: 2 }", x), darknet(x, 2, False).reshape(2, 32, 2, 3))
    back = run("Reorg", "reorg_param { stride: 2 reverse: true }", x)
    close(back, darknet(x, 2, True).reshape(2, 2, 8, 12))


def test_upsample(draw: np.random.Generator) -> None:
    x = draw.normal(size=(2, 3, 2, 4))
    close(run("Upsample", "upsample_param { scale: 3 }", x), x.repeat(3, 2).repeat(3, 3))
    mask = np.stack([draw.permutation(4 * 8)[:8] for _ in range(6)]).reshape(x.shape)
    expected = np.zeros((2, 3, 4 * 8))
    for n, c, i in product(range(2), range(3), range(8)):
        expected[n, c, int(mask[n, c].flat[i])] = x[n, c].flat[i]
    close(run("Upsample", "", x, mask), expected.reshape(2, 3, 4, 8))
    close(gradient("Upsample", "", x, mask)[1, 2].ravel(), [5 * 32 + 1 + int(i) for i in mask[1, 2].ravel()])


def test_upsample_undoes_pooling(draw: np.random.Generator) -> None:
    x = draw.normal(size=(2, 3, 6, 5))
    pooled, mask = run("Pooling", "pooling_param { kernel_size: 2 stride: 2 }", x, tops=2)
    back = run("Upsample", "upsample_param { upsample_h: 6 upsample_w: 5 }", pooled, mask)
    assert np.array_equal(np.sort(back[back != 0]), np.sort(pooled.ravel()))
    assert np.array_equal(back[back != 0], x[back != 0])


def test_a_position_beyond_the_top_is_told() -> None:
    with pytest.raises(NetcError, match="position 9, but the top has 4 positions"):
        run("Upsample", "", np.ones((1, 1, 1, 1)), np.full((1, 1, 1, 1), 9))


# -- arithmetic --------------------------------------------------------------------------------------------------------


def test_axpy_and_broadcast_mul(draw: np.random.Generator) -> None:
    a, x, b = draw.normal(size=(2, 3)), draw.normal(size=(2, 3, 4, 5)), draw.normal(size=(2, 3, 4, 5))
    close(run("Axpy", "", a, x, b), a[:, :, None, None] * x + b)
    close(run("BroadcastMul", "", x, a[:, :, None, None]), x * a[:, :, None, None])


def test_normalize(draw: np.random.Generator) -> None:
    x, scale = draw.normal(size=(2, 3, 4, 5)), draw.normal(size=3)
    text = "norm_param { across_spatial: false channel_shared: false eps: 0.3 }"
    found, _ = run("Normalize", text, x, params=[scale])
    expected = np.empty_like(x)
    for n, h, w in product(range(2), range(4), range(5)):
        expected[n, :, h, w] = scale * x[n, :, h, w] / math.sqrt(sum(x[n, :, h, w] ** 2) + 0.3)
    close(found, expected)
    found, _ = run("Normalize", "", x, params=[2.5])
    close(found, [2.5 * image / math.sqrt((image**2).sum() + 1e-10) for image in x])


def test_activations() -> None:
    x = np.array([[-2.0, -0.5, 0.0, 3.0, 6.0, 7.5]])
    close(run("ReLU6", "", x), [[0, 0, 0, 3, 6, 6]])
    selu = [1.0507009873554805 * (v if v > 0 else 1.6732632423543772 * (math.exp(v) - 1)) for v in x[0]]
    close(run("SeLu", "", x), [selu])
    elu = [0.5 * (v if v > 0 else 2 * (math.exp(v) - 1)) for v in x[0]]
    close(run("ELU", "elu_param { alpha: 2 lambda: 0.5 }", x), [elu])


def test_depthwise_convolution(draw: np.random.Generator) -> None:
    x, weight, bias = draw.normal(size=(2, 4, 5, 6)), draw.normal(size=(4, 1, 3, 2)), draw.normal(size=4)
    expected = np.empty((2, 4, 3, 5))
    for n, c, i, j in product(range(2), range(4), range(3), range(5)):
        expected[n, c, i, j] = (x[n, c, i : i + 3, j : j + 2] * weight[c, 0]).sum() + bias[c]
    for kind, group in (("ConvolutionDepthwise", ""), ("DepthwiseConvolution", "group: 4")):
        text = f"convolution_param {{ num_output: 4 kernel_h: 3 kernel_w: 2 {group} }}"
        close(run(kind, text, x, params=[weight, bias])[0], expected)


def interpolated(x: Array, height: int, width: int) -> Array:
    """Bilinear, corner onto corner."""
    out = np.empty((*x.shape[:2], height, width))
    for i, j in product(range(height), range(width)):
        v = i * (x.shape[2] - 1) / (height - 1) if height > 1 else 0.0
        u = j * (x.shape[3] - 1) / (width - 1) if width > 1 else 0.0
        i0, j0 = min(int(v), x.shape[2] - 1), min(int(u), x.shape[3] - 1)
        i1, j1 = min(i0 + 1, x.shape[2] - 1), min(j0 + 1, x.shape[3] - 1)
        b, a = v - i0, u - j0
        upper = (1 - a) * x[:, :, i0, j0] + a * x[:, :, i0, j1]
        lower = (1 - a) * x[:, :, i1, j0] + a * x[:, :, i1, j1]
        out[:, :, i, j] = (1 - b) * upper + b * lower
    return out


@pytest.mark.parametrize(
    "settings, height, width",
    [
        ("height: 7 width: 1", 7, 1),
        ("zoom_factor: 3", 10, 13),
        ("shrink_factor: 2", 2, 3),
        ("shrink_factor: 2 zoom_factor: 4", 5, 9),
    ],
)
def test_interp(draw: np.random.Generator, settings: str, height: int, width: int) -> None:
    x = draw.normal(size=(2, 3, 4, 5))
    close(run("Interp", f"interp_param {{ {settings} }}", x), interpolated(x, height, width))


def test_interp_to_a_second_bottom_and_cut(draw: np.random.Generator) -> None:
    x = draw.normal(size=(2, 3, 5, 6))
    close(run("Interp", "", x, np.zeros((1, 1, 3, 8))), interpolated(x, 3, 8))
    found = run("Interp", "interp_param { zoom_factor: 2 pad_beg: -1 pad_end: -2 }", x)
    close(found, interpolated(x[:, :, 1:-2, 1:-2], 3, 5))


@pytest.mark.parametrize("settings", ["height: 7", "height: 7 zoom_factor: 2", "width: 7 shrink_factor: 2"])
def test_interp_wants_both_sides(settings: str) -> None:
    with pytest.raises(NetcError, match="gives only (height|width)"):
        make("Interp", Case(f"interp_param {{ {settings} }}", ((2, 3, 4, 5),)))


# -- batch normalisation -----------------------------------------------------------------------------------------------

COLUMN = (1, 3, 1, 1)


def normalised(x: Array, mean: Array, variance: Array, eps: float, scale: Array, shift: Array) -> Array:
    return (x - mean) / np.sqrt(variance + eps) * scale + shift


def test_bn_of_segnet(draw: np.random.Generator) -> None:
    x, scale, shift = draw.normal(size=(4, 3, 5, 2)), draw.normal(size=COLUMN), draw.normal(size=COLUMN)
    mean, variance = x.mean((0, 2, 3), keepdims=True), x.var((0, 2, 3), keepdims=True)
    for phase in (TRAIN, TEST):
        found, _ = run("BN", "", x, phase=phase, params=[scale, shift])
        close(found, normalised(x, mean, variance, 1e-9, scale, shift))
    found, _ = run("BN", "bn_param { bn_mode: INFERENCE }", x, params=[scale, shift])
    close(found, x * scale + shift)


@pytest.mark.parametrize(
    "settings, share, eps, trains, tests",
    [
        ("moving_average: true decay: 0.2 var_eps: 0.01", 0.2, 0.01, False, True),
        ("moving_average: false", 0.05, 1e-10, False, False),
        ("momentum: 0.7 eps: 0.02", 0.3, 0.02, False, True),
        ("frozen: true", None, 1e-5, True, True),
    ],
)
def test_bn_with_running_statistics(
    draw: np.random.Generator, settings: str, share: float | None, eps: float, trains: bool, tests: bool
) -> None:
    """`trains`, `tests`: whether the running statistics are used in TRAIN and in TEST."""
    x = draw.normal(size=(4, 3, 5, 2))
    params = [draw.uniform(0.5, 2, size=COLUMN) for _ in range(4)]
    mean, variance = x.mean((0, 2, 3), keepdims=True), x.var((0, 2, 3), keepdims=True)
    for phase, running in ((TRAIN, trains), (TEST, tests)):
        found, after = run("BN", f"bn_param {{ {settings} }}", x, phase=phase, params=[p.copy() for p in params])
        used = params[2:] if running else [mean, variance]
        close(found, normalised(x, *used, eps, *params[:2]))
        for before, now, new in zip(params[2:], after[2:], (mean, variance), strict=True):
            close(now, before if share is None or phase == TEST else (1 - share) * before + share * new)


def test_bn_of_two_forks_is_refused() -> None:
    with pytest.raises(NetcError, match=r"fields of two forks: bn_mode \(SegNet\) and frozen \(Cysu\)"):
        make("BN", Case("bn_param { bn_mode: LEARN frozen: true }", ((2, 3, 4, 5),)))


def test_batch_norm_with_nvidias_scale(draw: np.random.Generator) -> None:
    """Mean and variance are averages, whatever blob 2 holds and use_global_stats says; TRAIN moves them."""
    x, scale, bias = draw.normal(size=(4, 3, 5)), draw.normal(size=3), draw.normal(size=3)
    kept = [np.array([1.0, 2.0, 3.0]), np.array([4.0, 5.0, 6.0])]
    column = [v[:, None] for v in (*kept, scale, bias)]
    for text, eps in (("scale_bias: true eps: 0.01", 0.01), ("scale_filler {} use_global_stats: false eps: 0", 1e-5)):
        for factor in (2.0, 0.0, math.nan):
            given = [*(v.copy() for v in kept), np.array([factor]), scale, bias]
            found, _ = run("BatchNorm", f"batch_norm_param {{ {text} }}", x, phase=TEST, params=given)
            close(found, normalised(x, column[0], column[1], eps, column[2], column[3]))
    settings = "batch_norm_param { scale_bias: true moving_average_fraction: 0.75 }"
    mean, variance = x.mean((0, 2)), x.var((0, 2))
    unbiased = variance * 20 / 19
    for before, after in (
        (kept, [0.75 * kept[0] + 0.25 * mean, 0.75 * kept[1] + 0.25 * unbiased]),
        ([np.zeros(3), np.zeros(3)], [mean, unbiased]),
    ):
        given = [*(v.copy() for v in before), np.array([math.nan]), scale, bias]
        found, now = run("BatchNorm", settings, x, phase=TRAIN, params=given)
        close(found, normalised(x, mean[:, None], variance[:, None], 1e-5, column[2], column[3]))
        for one, expected in zip(now[:2], after, strict=True):
            close(one, expected)


# -- regions -----------------------------------------------------------------------------------------------------------


def half_away(v: float) -> int:
    return int(math.copysign(math.floor(abs(v) + 0.5), v))


def roi_pooled(x: Array, rois: Array, rows: int, columns: int, scale: float) -> tuple[Array, Array]:
    """(maxima, where in the plane each was found, -1 for an empty cell)."""
    out, place = np.zeros((len(rois), x.shape[1], rows, columns)), np.full((len(rois), x.shape[1], rows, columns), -1)
    for r, (image, *corners) in enumerate(rois):
        x1, y1, x2, y2 = (half_away(v * scale) for v in corners)
        high, wide = max(y2 - y1 + 1, 1) / rows, max(x2 - x1 + 1, 1) / columns
        for c, i, j in product(range(x.shape[1]), range(rows), range(columns)):
            best = -math.inf
            for h in range(max(0, math.floor(i * high) + y1), min(x.shape[2], math.ceil((i + 1) * high) + y1)):
                for w in range(max(0, math.floor(j * wide) + x1), min(x.shape[3], math.ceil((j + 1) * wide) + x1)):
                    if x[int(image), c, h, w] > best:
                        best = x[int(image), c, h, w]
                        out[r, c, i, j], place[r, c, i, j] = best, h * x.shape[3] + w
    return out, place


ROIS = np.array(
    [
        [0, 0, 0, 13, 11],
        [1, 3.2, 4.4, 9.9, 7.7],
        [1, -5, -6, 4, 3],
        [0, 8, 8, 8, 8],
        [1, 40, 40, 50, 50],
        [0, 9, 2, 3, 1],
        [1, 5, 1, 6, 3],
    ]
)


def test_roi_pooling(draw: np.random.Generator) -> None:
    x = draw.integers(-3, 4, size=(2, 3, 6, 7)).astype(float)  # whole numbers, so that there are ties
    text = "roi_pooling_param { pooled_h: 3 pooled_w: 2 spatial_scale: 0.5 }"
    expected, place = roi_pooled(x, ROIS, 3, 2, 0.5)
    assert np.array_equal(run("ROIPooling", text, x, ROIS), expected)
    back = np.zeros((2, 3, 42))
    for number, (r, c, i, j) in enumerate(product(*map(range, expected.shape)), 1):
        if place[r, c, i, j] >= 0:
            back[int(ROIS[r, 0]), c, place[r, c, i, j]] += number
    assert np.array_equal(gradient("ROIPooling", text, x, ROIS), back.reshape(x.shape))


def test_a_region_of_an_image_that_is_not_there_is_told() -> None:
    with pytest.raises(NetcError, match="a region of image 2, but the batch has 1"):
        run("ROIPooling", "roi_pooling_param { pooled_h: 1 pooled_w: 1 }", np.ones((1, 1, 2, 2)), [[2, 0, 0, 1, 1]])


def test_psroi_pooling(draw: np.random.Generator) -> None:
    group, dim, scale = 3, 2, 0.5
    x = draw.normal(size=(2, dim * group * group, 6, 7))
    expected = np.zeros((len(ROIS), dim, group, group))
    for r, (image, *corners) in enumerate(ROIS):
        x1, y1 = (half_away(v) * scale for v in corners[:2])
        x2, y2 = ((half_away(v) + 1) * scale for v in corners[2:])
        high, wide = max(y2 - y1, 0.1) / group, max(x2 - x1, 0.1) / group
        for d, i, j in product(range(dim), range(group), range(group)):
            rows = range(max(0, math.floor(i * high + y1)), min(6, math.ceil((i + 1) * high + y1)))
            columns = range(max(0, math.floor(j * wide + x1)), min(7, math.ceil((j + 1) * wide + x1)))
            cell = [x[int(image), (d * group + i) * group + j, h, w] for h in rows for w in columns]
            expected[r, d, i, j] = sum(cell) / len(cell) if cell else 0
    text = f"psroi_pooling_param {{ spatial_scale: {scale} output_dim: {dim} group_size: {group} }}"
    close(run("PSROIPooling", text, x, ROIS), expected)


def iou_of_pixels(a: list[float], b: list[float]) -> float:
    w, h = min(a[2], b[2]) - max(a[0], b[0]) + 1, min(a[3], b[3]) - max(a[1], b[1]) + 1
    areas = [(c[2] - c[0] + 1) * (c[3] - c[1] + 1) for c in (a, b)]
    return w * h / (sum(areas) - w * h) if w > 0 and h > 0 else 0.0


def test_proposal(draw: np.random.Generator) -> None:
    """Faster R-CNN, equation 2, walked anchor by anchor."""
    ratios, scales, stride, image = (0.5, 1.0), (2.0, 4.0), 8, (40.0, 56.0, 1.5, 0.5)
    scores, offsets = draw.random((1, 8, 4, 6)), draw.normal(size=(1, 16, 4, 6)) * 0.5
    rows = []
    for i, j, (k, (r, s)) in product(range(4), range(6), enumerate(product(ratios, scales))):
        w = math.floor(math.sqrt(64 / r) + 0.5)
        h = math.floor(w * r + 0.5)
        w, h = w * s, h * s
        left, upper = j * stride + 3.5 - (w - 1) / 2, i * stride + 3.5 - (h - 1) / 2
        dx, dy, dw, dh = offsets[0, 4 * k : 4 * k + 4, i, j]
        cx, cy, w, h = left + w / 2 + dx * w, upper + h / 2 + dy * h, w * math.exp(dw), h * math.exp(dh)
        edges = [cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2]
        box = [min(max(e, 0.0), image[1 - c % 2] - 1) for c, e in enumerate(edges)]
        large = box[2] - box[0] + 1 >= 6 * image[3] and box[3] - box[1] + 1 >= 6 * image[2]
        rows.append([0, *box, scores[0, 4 + k, i, j] if large else 0.0])
    rows = sorted(rows, key=lambda row: -row[5])[:60]
    kept: list[list[float]] = []
    for row in rows:
        if len(kept) < 12 and all(iou_of_pixels(row[1:5], other[1:5]) <= 0.6 for other in kept):
            kept.append(row)
    text = (
        "proposal_param { ratio: 0.5 ratio: 1 scale: 2 scale: 4 base_size: 8 feat_stride: 8 min_size: 6"
        " pre_nms_topn: 60 post_nms_topn: 12 nms_thresh: 0.6 }"
    )
    found, values = run("Proposal", text, scores, offsets, [image], tops=2)
    close(found, [row[:5] for row in kept])
    close(values, [row[5] for row in kept])


def test_box_annotator_ohem() -> None:
    rois = [[0, 0, 0, 1, 1], [1, 0, 0, 1, 1], [0, 0, 0, 1, 1], [0, 0, 0, 1, 1], [1, 0, 0, 1, 1]]
    losses, labels, weights = [0.3, 0.1, 0.9, 0.3, 0.2], [4, 5, 6, 7, 8], np.ones((5, 3))
    text = "box_annotator_ohem_param { roi_per_img: 2 }"
    found, kept = run("BoxAnnotatorOHEM", text, rois, losses, labels, weights, tops=2)
    assert found.tolist() == [4, 5, 6, -1, 8]  # image 0 keeps its two hardest; of equal losses the first
    assert kept[:, 0].tolist() == [1, 1, 1, 0, 1]


# -- losses ------------------------------------------------------------------------------------------------------------


def smooth(d: float, sigma: float) -> float:
    return 0.5 * (sigma * d) ** 2 if abs(d) < 1 / sigma**2 else abs(d) - 0.5 / sigma**2


def test_smooth_l1_loss(draw: np.random.Generator) -> None:
    a, b, inside, outside = (draw.normal(size=(3, 4, 2)) for _ in range(4))
    text = "smooth_l1_loss_param { sigma: 2 }"
    terms = [o * smooth(i * (x - y), 2) for x, y, i, o in zip(a.flat, b.flat, inside.flat, outside.flat, strict=True)]
    close(run("SmoothL1Loss", text, a, b, inside, outside), sum(terms) / 3)
    close(run("SmoothL1Loss", "", a, b), sum(smooth(x - y, 1) for x, y in zip(a.flat, b.flat, strict=True)) / 3)
    close(run("L1Loss", "", a, b), np.abs(a - b).sum() / 3)


def test_the_ohem_losses(draw: np.random.Generator) -> None:
    a, b, w = (draw.normal(size=(3, 4, 2, 5)) for _ in range(3))
    text = "loss_param { normalization: PRE_FIXED pre_fixed_normalizer: 7 }"
    each = np.vectorize(smooth)(w * (a - b), 1).sum(1, keepdims=True)
    total, rows = run("SmoothL1LossOHEM", text, a, b, w, tops=2)
    close(total, each.sum() / 7)
    close(rows, each)
    scores, labels = draw.normal(size=(3, 4, 2)), np.array([[0, 3], [1, 2], [2, 2]])
    total, probabilities, rows = run("SoftmaxWithLossOHEM", "loss_param { ignore_label: 1 }", scores, labels, tops=3)
    share = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    expected = np.array([[-math.log(share[n, int(labels[n, i]), i]) for i in range(2)] for n in range(3)])
    expected[labels == 1] = 0
    close(probabilities, share)
    close(rows, expected)
    close(total, expected.sum() / 5)


def test_class_weights_of_segnet(draw: np.random.Generator) -> None:
    scores, labels = draw.normal(size=(2, 3, 4)), draw.integers(0, 3, size=(2, 4))
    text = "loss_param { weight_by_label_freqs: true class_weighting: 0.5 class_weighting: 2 class_weighting: 3 }"
    share = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    terms = [[0.5, 2, 3][labels[n, i]] * -math.log(share[n, labels[n, i], i]) for n in range(2) for i in range(4)]
    close(run("SoftmaxWithLoss", text, scores, labels), sum(terms) / 8)


def test_dropout_of_segnet_and_r_fcn() -> None:
    x = np.ones((10, 100))
    sampled = run("Dropout", "dropout_param { dropout_ratio: 0.25 sample_weights_test: true }", x, phase=TEST)
    assert set(sampled.ravel()) == {0.0, 1 / 0.75}
    close(run("Dropout", "dropout_param { dropout_ratio: 0.25 scale_train: false }", x, phase=TEST), 0.75 * x)
    assert set(run("Dropout", "dropout_param { scale_train: false }", x).ravel()) == {0.0, 1.0}


def test_continuation_indicator() -> None:
    text = "continuation_indicator_param { time_step: 4 axis: 1 }"
    close(run("ContinuationIndicator", text, np.zeros((2, 3))), [[0] * 3, [1] * 3, [1] * 3, [1] * 3])

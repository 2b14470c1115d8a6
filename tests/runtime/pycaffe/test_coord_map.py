"""caffe.coord_map: maps against hand-made sums, and against the net itself."""

# ruff: noqa: C408 (dict(...) is how such nets are written)
from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import netc.pycaffe as caffe
from netc.pycaffe import layers as L
from netc.pycaffe import params as P

coord_map_from_to, crop = caffe.coord_map.coord_map_from_to, caffe.coord_map.crop


def spec(ks: Any = 3, stride: Any = 1, pad: Any = 0, pool: Any = 2, dstride: Any = 2, dpad: Any = 0) -> Any:
    """A convolution, a pooling that halves and a deconvolution that doubles."""
    n = caffe.NetSpec()
    n.data = L.Input(shape=dict(dim=[2, 1, 100, 100]))
    n.aux = L.Input(shape=dict(dim=[2, 1, 20, 20]))
    n.conv = L.Convolution(n.data, num_output=10, kernel_size=ks, stride=stride, pad=pad)
    n.pool = L.Pooling(n.conv, pool=P.Pooling.MAX, kernel_size=pool, stride=pool, pad=0)
    n.relu = L.ReLU(n.pool, in_place=True)
    up = dict(num_output=10, kernel_size=2 * dstride, stride=dstride, pad=dpad)
    n.deconv = L.Deconvolution(n.relu, convolution_param=up)
    return n


def test_there_and_back() -> None:
    """Kernel 3: -1. Pooling of 2: halves, less 0.25. Deconvolution of 4: doubles, plus 1.5. Backwards."""
    n = spec()
    ax, a, b = coord_map_from_to(n.deconv, n.data)
    assert (ax, a, b) == (1, 1, 0)
    assert coord_map_from_to(n.pool, n.data)[1:] == (2, 1.5)


def test_pads_shift() -> None:
    n = spec(pad=3)
    assert coord_map_from_to(n.deconv, n.data) == (1, 1, -3)
    n = spec(dpad=2)
    assert coord_map_from_to(n.deconv, n.data) == (1, 1, 2)


def test_a_crop_makes_the_sizes_equal() -> None:
    """The net that it belongs to can be built, and the crop fits into what is there."""
    n = spec(pad=7)
    n.crop = crop(n.deconv, n.data)
    settings = n.crop.fn.params["crop_param"]
    assert settings == {"axis": 2, "offset": [7]}
    net = caffe.Net(str(n.to_proto()), caffe.TEST)
    assert net.blobs["crop"].shape == (2, 10, 100, 100)


def test_axes_of_their_own() -> None:
    one, other, both = (spec(ks=ks).tops for ks in (3, 5, [3, 5]))
    maps = [coord_map_from_to(n["deconv"], n["data"]) for n in (one, other, both)]
    assert {found[0] for found in maps} == {1}
    assert maps[2][2].tolist() == [maps[0][2][0], maps[1][2][0]]


def test_three_spatial_axes() -> None:
    n = caffe.NetSpec()
    n.data = L.Input(shape=dict(dim=[1, 1, 100, 100, 100]))
    n.conv = L.Convolution(n.data, num_output=10, kernel_size=[3, 3, 3], stride=[1, 1, 1], pad=[0, 1, 2])
    n.pool = L.Pooling(n.conv, pool=P.Pooling.MAX, kernel_size=2, stride=2, pad=0)
    n.deconv = L.Deconvolution(n.pool, num_output=10, kernel_size=4, stride=2, pad=0)
    ax, a, b = coord_map_from_to(n.deconv, n.data)
    assert ax == 1
    assert (a == 1).all()
    assert b.tolist() == [0, -1, -2]


def test_through_a_crop() -> None:
    n = spec()
    n.crop = L.Crop(n.deconv, n.data, axis=2, offset=4)
    ax, a, b = coord_map_from_to(n.crop, n.data)
    assert (ax, a, b) == (1, 1, 4)


def test_what_cannot_be_brought_together() -> None:
    n = spec()
    n.ip = L.InnerProduct(n.deconv, num_output=10)
    for one, other in ((n.ip, n.data), (n.aux, n.data)):
        with pytest.raises(RuntimeError, match="Could not compute map"):
            coord_map_from_to(one, other)
    n = spec(pool=3, dstride=2)
    with pytest.raises(AssertionError, match="scale mismatch"):
        crop(n.deconv, n.data)
    n = spec(dpad=10)
    with pytest.raises(AssertionError, match="negative offset"):
        crop(n.deconv, n.data)
    with pytest.raises(AssertionError, match="noninteger"):
        crop(L.Convolution(n.data, num_output=1, kernel_size=4, pad=3), n.data)
    with pytest.raises(AssertionError, match="kernel_h"):
        caffe.coord_map.coord_map(L.Convolution(n.data, num_output=1, kernel_size=3, kernel_h=3).fn)
    with pytest.raises(caffe.coord_map.AxisMismatchException):
        caffe.coord_map.compose((1, 1, 0), (2, 1, 0))


def test_maps_are_where_a_single_pixel_goes() -> None:
    """A net of ones: the middle of what one pixel of the input reaches."""
    n = spec(ks=5, pad=1)
    net = caffe.Net(str(n.to_proto()), caffe.TEST)
    for name in ("conv", "deconv"):
        net.params[name][0].data[...] = 1
    _, a, b = coord_map_from_to(n.data, n.deconv)
    middles = []
    for at in (40, 41):  # the pooling takes pairs: their middle is exact
        net.blobs["data"].data[...] = 0
        net.blobs["data"].data[0, 0, at, at] = 1
        rows = np.nonzero(net.forward(blobs=["deconv"])["deconv"][0, 0].sum(1))[0]
        middles.append((rows[0] + rows[-1]) / 2)
    assert np.mean(middles) == pytest.approx(float((a * 40.5 + b)[0]))


def test_layers_that_keep_every_value_where_it_is() -> None:
    kept = set(caffe.coord_map.PASS_THROUGH_LAYERS)
    assert {"ReLU", "Dropout", "Eltwise", "LRN", "Scale", "Split", "BatchNorm"} <= kept
    assert not {"Convolution", "Pooling", "InnerProduct", "Flatten"} & kept

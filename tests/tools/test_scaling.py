"""The model of scaling: what the page says is what the script prints, and published points are met."""

from __future__ import annotations

import pytest

from netc.files.opening import read_bytes
from tools import scaling


def test_the_page_has_the_tables_that_the_script_prints() -> None:
    text = read_bytes(scaling.PAGE, 1 << 20).decode()
    assert text.partition(scaling.BEGIN)[2].partition(scaling.END)[0] == scaling.page()


@pytest.mark.parametrize("point", scaling.POINTS, ids=lambda point: point.what)
def test_published_points(point: scaling.Published) -> None:
    assert scaling.efficiency(point) == pytest.approx(point.efficiency, abs=0.03)


def test_layers_are_those_of_the_paper() -> None:
    net = scaling.layers("vgg_D")
    assert sum(layer.params for layer in net) == 138_357_544
    assert sum(layer.forward for layer in net) == pytest.approx(30.94e9, rel=1e-3)
    assert sum(layer.forward + layer.backward for layer in net) == pytest.approx(92.65e9, rel=1e-3)
    assert [layer.sides for layer in net if layer.sides] == [25088 + 4096, 8192, 5096]


def test_a_sum_passes_each_link_twice_less_its_own_share() -> None:
    cluster = scaling.Cluster(of_node=4, inside=1e9, between=1e8, latency=0)
    assert scaling.exchange(1e9, 1, cluster) == 0
    assert scaling.exchange(1e9, 4, cluster) == pytest.approx(1.5)
    assert scaling.exchange(1e9, 8, cluster) == pytest.approx(1.5 + 10)


def test_the_order_of_the_buckets() -> None:
    """FC layers become ready first, and a parameter larger than a bucket goes alone."""
    net = scaling.layers("vgg_D")
    every = [[layer.name for layer in of_bucket] for _, of_bucket in scaling.buckets(net, scaling.H200, 64)]
    assert every[:2] == [["fc8", "fc7"], ["fc6"]]
    assert [name for names in every for name in names] == [layer.name for layer in reversed(net) if layer.params]
    whole = scaling.summed(8, scaling.NVLINK)
    first, last = (scaling.step(net, scaling.H200, 32, whole, last=last) for last in (False, True))
    alone = scaling.alone(net, scaling.H200, 32)
    assert alone < first < last < scaling.step(net, scaling.H200, 32, whole, overlap=False)

"""The limits of a text hold for a binary net and solver too: an answer in seconds and half a gigabyte."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from netc import proto, weights
from netc.errors import NetcError
from netc.files.wire import field_head
from netc.graph.read import open_file
from netc.prototxt.source import MAX_BYTES, MAX_FIELDS
from tests.effort import at_most
from tools.fuzzing.guard import limits

HEAD = proto.NetParameter(name="n", input=["a"], input_dim=[1, 3, 4, 4]).SerializeToString()
RELU = proto.LayerParameter(name="relu", type="ReLU", bottom=["a"], top=["a"])


def layer(param: proto.LayerParameter) -> bytes:
    data = param.SerializeToString()
    return field_head(100, len(data)) + data


def points(count: int) -> bytes:
    param = proto.LayerParameter(name="s", type="Slice")
    param.slice_param.slice_point.extend(range(count))
    return layer(param)


FILES: dict[str, tuple[str, Callable[[], bytes]]] = {
    "40 MB of layers": ("U130", lambda: HEAD + layer(RELU) * (40_000_000 // len(layer(RELU)))),
    "five layers of 9 MB": ("U130", lambda: HEAD + layer(proto.LayerParameter(name="x", top=["a"] * 3_000_000)) * 5),
    "a name of 40 MB": ("P103", lambda: HEAD + layer(proto.LayerParameter(name="x" * 40_000_000, type="ReLU"))),
    "a million inputs": ("U130", lambda: HEAD + b"\x1a\x01a" * 1_000_000),
    "300,000 numbers in a list": ("P104", lambda: HEAD + points(300_000)),
    "110,000 layers": ("P104", lambda: HEAD + layer(proto.LayerParameter()) * 110_000),
    "40 MB that nobody knows": ("P103", lambda: HEAD + layer(RELU) + field_head(9999, 40_000_000) + bytes(40_000_000)),
    "a solver of 40 MB": ("P103", lambda: proto.SolverParameter(net="x" * 40_000_000, base_lr=1).SerializeToString()),
    "a solver of many steps": (
        "P104",
        lambda: proto.SolverParameter(net="x", base_lr=1, stepvalue=range(300_000)).SerializeToString(),
    ),
}  # fmt: skip


def _read(path: Path) -> None:
    file = open_file(path)
    file.solver() if file.kind == "solver" else file.draft()


FAST = ("40 MB of layers", "a name of 40 MB", "300,000 numbers in a list")


def cases(*fast: str) -> list[object]:
    return [pytest.param(case, marks=() if case in fast else pytest.mark.slow) for case in FILES]


@pytest.mark.parametrize("case", cases(*FAST))
def test_it_is_refused_in_time(case: str, tmp_path: Path) -> None:
    code, make = FILES[case]
    path = tmp_path / "net.binary"
    path.write_bytes(make())
    with at_most(300), limits(), pytest.raises(NetcError) as caught:
        _read(path)
    assert caught.value.code == code


@pytest.mark.parametrize("case", [case for case in cases("40 MB of layers") if "solver" not in str(case)])
def test_so_are_weights_with_such_a_net(case: str, tmp_path: Path) -> None:
    path = tmp_path / "x.caffemodel"
    path.write_bytes(FILES[case][1]())
    with at_most(300), limits(), pytest.raises(NetcError) as caught:
        weights.read_net(path)
    assert caught.value.code in ("W740", "W702", "P104")
    with at_most(300), limits(), suppress(NetcError):
        weights.read_layers(path)


def test_learned_arrays_do_not_count(tmp_path: Path) -> None:
    param = proto.LayerParameter(name="fc", type="InnerProduct", bottom=["a"], top=["b"])
    param.inner_product_param.num_output = 3
    blob = proto.BlobProto(data=[0.5] * (MAX_BYTES // 2)).SerializeToString()
    body = param.SerializeToString() + field_head(7, len(blob)) + blob
    (tmp_path / "x").write_bytes(HEAD + field_head(100, len(body)) + body)
    assert (tmp_path / "x").stat().st_size > 2 * MAX_BYTES
    assert open_file(tmp_path / "x").draft().param.layer[-1].name == "fc"
    (tmp_path / "y").write_bytes(HEAD + layer(RELU) * (MAX_FIELDS // 6))
    assert len(open_file(tmp_path / "y").draft().param.layer) >= MAX_FIELDS // 6

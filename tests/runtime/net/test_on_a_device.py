"""What a GPU is spared: waiting for values in the forward pass, and passes over blobs that compute nothing.

On torch's "meta" device there are no values, so whoever asks for one is found without a GPU.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from netc.graph.compile import compile_net
from netc.layers import registry
from netc.layers.base import Layer
from netc.layers.functions.pooling import max_pool
from netc.runtime.net.computing import Computing
from netc.runtime.net.conformance import Run, make, params, values
from netc.runtime.net.module import Net
from tests.netc.layers.cases import CASES, TRAIN, Case
from tools.nets import with_inputs

WAIT = {
    "Filter": "the number of rows that stay is the shape of the top",
    "DetectionEvaluate": "counts matches, box after box",
    "DetectionOutput": "the number of boxes is the shape of the top",
    "MultiBoxLoss": "hard examples are searched for",
    "PSROIPooling": "boxes are the windows",
    "Proposal": "the number of boxes is the shape of the top",
    "ROIPooling": "boxes are the windows",
    "YoloDetectionOutput": "the number of boxes is the shape of the top",
    "Yolov3DetectionOutput": "the number of boxes is the shape of the top",
}
"""The types whose work depends on values: why."""


class Machine(Run):
    def uniform(self, layer: Layer, like: Tensor) -> Tensor:
        return torch.empty(like.shape, device="meta")


ALL = [
    (kind, case)
    for kind, cases in CASES.items()
    for case in cases
    if not registry()[kind].is_source and not case.opaque and kind not in WAIT
]


@pytest.mark.parametrize(("kind", "case"), ALL, ids=[f"{kind}-{CASES[kind].index(case)}" for kind, case in ALL])
def test_no_layer_waits_for_a_value(kind: str, case: Case) -> None:
    layer, shapes = make(kind, case)
    own = [blob.to("meta") for blob in params(layer, torch.float32)]
    bottoms = [blob.to("meta") for blob in values(case, case.shapes, torch.float32)]
    tops = layer.forward(Machine(case.phase == TRAIN), bottoms, own)
    assert case.data_dependent or [tuple(top.shape) for top in tops] == shapes


class Operations(TorchDispatchMode):
    """The operations of torch that are run, and the bytes of what they make."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(str(func.overloadpacket))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("shape", [(2, 3, 8, 6), (2, 3, 7, 9), (2, 3, 4, 5, 6)])
def test_maximum_pooling_is_one_pass(shape: tuple[int, ...]) -> None:
    blob = torch.empty(shape, device="meta")
    with Operations() as found:
        max_pool(blob, 2, 2, ceil_mode=True)
    assert len(found.names) == 1
    assert "max_pool" in found.names[0]


@pytest.mark.parametrize("model", ["vgg_A", "mini_vgg_E"])
def test_the_shipped_nets_neither_wait_nor_copy_without_need(model: str) -> None:
    """Between the first convolution and the flattening, in bf16 and channels-last: a conversion of each weight, each
    bias and the data, and otherwise what computes."""
    graph = compile_net(with_inputs(model, 4), phase="TRAIN")
    net = Net(graph, start=lambda made: [t for _, t in made.own_params()], computing=Computing("bf16", True)).to("meta")
    batch = {top: torch.empty(graph.shapes[top], device="meta") for top in ("data", "label")}
    with Operations() as found:
        loss = net.losses(net.outputs_of(batch))
    assert loss.dtype == torch.float32
    last = found.names.index("aten.addmm")
    flat = max(i for i, name in enumerate(found.names[:last]) if "max_pool" in name)
    convolutions = found.names.count("aten.convolution")
    counts = Counter(found.names[: flat + 1])
    assert counts.pop("aten.convolution") == convolutions
    assert counts.pop("aten.relu_") == convolutions
    assert counts.pop("aten.max_pool2d_with_indices") == 5
    assert counts.pop("aten._to_copy") == 2 * convolutions + 1
    assert counts.pop("aten.clone") == convolutions  # the weights' layout
    assert set(counts) <= {"aten.detach"}

"""Emitted code, executed with nothing of netc in its namespace, beside the running net."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from netc.errors import NetcError
from netc.graph.ir import Graph
from netc.look.emit import emit
from netc.look.emit.flow import modules_of
from netc.runtime.net.module import Net


def executed(code: str, name: str) -> Any:
    """The class of that name, from code run in a namespace of its own."""
    assert "import netc" not in code
    assert "from netc" not in code
    namespace: dict[str, Any] = {"__name__": "emitted"}
    exec(compile(code, "<emitted>", "exec"), namespace)
    return namespace[name]


def emitted(graph: Graph) -> nn.Module:
    """The emitted module of a graph, in the mode of the graph's phase."""
    emission = emit(graph)
    module: nn.Module = executed(emission.code, emission.class_name)()
    return module.train(graph.phase == 0)


def parameters(module: nn.Module, graph: Graph) -> dict[str, list[Tensor]]:
    """{layer name: its parameters and buffers in Caffe's order}; of two layers of one name, the first."""
    tensors = dict(module.named_parameters(remove_duplicate=False)) | dict(module.named_buffers())
    found: dict[str, list[Tensor]] = {}
    for index, name in modules_of(graph).items():
        node = graph.nodes[index]
        found.setdefault(node.name, [tensors[f"{name}.{ref.blob.name}"] for ref in node.params])
    return found


def sources(graph: Graph) -> list[str]:
    """The tops that a caller gives, in order; those of DummyData layers, which may be left out, come last."""
    tops = [(node.type == "DummyData", top) for node in graph.nodes if node.layer.is_source for top in node.tops]
    return [top for _, top in sorted(tops, key=lambda pair: pair[0])]


def results(module: nn.Module, graph: Graph, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """What the module makes of inputs given by their blobs' names."""
    found = module(*[inputs[name] for name in sources(graph)])
    return found if isinstance(found, dict) else {graph.outputs[0]: found}


class Emitted:
    """What `Golden` asks of a net, answered by the emitted module."""

    def __init__(self, graph: Graph) -> None:
        self.graph, self.module = graph, emitted(graph)
        self.params = parameters(self.module, graph)

    def __call__(self, blobs: list[str] | None = None, **inputs: Tensor) -> dict[str, Tensor]:
        return results(self.module, self.graph, inputs)

    def zero_grad(self) -> None:
        self.module.zero_grad()


# -- the same numbers into both ----------------------------------------------------------------------------------------


def randomise(net: Net, seed: int) -> None:
    """Weights of a size that keeps activations near 1, statistics of BatchNorm that are some."""
    generator = torch.Generator().manual_seed(seed)
    for key, tensor in net.state_dict().items():
        fan = tensor.numel() / max(tensor.shape[0], 1) if tensor.dim() > 1 else 1
        spread = (1 / fan) ** 0.5 if tensor.dim() > 1 else 0.1
        tensor.normal_(0, spread, generator=generator)
        if key.endswith((".variance", ".factor")) or (tensor.dim() < 2 and key.endswith(".weight")):
            tensor.add_(1)


def inputs_of(graph: Graph, seed: int, change: tuple[int, int] | None = None) -> dict[str, Tensor]:
    """Images and the like are normal numbers, what is read as labels, marks or indices is 0 or 1.

    `change`: (batch, what to add to the width) for the images.
    """
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for node in graph.nodes:
        for top, shape in zip(node.tops, node.top_shapes, strict=True) if node.layer.is_source else ():
            if change and len(shape) == 4:
                shape = (change[0], *shape[1:3], shape[3] + change[1])
            if _is_whole(graph, top):
                found[top] = torch.randint(0, 2, shape, generator=generator).float()
            else:
                found[top] = torch.randn(shape, generator=generator)
    return found


def _is_whole(graph: Graph, top: str) -> bool:
    readers = [(node, node.bottoms.index(top)) for node in graph.nodes if top in node.bottoms]
    for node, position in readers:
        if node.type == "Split" and any(_is_whole(graph, copy) for copy in node.tops):
            return True
        if node.type == "Embed" or (position and node.type not in ("Eltwise", "Concat", "Crop", "EuclideanLoss")):
            return True
    return False


def tries(graph: Graph, seed: int) -> Iterator[dict[str, Tensor]]:
    """One wide image, one image, the batch of the file: the first that a net can take is the best test."""
    for change in ((1, 32), (1, 0), None):
        yield inputs_of(graph, seed, change)


def compare(graph: Graph, seed: int = 0, given: Iterable[dict[str, Tensor]] = ()) -> float:
    """The largest gap of any output between the running net and the emitted module, with equal weights and the first
    inputs that the net takes, of those given or of `tries`.

    Dropouts are set aside: the draws of the two are not the same.
    """
    for node in graph.nodes:
        if node.type == "Dropout":
            node.layer.phase = 1
    net, module = Net(graph, seed, start=lambda net: [*net.parameters(), *net.buffers()]), emitted(graph)
    randomise(net, seed)
    module.load_state_dict(net.state_dict(), strict=True)
    with torch.no_grad():
        for inputs in given or tries(graph, seed):
            try:
                expected = net(**inputs)
            except NetcError:
                continue
            found = results(module, graph, inputs)
            return max((gap(found[name], expected[name]) for name in graph.outputs), default=0.0)
    raise AssertionError("the net runs on none of the inputs")


def gap(found: Tensor, expected: Tensor) -> float:
    """The largest difference over the largest value; two NaN or equal infinities differ by nothing."""
    assert found.shape == expected.shape, (found.shape, expected.shape)
    same = (found == expected) | (found.isnan() & expected.isnan())
    difference = torch.where(same, 0.0, (found - expected).abs().nan_to_num(nan=float("inf")))
    finite = expected[expected.isfinite()].abs()
    largest = finite.max().item() if finite.numel() else 0.0
    return difference.max().item() / max(largest, 1e-3) if difference.numel() else 0.0


def check_structure(graph: Graph) -> str:
    """The state_dict's keys and shapes are the running net's, and so are the shapes of the outputs: no value is
    computed, so that nets of any size take no time. Returns the code."""
    emission = emit(graph)
    with torch.device("meta"):
        module = executed(emission.code, emission.class_name)().eval()
        inputs = {top: torch.empty(graph.shapes[top]) for top in sources(graph)}
    names = modules_of(graph)
    expected: dict[str, Any] = {
        f"{names[i]}.{ref.blob.name}": ref.blob.shape for i in names for ref in graph.nodes[i].params
    }
    assert {key: tuple(tensor.shape) for key, tensor in module.state_dict().items()} == expected
    if not any(node.type in ("Filter", "HDF5Output") for node in graph.nodes):  # shapes that depend on values
        found = results(module, graph, inputs)
        assert [tuple(found[name].shape) for name in graph.outputs] == [graph.shapes[name] for name in graph.outputs]
    return emission.code


def formed(folder: Path) -> str:
    """What ruff has to say of the files: nothing."""
    rules = ["--isolated", "--line-length", "120"]
    found = ""
    for command in (["check", "--select", "E,F,W,I,UP,B,C4,SIM,PIE,RET5"], ["format", "--diff"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, *rules, str(folder)], capture_output=True, text=True, check=False
        )
        found += done.stdout if done.returncode else ""
    return found
